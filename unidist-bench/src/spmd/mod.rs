//! The patterns of `unidist-spmd`, compared with pshmem, a Python package with the same patterns, on the same MPI.
//!
//! `cargo xtask bench spmd` makes the launchers. A part is a job of several ranks: of this program, which measures in
//! [`ranks`], and of `peers/with_pshmem.py`, which measures the same with [`pshmem`]. The jobs alternate. [`measures`]
//! has the baselines and targets.

mod measures;
mod pshmem;
mod ranks;
mod shared_timestamp;

pub(crate) use ranks::measure as measure_in_rank;

use crate::launchers::Launchers;
use crate::parts::{Samples, Scale};
use crate::rounds::{self, Job};
use crate::{Options, Result, check_failures, report};
use pshmem::Pshmem;
use std::process::Command;

/// A benchmark, measured in one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The shared array.
    Array,
    /// The lock without contention.
    Lock,
    /// The lock with contention.
    HandOver,
    /// The batch.
    Tasks,
}

impl Part {
    const ALL: [Part; 4] = [Part::Array, Part::Lock, Part::HandOver, Part::Tasks];

    /// Its name on the command line.
    fn name(self) -> &'static str {
        match self {
            Part::Array => "array",
            Part::Lock => "lock",
            Part::HandOver => "hand-over",
            Part::Tasks => "tasks",
        }
    }

    fn named(name: &str) -> Result<Part> {
        let part = Part::ALL.into_iter().find(|part| part.name() == name);
        part.ok_or_else(|| format!("there is no part `{name}`").into())
    }
}

/// Where the ranks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hosts {
    /// Four ranks on this machine.
    One,
    /// Two hosts, with two ranks each.
    Two,
}

impl Hosts {
    const ALL: [Hosts; 2] = [Hosts::One, Hosts::Two];

    fn count(self) -> usize {
        match self {
            Hosts::One => 1,
            Hosts::Two => 2,
        }
    }

    /// The total number of ranks, evenly distributed.
    fn ranks(self) -> usize {
        4
    }

    fn parts(self) -> &'static [Part] {
        match self {
            Hosts::One => &Part::ALL,
            Hosts::Two => &[Part::Array, Part::Lock],
        }
    }

    /// The name in the report for samples that have this name in a rank.
    fn of(self, name: &str) -> String {
        match self {
            Hosts::One => name.to_owned(),
            Hosts::Two => format!("{name}, 2 hosts"),
        }
    }
}

/// Runs all jobs alternately, and prints the table.
pub(crate) fn run(options: &Options) -> Result {
    let pshmem = options.peers.as_deref().map(Pshmem::find).transpose()?;
    let hosts: Vec<Hosts> =
        Hosts::ALL.into_iter().filter(|hosts| options.launchers.for_spmd(hosts.count()).is_some()).collect();
    if hosts.is_empty() {
        return Err("there is no launcher: use `cargo xtask bench spmd`".into());
    }
    let scale = options.scale();
    let mut jobs = jobs(scale, &hosts, &options.launchers, pshmem.as_ref());
    jobs.retain(|job| options.only.as_ref().is_none_or(|word| job.name.contains(word)));
    let mut results = rounds::run_rounds(jobs, options.rounds.unwrap_or(scale.of(3, 7)), |_| ());
    let mut rows = report::rows(measures::measures(&hosts, pshmem.is_some()), &results.rounds);
    if options.only.is_some() {
        rows.retain(report::Row::is_measured);
    }
    print!("{}\n{}", report::table(&rows), measures::notes(pshmem.as_ref().map(Pshmem::versions)));
    if let Some(file) = &options.json {
        let mut json = report::json(&rows, &results, scale.quick, "spmd");
        json["versions"] = serde_json::json!(pshmem.as_ref().map(Pshmem::versions));
        report::write_json(file, &json)?;
    }
    let missing = rows.iter().filter_map(report::Row::missing).filter(|_| options.only.is_none());
    results.failures.extend(missing.map(|name| format!("{name}: no samples")));
    check_failures(&results.failures)
}

/// Each part with `unidist-spmd`, followed by the same with pshmem.
fn jobs<'a>(
    scale: Scale,
    hosts: &[Hosts],
    launchers: &'a Launchers,
    pshmem: Option<&'a Pshmem>,
) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    let parts = hosts.iter().flat_map(|hosts| hosts.parts().iter().map(move |part| (*hosts, *part)));
    for (hosts, part) in parts {
        let scale = Scale { workers: hosts.ranks(), ..scale };
        let name = hosts.of(part.name());
        let ours = move |samples: &mut Samples| {
            let mut own = Samples::default();
            own.read(&rounds::run_job(launched(part, hosts, scale, launchers)?, true)?)?;
            samples.add_named(own, |name| hosts.of(name));
            Ok(())
        };
        jobs.push(Job { name: name.clone(), run: Box::new(ours) });
        if let Some(pshmem) = pshmem.filter(|_| Pshmem::can(part, hosts)) {
            let theirs = move |samples: &mut Samples| {
                let launcher = launchers.for_spmd(hosts.count()).ok_or("no launcher")?;
                pshmem.run(part, scale, launcher, samples, |name| pshmem::of(&hosts.of(name)))
            };
            jobs.push(Job { name: pshmem::of(&name), run: Box::new(theirs) });
        }
    }
    jobs
}

/// A command that runs this program in every rank of a job.
fn launched(part: Part, hosts: Hosts, scale: Scale, launchers: &Launchers) -> Result<Command> {
    let mut command = Command::new(launchers.for_spmd(hosts.count()).ok_or("no launcher")?);
    command.arg(std::env::current_exe()?).args(["spmd-rank", part.name()]).args(scale.arguments());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_name() {
        for part in Part::ALL {
            assert_eq!(Part::named(part.name()).unwrap(), part);
        }
        assert!(Part::named("no such part").is_err());
    }

    #[test]
    fn jobs_exist_for_hosts_with_a_launcher() {
        let launchers = Launchers::default();
        let names = |hosts: &[Hosts]| -> Vec<String> {
            jobs(Scale::default(), hosts, &launchers, None).into_iter().map(|job| job.name).collect()
        };
        assert_eq!(names(&[Hosts::One]), ["array", "lock", "hand-over", "tasks"]);
        assert_eq!(names(&[Hosts::Two]), ["array, 2 hosts", "lock, 2 hosts"]);
        let error = run(&Options::default()).unwrap_err().to_string();
        assert!(error.contains("launcher"), "{error}");
    }
}
