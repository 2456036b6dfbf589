//! The benchmarks. A part is a function that runs in a fresh process, starts the session that it needs, and adds
//! samples by name: seconds, rates per second, bytes or shares.

mod calls;
mod executor;
mod in_flight;
mod map;
mod other_host;
mod same_work;
mod session;
mod store;

pub(crate) use calls::tasks_name;
pub(crate) use executor::MAP as EXECUTOR_MAP;
pub(crate) use in_flight::{InFlight, counts as in_flight_counts, names as in_flight_names};
pub(crate) use store::sizes;

use crate::Result;
use crate::environment::Environment;
use crate::procfs::{cpu_time, host};
use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};
use unidist::Session;
use unidist::config::CpuCount;
use unidist_engine::bench::{Echo, Waiting};

/// How much to measure, and where.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scale {
    /// Measure less, in about a minute.
    pub(crate) quick: bool,
    /// The number of workers in the comparison with the peers.
    pub(crate) workers: usize,
    pub(crate) environment: Environment,
    /// Whether this process is on the program's own host.
    pub(crate) is_home: bool,
}

impl Scale {
    /// The command-line arguments for another process with this scale.
    pub(crate) fn arguments(self) -> Vec<String> {
        let quick = self.quick.then(|| "--quick".to_owned());
        quick.into_iter().chain(["--workers".to_owned(), self.workers.to_string()]).collect()
    }

    /// The same for a process that starts or joins a session.
    pub(crate) fn part_arguments(self) -> Vec<String> {
        let mut words = self.arguments();
        if self.environment.is_mpi() {
            let environment = ["--environment".to_owned(), self.environment.to_string()];
            words.extend(environment.into_iter().chain(["--home".to_owned(), host()]));
        }
        words
    }

    /// The same on `pymp`.
    pub(crate) fn on_pymp(self) -> Scale {
        Scale { environment: Environment::Pymp, ..self }
    }

    /// Chooses by `quick`.
    pub(crate) fn of<T>(self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// The part that does the same work as the peers; runs only together with them.
pub(crate) const SAME_WORK: &str = "same work as the peers";

/// A part, by name.
pub(crate) struct Part {
    pub(crate) name: String,
    /// The number of workers of its session.
    pub(crate) workers: usize,
    /// Whether `mpi` is compared with `pymp` in this part.
    pub(crate) is_compared: bool,
    pub(crate) measure: Box<Measure>,
}

type Measure = dyn Fn(Scale, &mut Samples) -> Result;

impl Part {
    fn compared(self) -> Part {
        Part { is_compared: true, ..self }
    }
}

/// All parts for an environment.
pub(crate) fn all(scale: Scale) -> Vec<Part> {
    let mut parts = Vec::new();
    for workers in worker_counts().filter(|workers| scale.environment.allows(*workers)) {
        let throughput = move |scale, samples: &mut _| calls::throughput(workers, scale, samples);
        parts.push(part(format!("tasks-{workers}"), workers, throughput).compared());
    }
    match scale.environment.hosts() {
        1 => on_one_host(scale, &mut parts),
        hosts => {
            parts.push(part("other-host", hosts, other_host::tasks));
            parts.push(part("other-host-objects", hosts, other_host::objects));
        }
    }
    parts.push(part("start", session::WORKERS, session::start));
    parts.push(part("idle", session::idle_workers(scale), session::idle));
    parts.push(part(SAME_WORK, scale.workers, same_work::all));
    parts
}

fn on_one_host(scale: Scale, parts: &mut Vec<Part>) {
    parts.push(part("round-trip", 1, calls::round_trip).compared());
    parts.push(part("round-trip-asleep", 1, calls::round_trip_asleep).compared());
    parts.push(part("actor", 1, calls::actor).compared());
    parts.push(part("chain", 1, calls::chain));
    parts.push(part("fan-in", 1, calls::fan_in));
    parts.push(part("argument", 1, calls::large_argument));
    parts.push(part("store-small", 1, store::small));
    for size in sizes(scale) {
        let large = move |scale, samples: &mut _| store::large(size, scale, samples);
        parts.push(part(format!("store-{}", size.name), 1, large));
    }
    for task in map::TASKS {
        let map = move |scale, samples: &mut _| map::map(task, scale, samples);
        parts.push(part(format!("map-{}", task.name), cores(), map));
    }
    parts.push(part("executor", executor::WORKERS, executor::map));
    for count in in_flight_counts(scale) {
        let tasks = move |_, samples: &mut _| in_flight::tasks(count, samples);
        parts.push(part(format!("in-flight-{count}"), 1, tasks));
    }
}

/// The numbers of workers with which empty tasks are measured.
pub(crate) fn worker_counts() -> std::ops::RangeInclusive<usize> {
    1..=4
}

fn part(
    name: impl Into<String>,
    workers: usize,
    measure: impl Fn(Scale, &mut Samples) -> Result + 'static,
) -> Part {
    Part { name: name.into(), workers, is_compared: false, measure: Box::new(measure) }
}

/// Samples by name. As text: a line for each sample, with the name, a tab and the number.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    /// Adds a sample.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.0.entry(name.into()).or_default().push(value);
    }

