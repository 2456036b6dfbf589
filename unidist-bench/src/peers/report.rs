//! The comparison with the peers: as a table, as JSON, and for the README.

use super::{FASTEST, PEERS, Peers, WORK, Work, of, ours, target};
use crate::environment::Environment;
use crate::measures::Unit;
use crate::parts::{Samples, Scale, cores, median};
use crate::procfs::cpu_model;
use crate::report;
use serde_json::{Value, json};

/// The result of one system.
struct Cell {
    value: Option<f64>,
    /// How many times as fast unidist is: the median over the rounds.
    times: Option<f64>,
}

impl Cell {
    fn new(work: &Work, peer: &str, rounds: &[Samples]) -> Cell {
        let name = of(peer, work.name);
        let value = median(rounds.iter().filter_map(|samples| samples.median(&name)).collect());
        let times = |samples: &Samples| {
            let (own, other) = (samples.median(&ours(work.name))?, samples.median(&name)?);
            Some(if work.unit == Unit::PerSecond { own / other } else { other / own })
        };
        Cell { value, times: median(rounds.iter().filter_map(times).collect()) }
    }

    fn show(&self, unit: Unit) -> String {
        match (self.value, self.times) {
            (Some(value), Some(times)) => format!("{} ({} ×)", unit.show(value), report::digits(times)),
            (Some(value), None) => unit.show(value),
            _ => "–".to_owned(),
        }
    }
}

fn own(work: &Work, rounds: &[Samples]) -> Option<f64> {
    median(rounds.iter().filter_map(|samples| samples.median(&ours(work.name))).collect())
}

/// The systems in the table: [`FASTEST`] stands for Python unidist's backends.
fn shown(environment: Environment) -> Vec<&'static str> {
    let others = peers_in(environment).filter(|name| !name.starts_with(FASTEST));
    std::iter::once(FASTEST).chain(others).collect()
}

/// All systems, both [`FASTEST`] and the backends.
fn systems(environment: Environment) -> impl Iterator<Item = &'static str> {
    std::iter::once(FASTEST).chain(peers_in(environment))
}

/// The peers that are compared in this environment.
fn peers_in(environment: Environment) -> impl Iterator<Item = &'static str> {
    PEERS.iter().filter(move |peer| peer.is_for(environment)).map(|peer| peer.name)
}

fn targets(environment: Environment) -> impl Iterator<Item = (&'static Work, &'static str, f64)> {
    let pairs = shown(environment).into_iter().flat_map(|peer| WORK.iter().map(move |work| (work, peer)));
    pairs.filter_map(move |(work, peer)| Some((work, peer, target(peer, work.name, environment)?)))
}

/// A table with one row per kind of work and one column per system; then a table of the targets.
pub(crate) fn table(environment: Environment, rounds: &[Samples]) -> String {
    let head = ["measurement", "peer", "times as fast", "target", ""].map(str::to_owned).to_vec();
    let rows = targets(environment).map(|(work, peer, goal)| {
        let times = Cell::new(work, peer, rounds).times;
        let met = times.map_or("", |times| if times >= goal { "met" } else { "missed" });
        let times = times.map_or("–".to_owned(), |times| format!("{} ×", report::digits(times)));
        vec![work.name.to_owned(), peer.to_owned(), times, format!("≥ {goal} ×"), met.to_owned()]
    });
    let targets: Vec<_> = std::iter::once(head).chain(rows).collect();
    format!("{}\n{}", matrix(environment, rounds), report::columns(&targets))
}

fn matrix(environment: Environment, rounds: &[Samples]) -> String {
    let systems = shown(environment);
    let head = ["", "unidist"].into_iter().chain(systems.iter().copied()).map(str::to_owned).collect();
    let rows = WORK.iter().map(|work| {
        let mut row = vec![work.name.to_owned()];
        row.push(own(work, rounds).map_or("–".to_owned(), |value| work.unit.show(value)));
        row.extend(systems.iter().map(|peer| Cell::new(work, peer, rounds).show(work.unit)));
        row
    });
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    report::columns(&rows)
}

