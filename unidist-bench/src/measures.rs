//! The measures: what is shown, in which unit, with which baseline and target.

use crate::environment::Environment;
use crate::parts::{
    EXECUTOR_MAP, InFlight, Scale, cores, in_flight_counts, in_flight_names, sizes, tasks_name, worker_counts,
};

/// The names of the samples of MPI itself.
pub(crate) const RAW_MESSAGE: &str = "raw MPI round trip";
pub(crate) const RAW_TRANSFER: &str = "raw MPI 64 MiB";

/// The name of the samples on `pymp`, where `mpi` is measured.
pub(crate) fn pymp_name(name: &str) -> String {
    format!("pymp: {name}")
}

/// The unit of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    Seconds,
    PerSecond,
    Bytes,
    /// A share of one core.
    Share,
}

/// The direction of a ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ratio {
    /// The value divided by that of the baseline.
    Multiple,
    /// The speed relative to the baseline, both being durations.
    Speed,
}

/// A target.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    AtMost(f64),
    AtLeast(f64),
}

/// A measure: its samples, baseline and target.
pub(crate) struct Measure {
    /// The name of the samples and of the row in the report.
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// The name of the baseline's samples.
    pub(crate) baseline: Option<(String, Ratio)>,
    pub(crate) target: Option<Target>,
}

/// A list of measures under construction.
#[derive(Default)]
struct Measures(Vec<Measure>);

impl Measures {
    fn add(&mut self, name: &str, unit: Unit, baseline: Option<(&str, Ratio)>, target: Option<Target>) {
        let baseline = baseline.map(|(name, ratio)| (name.to_owned(), ratio));
        self.0.push(Measure { name: name.to_owned(), unit, baseline, target });
    }
}

/// All measures of a report, in order.
pub(crate) fn measures(scale: Scale) -> Vec<Measure> {
    let mut measures = Measures::default();
    match scale.environment {
        Environment::Pymp => on_one_host(scale, &mut measures),
        environment if environment.hosts() == 1 => {
            compared_with_pymp(&mut measures);
            on_one_host(scale, &mut measures);
            measures.add(RAW_MESSAGE, Unit::Seconds, None, None);
            measures.add(RAW_TRANSFER, Unit::Seconds, None, None);
        }
        _ => on_several_hosts(scale, &mut measures),
    }
    measures.0
}

/// `mpi` compared with `pymp`, both on one host.
fn compared_with_pymp(measures: &mut Measures) {
    const MAX_RATIO: f64 = 1.5;
    let mut measure = |name: &str, unit, target| {
        measures.add(name, unit, Some((&pymp_name(name), Ratio::Multiple)), target);
    };
    for workers in worker_counts() {
        measure(&tasks_name(workers), Unit::PerSecond, Some(Target::RatioAtLeast(1.0 / MAX_RATIO)));
    }
    for name in ["round trip, awake", "round trip", "round trip, asleep"] {
        measure(name, Unit::Seconds, Some(Target::RatioAtMost(MAX_RATIO)));
    }
    measure("calls of an actor", Unit::PerSecond, None);
    measure("round trip to an actor", Unit::Seconds, None);
}

/// Messages and objects between two hosts, compared with MPI itself.
fn on_several_hosts(scale: Scale, measures: &mut Measures) {
    use Ratio::{Multiple, Speed};
    use Unit::{PerSecond, Seconds, Share};
    let raw = Some((RAW_MESSAGE, Multiple));
    measures.add("round trip to another host, awake", Seconds, raw, Some(Target::RatioAtMost(3.0)));
    measures.add("round trip to another host", Seconds, raw, None);
    measures.add("round trip to another host, after 1 s", Seconds, raw, Some(Target::AtMost(0.002)));
    measures.add("empty tasks on another host", PerSecond, None, None);
    for name in ["get 64 MiB from another host", "task on another host, on 64 MiB"] {
        measures.add(name, Seconds, Some((RAW_TRANSFER, Speed)), Some(Target::RatioAtLeast(0.7)));
    }
    for workers in worker_counts().filter(|workers| scale.environment.allows(*workers)) {
        let name = tasks_name(workers);
        measures.add(&name, PerSecond, Some((&pymp_name(&name), Multiple)), None);
    }
    measures.add("init", Seconds, None, None);
    measures.add("shutdown", Seconds, None, None);
    measures.add("init and shutdown", Seconds, Some(("bare processes", Multiple)), None);
    measures.add("CPU of an idle session", Share, None, Some(Target::AtMost(IDLE_MPI)));
}

/// The target for the share of a core that all processes of an idle job use together.
const IDLE_MPI: f64 = 0.01;