    /// Adds other samples under new names.
    pub(crate) fn add_named(&mut self, others: Samples, name: impl Fn(&str) -> String) {
        for (other, values) in others.0 {
            self.0.entry(name(&other)).or_default().extend(values);
        }
    }

    /// Adds samples from their text.
    pub(crate) fn read(&mut self, text: &str) -> Result {
        for line in text.lines() {
            let (name, value) = line.split_once('\t').ok_or_else(|| format!("not a sample: `{line}`"))?;
            self.add(name, value.parse()?);
        }
        Ok(())
    }

    /// The median of the samples of this name, if there are any.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        median(self.0.get(name)?.clone())
    }

    /// Runs a function `count` times and adds the mean duration in seconds, drops of its results included.
    fn time<T>(&mut self, name: &str, count: u32, mut run: impl FnMut() -> Result<T>) -> Result {
        let start = Instant::now();
        for _ in 0..count {
            run()?;
        }
        self.add(name, start.elapsed().as_secs_f64() / f64::from(count));
        Ok(())
    }
}

/// The name of the samples of the CPU time per call that belong to a measure.
pub(crate) fn cpu_name(name: &str) -> String {
    format!("{name}, CPU per call")
}

impl Samples {
    /// Runs a function that makes `calls` calls, and adds the CPU time per call of all processes of the session.
    ///
    /// Reading the CPU time takes long enough to put waiting processes to sleep, so this does not go around a function
    /// whose short duration is measured.
    fn cpu<T>(&mut self, name: &str, calls: u32, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = cpu_time()?;
        let value = run()?;
        let used = cpu_time()?.saturating_sub(before);
        self.add(cpu_name(name), used.as_secs_f64() / f64::from(calls));
        Ok(value)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut samples =
            self.0.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        samples.try_for_each(|(name, value)| writeln!(f, "{name}\t{value}"))
    }
}

/// The median.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

/// The number of CPUs that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Starts a session with this number of workers.
fn start_session(workers: usize) -> Result<Session> {
    CpuCount::put(workers)?;
    Ok(unidist::init()?)
}

/// Starts a process that echoes messages.
fn start_echo(waiting: Waiting) -> Result<Echo> {
    let mut command = Command::new(std::env::current_exe()?);
    let way = if waiting == Waiting::Spinning { "spinning" } else { "as-workers" };
    command.args(["echo", &std::process::id().to_string(), way]);
    Ok(Echo::start(command, waiting)?)
}

/// Waits until all dropped objects are freed.
fn settle() -> Result {
    settle_to(0)
}

/// Waits until at most `kept` objects are left.
fn settle_to(kept: usize) -> Result {
    let deadline = Instant::now() + Duration::from_secs(30);
    while unidist::live_objects()? > kept {
        if Instant::now() > deadline {
            return Err("dropped objects were not freed within 30 s".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_value() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn samples_survive_display_and_read() {
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
    fn part_names_are_unique() {
        for environment in [Environment::Pymp, Environment::Spawn(2), Environment::Spmd(1)] {
            let scale = Scale { workers: 1, environment, ..Scale::default() };
            let mut names: Vec<_> = all(scale).into_iter().map(|part| part.name).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn renamed_samples_do_not_mix() {
        let mut pymp = Samples::default();
        pymp.add("a", 1.0);
        let mut samples = pymp.clone();
        samples.add_named(pymp, |name| format!("pymp: {name}"));
        assert_eq!((samples.median("a"), samples.median("pymp: a")), (Some(1.0), Some(1.0)));
    }
}
