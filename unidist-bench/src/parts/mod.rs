//! What is measured. A part is a function that runs in a fresh process, starts the session that it needs, and adds
//! samples: seconds, numbers a second, bytes or shares, by name.

mod calls;
mod in_flight;
mod map;
mod same_work;
mod session;
mod store;

pub(crate) use calls::tasks_name;
pub(crate) use in_flight::{InFlight, counts as in_flight_counts, names as in_flight_names};
pub(crate) use store::sizes;

use crate::Result;
use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};
use unidist::Session;
use unidist::config::CpuCount;
use unidist_engine::bench::{Echo, Waiting};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Less, so that it takes a minute.
    pub(crate) quick: bool,
    /// How many workers the peers have, and we beside them.
    pub(crate) workers: usize,
}

impl Scale {
    /// What is chosen by these words, for another process.
    pub(crate) fn words(self) -> Vec<String> {
        let quick = self.quick.then(|| "--quick".to_owned());
        quick.into_iter().chain(["--workers".to_owned(), self.workers.to_string()]).collect()
    }

    /// One or the other.
    pub(crate) fn of<T>(self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// The part that does what the peers do: only beside them.
pub(crate) const SAME_WORK: &str = "same work as the peers";

/// A part, by name.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) measure: Box<Measure>,
}

type Measure = dyn Fn(Scale, &mut Samples) -> Result;

/// All parts.
pub(crate) fn all(scale: Scale) -> Vec<Part> {
    let mut parts = Vec::new();
    for workers in worker_counts() {
        parts.push(part(format!("tasks-{workers}"), move |scale, samples| {
            calls::throughput(workers, scale, samples)
        }));
    }
    parts.push(part("round-trip", calls::round_trip));
    parts.push(part("round-trip-asleep", calls::round_trip_asleep));
    parts.push(part("actor", calls::actor));
    parts.push(part("chain", calls::chain));
    parts.push(part("fan-in", calls::fan_in));
    parts.push(part("argument", calls::large_argument));
    parts.push(part("store-small", store::small));
    for size in sizes(scale) {
        parts.push(part(format!("store-{}", size.name), move |scale, samples| {
            store::large(size, scale, samples)
        }));
    }
    for task in map::TASKS {
        parts.push(part(format!("map-{}", task.name), move |scale, samples| map::map(task, scale, samples)));
    }
    for count in in_flight_counts(scale) {
        parts.push(part(format!("in-flight-{count}"), move |_, samples| in_flight::tasks(count, samples)));
    }
    parts.push(part("start", session::start));
    parts.push(part("idle", session::idle));
    parts.push(part(SAME_WORK, same_work::all));
    parts
}

/// With how many workers empty tasks are run.
pub(crate) fn worker_counts() -> std::ops::RangeInclusive<usize> {
    1..=4
}

fn part(name: impl Into<String>, measure: impl Fn(Scale, &mut Samples) -> Result + 'static) -> Part {
    Part { name: name.into(), measure: Box::new(measure) }
}

/// What was measured, by name. On paper a line for each sample: the name, a tab, the number.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    /// Adds a sample.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.0.entry(name.into()).or_default().push(value);
    }

    /// Adds the samples that are written there.
    pub(crate) fn read(&mut self, text: &str) -> Result {
        for line in text.lines() {
            let (name, value) = line.split_once('\t').ok_or_else(|| format!("no sample: `{line}`"))?;
            self.add(name, value.parse()?);
        }
        Ok(())
    }

    /// The median of the samples of this name, if there are any.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        median(self.0.get(name)?.clone())
    }

    /// Runs something `count` times and adds the mean duration in seconds, in which what it gives is dropped. What is
    /// too short for the clock is run often.
    fn time<T>(&mut self, name: &str, count: u32, mut run: impl FnMut() -> Result<T>) -> Result {
        let start = Instant::now();
        for _ in 0..count {
            run()?;
        }
        self.add(name, start.elapsed().as_secs_f64() / f64::from(count));
        Ok(())
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut samples =
            self.0.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        samples.try_for_each(|(name, value)| writeln!(f, "{name}\t{value}"))
    }
}

/// The value in the middle, or the mean of the two that are.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

/// How many CPUs this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A session with so many workers.
fn start_session(workers: usize) -> Result<Session> {
    CpuCount::put(workers)?;
    Ok(unidist::init()?)
}

/// A process that sends back what it is sent.
fn start_echo(waiting: Waiting) -> Result<Echo> {
    let mut command = Command::new(std::env::current_exe()?);
    let way = if waiting == Waiting::Spinning { "spinning" } else { "as-workers" };
    command.args(["echo", &std::process::id().to_string(), way]);
    Ok(Echo::start(command, waiting)?)
}

/// Waits until nothing of what was dropped is left.
fn settle() -> Result {
    let deadline = Instant::now() + Duration::from_secs(30);
    while unidist::live_objects()? > 0 {
        if Instant::now() > deadline {
            return Err("objects were dropped and are still there".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn samples_are_read_as_they_were_written() {
        let mut samples = Samples::default();
        samples.add("a b", 1.5);
        samples.add("a b", 3e-7);
        samples.add("c", 2.0);
        let mut read = Samples::default();
        read.read(&samples.to_string()).unwrap();
        assert_eq!(read, samples);
        assert!(read.read("nonsense").is_err());
    }

    #[test]
    fn parts_have_names_of_their_own() {
        let mut names: Vec<_> =
            all(Scale { quick: false, workers: 1 }).into_iter().map(|part| part.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
