//! Which measurement stands beside which, and what is aimed at.

use crate::parts::{
    EXECUTORS_MAP, InFlight, Scale, cores, in_flight_counts, in_flight_names, sizes, tasks_name,
    worker_counts,
};
use crate::place::Place;

/// What MPI does alone: the samples' names.
pub(crate) const RAW_MESSAGE: &str = "raw MPI round trip";
pub(crate) const RAW_TRANSFER: &str = "raw MPI 64 MiB";

/// The name of the samples of `pymp`, where another backend is measured.
pub(crate) fn of_pymp(name: &str) -> String {
    format!("pymp: {name}")
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    Seconds,
    PerSecond,
    Bytes,
    /// A share of one core.
    Share,
}

/// Which way a ratio goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ratio {
    /// How many times the companion this is.
    Multiple,
    /// How much of the companion's speed this has, both being durations.
    Speed,
}

/// What is aimed at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    AtMost(f64),
    AtLeast(f64),
}

/// A measurement, as it is to be shown.
pub(crate) struct Plan {
    /// The name of the samples, which is shown, too.
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// The name of the companion's samples.
    pub(crate) beside: Option<(String, Ratio)>,
    pub(crate) target: Option<Target>,
}

/// Plans, as they are put together.
#[derive(Default)]
struct Plans(Vec<Plan>);

impl Plans {
    fn add(&mut self, name: &str, unit: Unit, beside: Option<(&str, Ratio)>, target: Option<Target>) {
        let beside = beside.map(|(name, ratio)| (name.to_owned(), ratio));
        self.0.push(Plan { name: name.to_owned(), unit, beside, target });
    }
}

/// Everything that is shown, in order.
pub(crate) fn plans(scale: Scale) -> Vec<Plan> {
    let mut plans = Plans::default();
    match scale.place {
        Place::Pymp => on_one_host(scale, &mut plans),
        place if place.hosts() == 1 => {
            beside_pymp(&mut plans);
            on_one_host(scale, &mut plans);
            plans.add(RAW_MESSAGE, Unit::Seconds, None, None);
            plans.add(RAW_TRANSFER, Unit::Seconds, None, None);
        }
        _ => on_several_hosts(scale, &mut plans),
    }
    plans.0
}

/// What the backend `mpi` has beside `pymp`, where both are on one host.
fn beside_pymp(plans: &mut Plans) {
    const MOST: f64 = 1.5;
    let mut plan = |name: &str, unit, target| {
        plans.add(name, unit, Some((&of_pymp(name), Ratio::Multiple)), target);
    };
    for workers in worker_counts() {
        plan(&tasks_name(workers), Unit::PerSecond, Some(Target::RatioAtLeast(1.0 / MOST)));
    }
    for name in ["round trip, awake", "round trip", "round trip, asleep"] {
        plan(name, Unit::Seconds, Some(Target::RatioAtMost(MOST)));
    }
    plan("calls of an actor", Unit::PerSecond, None);
    plan("round trip to an actor", Unit::Seconds, None);
}

/// What crosses between two hosts, beside what MPI does alone.
fn on_several_hosts(scale: Scale, plans: &mut Plans) {
    use Ratio::{Multiple, Speed};
    use Unit::{PerSecond, Seconds, Share};
    let raw = Some((RAW_MESSAGE, Multiple));
    plans.add("round trip to another host, awake", Seconds, raw, Some(Target::RatioAtMost(3.0)));
    plans.add("round trip to another host", Seconds, raw, None);
    plans.add("round trip to another host, after 1 s", Seconds, raw, Some(Target::AtMost(0.002)));
    plans.add("empty tasks on another host", PerSecond, None, None);
    for name in ["get 64 MiB from another host", "task on another host, on 64 MiB"] {
        plans.add(name, Seconds, Some((RAW_TRANSFER, Speed)), Some(Target::RatioAtLeast(0.7)));
    }
    for workers in worker_counts().filter(|workers| scale.place.allows(*workers)) {
        let name = tasks_name(workers);
        plans.add(&name, PerSecond, Some((&of_pymp(&name), Multiple)), None);
    }
    plans.add("init", Seconds, None, None);
    plans.add("shutdown", Seconds, None, None);
    plans.add("init and shutdown", Seconds, Some(("bare processes", Multiple)), None);
    plans.add("CPU of an idle session", Share, None, Some(Target::AtMost(IDLE_MPI)));
}

/// The share of a core that all processes of an idle job may use together.
const IDLE_MPI: f64 = 0.01;

