//! What is shown of the patterns beside pshmem, what is aimed at, and what has to be known of it.

use super::{Hosts, pshmem};
use crate::peers::Versions;
use crate::plans::{Plan, Ratio, Target, Unit};
use crate::report;

pub(super) const SET: &str = "set of 64 MiB";
pub(super) const SET_TINY: &str = "set of 2 x 3";
pub(super) const LOCK: &str = "lock + unlock";
pub(super) const LOCK_BY_ANOTHER: &str = "lock + unlock by another rank";
pub(super) const AT_ONCE: &str = "lock + unlock by all at once";
pub(super) const HAND_OVER: &str = "hand-over on 2 cores";
pub(super) const NEXT_TASK: &str = "next_task of 100,000";
/// Of pshmem alone, where it makes a difference how the other ranks wait.
const LOCK_BESIDE_BARRIER: &str = "lock + unlock, others in Barrier";

/// Everything that is shown, in order; `beside` pshmem, or alone.
pub(super) fn plans(hosts: &[Hosts], beside: bool) -> Vec<Plan> {
    let all = hosts.iter().flat_map(|hosts| table(*hosts).iter().map(move |row| (*hosts, *row)));
    // Alone, there is nothing to tell apart what differs in pshmem only.
    let all = all.filter(|(_, (ours, theirs, _))| beside || theirs.is_none_or(|theirs| theirs == *ours));
    let plan = |(hosts, (ours, theirs, times)): (Hosts, Row)| Plan {
        name: hosts.of(ours),
        unit: Unit::Seconds,
        beside: theirs.filter(|_| beside).map(|theirs| (pshmem::of(&hosts.of(theirs)), Ratio::Speed)),
        target: times.filter(|_| beside).map(Target::RatioAtLeast),
    };
    all.map(plan).collect()
}

/// The name of our samples, that of pshmem's, and how many times as fast ours is to be.
type Row = (&'static str, Option<&'static str>, Option<f64>);

const ON_ONE_HOST: [Row; 8] = [
    (SET, Some(SET), Some(1.0)),
    (SET_TINY, Some(SET_TINY), None),
    (LOCK, Some(LOCK), Some(5.0)),
    (LOCK, Some(LOCK_BESIDE_BARRIER), Some(5.0)),
    (LOCK_BY_ANOTHER, Some(LOCK_BY_ANOTHER), Some(5.0)),
    (AT_ONCE, Some(AT_ONCE), Some(1.0)),
    (HAND_OVER, Some(HAND_OVER), Some(1.0)),
    (NEXT_TASK, Some(NEXT_TASK), Some(50.0)),
];

const ON_TWO_HOSTS: [Row; 4] = [
    (SET, Some(SET), Some(1.5)),
    (SET_TINY, Some(SET_TINY), None),
    (LOCK, None, None),
    (LOCK_BY_ANOTHER, None, None),
];

fn table(hosts: Hosts) -> &'static [Row] {
    match hosts {
        Hosts::One => &ON_ONE_HOST,
        Hosts::Two => &ON_TWO_HOSTS,
    }
}

/// How it was measured, for people.
pub(super) fn notes(versions: Option<&Versions>) -> String {
    let told = match versions {
        Some(versions) => {
            let versions: Vec<_> =
                versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
            vec![format!("Versions: {}.", versions.join(", "))]
        }
        None => vec!["pshmem was not measured.".to_owned()],
    };
    let of_pshmem = OF_PSHMEM.iter().filter(|_| versions.is_some());
    let paragraphs = OF_BOTH.iter().chain(of_pshmem).map(|text| (*text).to_owned()).chain(told);
    paragraphs.map(|text| report::wrapped(&text)).collect()
}

const OF_BOTH: [&str; 4] = [
    "Four ranks, on one host or on two hosts. A duration is that of the rank for which it took longest, from a \
     common barrier on. The ratio is how many times as fast as pshmem this was in the same round.",
    "lock + unlock: by the first rank, which has the list of those that wait, or by the last one; nobody else wants the \
     lock, and the others wait in a barrier: ours asleep.",
    "by all at once, hand-over: every rank takes the lock and gives it back as often as it can, on 2 cores. A rank may do \
     so many times before another one asks, so a hand-over is measured apart: from before the lock is given back until a \
     rank has it that was waiting, on average.",
    "next_task: one rank takes all tasks, one by one.",
];

const OF_PSHMEM: [&str; 3] = [
    "pshmem's other ranks sleep, too: they look every 10 ms whether they may go on. Beside `others in Barrier`, and where \
     another rank takes the lock, they are in MPI's Barrier, which spins: what that rank asks of the first one may need \
     its part.",
    "pshmem's lock is not measured across hosts: it reads the list without waiting until MPI has brought it, so that a \
     rank may wait for itself, without end.",
    "pshmem's next_task looks at all tasks up to the first open one; to take all of them takes hours. So it is measured at \
     places spread evenly over them, with all before done, and the mean counts.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::Samples;

    #[test]
    fn without_pshmem_nothing_is_aimed_at() {
        let beside = plans(&Hosts::ALL, true);
        assert_eq!(beside.len(), ON_ONE_HOST.len() + ON_TWO_HOSTS.len());
        assert!(beside.iter().all(|plan| plan.beside.is_some() || plan.name.starts_with(LOCK)));
        assert_eq!(beside.iter().filter(|plan| plan.target.is_some()).count(), 8);
        let alone = plans(&Hosts::ALL, false);
        assert!(alone.iter().all(|plan| plan.beside.is_none() && plan.target.is_none()));
        let mut names: Vec<_> = alone.iter().map(|plan| &plan.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), alone.len());
        assert_eq!(plans(&[Hosts::One], false).len(), 7);
    }

    #[test]
    fn a_ratio_is_how_many_times_as_fast() {
        let mut samples = Samples::default();
        samples.read("lock + unlock\t1e-6\npshmem: lock + unlock\t4e-6\n").unwrap();
        samples.read("set of 64 MiB, 2 hosts\t0.05\npshmem: set of 64 MiB, 2 hosts\t0.1\n").unwrap();
        let table = report::table(&report::rows(plans(&Hosts::ALL, true), &[samples]));
        let row = |name: &str| {
            let row = table.lines().find(|line| line.starts_with(&format!("| {name} ")));
            row.unwrap().split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>()
        };
        let lock =
            ["", "lock + unlock", "1 µs", "pshmem: lock + unlock", "4 µs", "4 ×", "≥ 5 ×", "missed", ""];
        assert_eq!(row("lock + unlock"), lock);
        assert_eq!(row("set of 64 MiB, 2 hosts")[5..8], ["2 ×", "≥ 1.5 ×", "met"]);
    }

    #[test]
    fn the_notes_tell_what_is_compared() {
        assert!(notes(None).contains("pshmem was not measured"));
        let versions = [("pshmem".to_owned(), "1.3".to_owned())].into();
        assert!(notes(Some(&versions)).contains("Versions: pshmem 1.3."));
    }
}