/// Costs on one host, compared with the limits of the machine.
fn on_one_host(scale: Scale, measures: &mut Measures) {
    use Ratio::{Multiple, Speed};
    use Unit::{Bytes, PerSecond, Seconds, Share};
    let mut measure = |name: &str, unit, baseline: Option<(&str, Ratio)>, target| {
        measures.add(name, unit, baseline, target);
    };
    let one = tasks_name(1);
    for workers in worker_counts() {
        let baseline = (workers > 1).then_some((one.as_str(), Multiple));
        // More workers than cores slow each other down; they are measured without a target.
        let target = (workers <= cores()).then_some(Target::AtLeast(300_000.0));
        measure(&tasks_name(workers), PerSecond, baseline, target);
    }
    let raw = Some(("raw round trip, spinning", Multiple));
    measure("round trip, awake", Seconds, raw, Some(Target::RatioAtMost(5.0)));
    let same_waiting = Some(("raw round trip, same waiting", Multiple));
    measure("round trip", Seconds, same_waiting, Some(Target::RatioAtMost(5.0)));
    let asleep = Some(("raw round trip, asleep", Multiple));
    measure("round trip, asleep", Seconds, asleep, Some(Target::RatioAtMost(1.3)));
    measure("calls of an actor", PerSecond, None, Some(Target::AtLeast(300_000.0)));
    measure("round trip to an actor", Seconds, raw, None);
    measure("step in a chain of 1,000", Seconds, raw, None);
    let vectors = "step in a chain of 1,000, 16-byte vectors";
    measure(vectors, Seconds, raw, None);
    let slices = "step in a chain of 1,000, 16-byte slices";
    measure(slices, Seconds, Some((vectors, Multiple)), Some(Target::RatioAtMost(1.1)));
    measure("fan-in of 10,000 refs", Seconds, None, Some(Target::AtMost(0.020)));
    measure("task on 64 MiB", Seconds, Some(("empty task", Multiple)), Some(Target::RatioAtMost(1.5)));
    measure("put 1 KiB", Seconds, None, None);
    measure("get 1 KiB", Seconds, None, Some(Target::AtMost(10e-6)));
    for size in sizes(scale) {
        let target = (size.bytes >= 64 << 20).then_some(Target::RatioAtLeast(0.9));
        for state in ["untouched", "touched"] {
            let baseline_value = format!("memcpy {}, {state}", size.name);
            measure(&format!("put {}, {state}", size.name), Seconds, Some((&baseline_value, Speed)), target);
        }
        let small = Some(("get 1 KiB", Multiple));
        measure(&format!("get {}", size.name), Seconds, small, Some(Target::AtMost(10e-6)));
        if size.bytes > 1 << 20 {
            // Constant time: nothing is copied.
            let name = format!("get {}", size.name);
            measure(&name, Seconds, Some(("get 1 MiB", Multiple)), Some(Target::RatioAtMost(1.5)));
        }
    }
    measure("map 100 µs", Seconds, Some(("rayon 100 µs", Speed)), Some(Target::RatioAtLeast(0.9)));
    measure("map 100 µs", Seconds, Some(("ideal 100 µs", Speed)), None);
    measure("map 1 ms", Seconds, Some(("rayon 1 ms", Speed)), None);
    measure("map 1 ms", Seconds, Some(("ideal 1 ms", Speed)), Some(Target::RatioAtLeast(0.97)));
    measure(EXECUTOR_MAP, PerSecond, Some((&tasks_name(2), Multiple)), Some(Target::AtLeast(100_000.0)));
    let mut few = None;
    for count in in_flight_counts(scale) {
        let baseline: Option<(String, Ratio)> = few.clone();
        let target = baseline.is_some().then_some(Target::RatioAtLeast(0.8));
        let InFlight { rate: name, submit, memory, peak } = in_flight_names(count);
        measure(&name, PerSecond, baseline.as_ref().map(|(name, ratio)| (name.as_str(), *ratio)), target);
        measure(&submit, Seconds, None, None);
        let target = baseline.is_some().then_some(Target::AtMost(600.0));
        measure(&memory, Bytes, None, target);
        measure(&peak, Bytes, None, None);
        few.get_or_insert((name, Multiple));
    }
    measure("init", Seconds, None, None);
    measure("shutdown", Seconds, None, None);
    let (start, idle) = match scale.environment {
        Environment::Pymp => (Some(Target::AtMost(0.060)), 0.005),
        _ => (None, IDLE_MPI), // no target: MPI's start dominates
    };
    measure("init and shutdown", Seconds, Some(("bare processes", Multiple)), start);
    measure("CPU of an idle session", Share, None, Some(Target::AtMost(idle)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(environment: Environment) -> Vec<String> {
        let scale = Scale { environment, ..Scale::default() };
        measures(scale).into_iter().map(|measure| measure.name).collect()
    }

    #[test]
    fn measures_depend_on_the_environment() {
        let crosses = "get 64 MiB from another host".to_owned();
        assert!(!names(Environment::Pymp).contains(&crosses));
        assert!(names(Environment::Spawn(1)).len() > names(Environment::Pymp).len());
        assert!(names(Environment::Spmd(2)).contains(&crosses));
        assert!(names(Environment::Spawn(2)).contains(&tasks_name(1)));
        assert!(!names(Environment::Spmd(2)).contains(&tasks_name(1)));
    }
}