/// What costs what on one host, beside the limits of the machine.
fn on_one_host(scale: Scale, plans: &mut Plans) {
    use Ratio::{Multiple, Speed};
    use Unit::{Bytes, PerSecond, Seconds, Share};
    let mut plan = |name: &str, unit, beside: Option<(&str, Ratio)>, target| {
        plans.add(name, unit, beside, target);
    };
    let one = tasks_name(1);
    for workers in worker_counts() {
        let beside = (workers > 1).then_some((one.as_str(), Multiple));
        // More workers than cores are a burden; they are run to see how heavy it is.
        let target = (workers <= cores()).then_some(Target::AtLeast(300_000.0));
        plan(&tasks_name(workers), PerSecond, beside, target);
    }
    let raw = Some(("raw round trip, spinning", Multiple));
    plan("round trip, awake", Seconds, raw, Some(Target::RatioAtMost(5.0)));
    let same_waiting = Some(("raw round trip, same waiting", Multiple));
    plan("round trip", Seconds, same_waiting, Some(Target::RatioAtMost(5.0)));
    let asleep = Some(("raw round trip, asleep", Multiple));
    plan("round trip, asleep", Seconds, asleep, Some(Target::RatioAtMost(1.3)));
    plan("calls of an actor", PerSecond, None, Some(Target::AtLeast(300_000.0)));
    plan("round trip to an actor", Seconds, raw, None);
    plan("step in a chain of 1,000", Seconds, raw, None);
    plan("fan-in of 10,000 refs", Seconds, None, Some(Target::AtMost(0.020)));
    plan("task on 64 MiB", Seconds, Some(("empty task", Multiple)), Some(Target::RatioAtMost(1.5)));
    plan("put 1 KiB", Seconds, None, None);
    plan("get 1 KiB", Seconds, None, Some(Target::AtMost(10e-6)));
    for size in sizes(scale) {
        let target = (size.bytes >= 64 << 20).then_some(Target::RatioAtLeast(0.9));
        for state in ["untouched", "touched"] {
            let companion = format!("memcpy {}, {state}", size.name);
            plan(&format!("put {}, {state}", size.name), Seconds, Some((&companion, Speed)), target);
        }
        let small = Some(("get 1 KiB", Multiple));
        plan(&format!("get {}", size.name), Seconds, small, Some(Target::AtMost(10e-6)));
        if size.bytes > 1 << 20 {
            // In constant time: there is no copy.
            let name = format!("get {}", size.name);
            plan(&name, Seconds, Some(("get 1 MiB", Multiple)), Some(Target::RatioAtMost(1.5)));
        }
    }
    plan("map 100 µs", Seconds, Some(("rayon 100 µs", Speed)), Some(Target::RatioAtLeast(0.9)));
    plan("map 100 µs", Seconds, Some(("ideal 100 µs", Speed)), None);
    plan("map 1 ms", Seconds, Some(("rayon 1 ms", Speed)), None);
    plan("map 1 ms", Seconds, Some(("ideal 1 ms", Speed)), Some(Target::RatioAtLeast(0.97)));
    plan(EXECUTORS_MAP, PerSecond, Some((&tasks_name(2), Multiple)), Some(Target::AtLeast(100_000.0)));
    let mut few = None;
    for count in in_flight_counts(scale) {
        let beside: Option<(String, Ratio)> = few.clone();
        let target = beside.is_some().then_some(Target::RatioAtLeast(0.8));
        let InFlight { rate: name, submit, memory, peak } = in_flight_names(count);
        plan(&name, PerSecond, beside.as_ref().map(|(name, ratio)| (name.as_str(), *ratio)), target);
        plan(&submit, Seconds, None, None);
        let target = beside.is_some().then_some(Target::AtMost(600.0));
        plan(&memory, Bytes, None, target);
        plan(&peak, Bytes, None, None);
        few.get_or_insert((name, Multiple));
    }
    plan("init", Seconds, None, None);
    plan("shutdown", Seconds, None, None);
    let (start, idle) = match scale.place {
        Place::Pymp => (Some(Target::AtMost(0.060)), 0.005),
        _ => (None, IDLE_MPI), // how long MPI takes to start is its own affair
    };
    plan("init and shutdown", Seconds, Some(("bare processes", Multiple)), start);
    plan("CPU of an idle session", Share, None, Some(Target::AtMost(idle)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(place: Place) -> Vec<String> {
        let scale = Scale { place, ..Scale::default() };
        plans(scale).into_iter().map(|plan| plan.name).collect()
    }

    #[test]
    fn what_is_shown_depends_on_the_place() {
        let crosses = "get 64 MiB from another host".to_owned();
        assert!(!names(Place::Pymp).contains(&crosses));
        assert!(names(Place::Spawn(1)).len() > names(Place::Pymp).len());
        assert!(names(Place::Spmd(2)).contains(&crosses));
        assert!(names(Place::Spawn(2)).contains(&tasks_name(1)));
        assert!(!names(Place::Spmd(2)).contains(&tasks_name(1)));
    }
}