/// The table for the README, with a description of the run.
pub(crate) fn markdown(peers: &Peers, rounds: &[Samples], scale: Scale) -> String {
    let versions = peers.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let round = if scale.quick { "quick round" } else { "round" };
    let description = format!(
        "Medians of {}, in which the systems alternated, with {} each, on {} ({}). In parentheses: how many times as \
         fast unidist was in the same round. For Python unidist, the fastest of its backends pymp and mpi counts. \
         Versions: {}.",
        counted(rounds.len(), round),
        counted(scale.workers, "worker"),
        counted(cores(), "core"),
        cpu_model().unwrap_or_else(|| "unknown model".to_owned()),
        versions.collect::<Vec<_>>().join(", "),
    );
    format!("{}\n{}", matrix(peers.environment, rounds), report::wrapped(&description))
}

/// A count with a noun.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The comparison as JSON, in base units, with all systems.
pub(crate) fn json(peers: &Peers, rounds: &[Samples], scale: Scale) -> Value {
    let work = WORK.iter().map(|work| {
        let of_peer = |peer: &'static str| {
            let cell = Cell::new(work, peer, rounds);
            let goal = target(peer, work.name, peers.environment);
            let met = cell.times.zip(goal).map(|(times, goal)| times >= goal);
            let cell = json!({"value": cell.value, "times_as_fast": cell.times, "target": goal, "met": met});
            (peer.to_owned(), cell)
        };
        json!({
            "name": work.name,
            "unit": work.unit.name(),
            "unidist": own(work, rounds),
            "peers": systems(peers.environment).map(of_peer).collect::<serde_json::Map<_, _>>(),
        })
    });
    let left_out = peers.left_out().map(|(peer, lacks)| json!({"name": peer, "lacks": lacks}));
    json!({
        "workers": scale.workers,
        "versions": peers.versions,
        "left_out": left_out.collect::<Vec<_>>(),
        "work": work.collect::<Vec<_>>(),
    })
}

/// The targets without a measurement although the peer is installed.
pub(crate) fn missing(peers: &Peers, rounds: &[Samples]) -> Vec<String> {
    let there = |name: &str| peers.installed().any(|peer| peer.name.starts_with(name));
    let targets = targets(peers.environment).filter(|(_, peer, _)| there(peer));
    let unknown = targets.filter(|(work, peer, _)| Cell::new(work, peer, rounds).times.is_none());
    unknown.map(|(work, peer, _)| of(peer, work.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_higher_for_larger_rates_and_shorter_durations() {
        let mut samples = Samples::default();
        for (name, value) in [("empty tasks", 1_000.0), ("round trip", 0.001)] {
            samples.add(ours(name), value);
            samples.add(of("Ray", name), if value > 1.0 { 5.0 } else { 0.5 });
        }
        let rounds = [samples];
        let [tasks, round_trip] = ["empty tasks", "round trip"]
            .map(|name| WORK.iter().find(|work| work.name == name).expect("it is measured"));
        assert_eq!(Cell::new(tasks, "Ray", &rounds).times, Some(200.0));
        assert_eq!(Cell::new(round_trip, "Ray", &rounds).times, Some(500.0));
        assert_eq!(Cell::new(tasks, "Ray", &rounds).show(Unit::PerSecond), "5/s (200 ×)");
        assert_eq!(Cell::new(tasks, "Dask", &rounds).show(Unit::PerSecond), "–");
        let table = table(Environment::Pymp, &rounds);
        assert!(table.contains("| met"), "{table}");
    }

    #[test]
    fn every_target_belongs_to_a_measure() {
        assert_eq!(targets(Environment::Pymp).count(), 9);
        assert_eq!(targets(Environment::Spawn(1)).count(), 6);
    }
}
