//! The measures of the patterns, their targets relative to pshmem, and notes on the method.

use super::{Hosts, pshmem};
use crate::measures::{Measure, Ratio, Target, Unit};
use crate::peers::Versions;
use crate::report;

pub(super) const SET: &str = "set of 64 MiB";
pub(super) const SET_TINY: &str = "set of 2 x 3";
pub(super) const LOCK: &str = "lock + unlock";
pub(super) const LOCK_BY_ANOTHER: &str = "lock + unlock by another rank";
pub(super) const AT_ONCE: &str = "lock + unlock by all at once";
pub(super) const HAND_OVER: &str = "hand-over on 2 cores";
pub(super) const NEXT_TASK: &str = "next_task of 100,000";
/// Only for pshmem, where it matters how the other ranks wait.
const LOCK_BESIDE_BARRIER: &str = "lock + unlock, others in Barrier";

/// All measures in order, with pshmem as the baseline or without a baseline.
pub(super) fn measures(hosts: &[Hosts], with_pshmem: bool) -> Vec<Measure> {
    let all = hosts.iter().flat_map(|hosts| table(*hosts).iter().map(move |row| (*hosts, *row)));
    // Without pshmem, rows that differ only in pshmem's method are the same.
    let all = all.filter(|(_, (ours, theirs, _))| with_pshmem || theirs.is_none_or(|theirs| theirs == *ours));
    let measure = |(hosts, (ours, theirs, times)): (Hosts, Row)| Measure {
        name: hosts.of(ours),
        unit: Unit::Seconds,
        baseline: theirs.filter(|_| with_pshmem).map(|theirs| (pshmem::of(&hosts.of(theirs)), Ratio::Speed)),
        target: times.filter(|_| with_pshmem).map(Target::RatioAtLeast),
    };
    all.map(measure).collect()
}

/// The name of our samples, the name of pshmem's, and the target ratio of speeds.
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

/// Notes on how it was measured.
pub(super) fn notes(versions: Option<&Versions>) -> String {
    let versions_note = match versions {
        Some(versions) => {
            let versions: Vec<_> =
                versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
            vec![format!("Versions: {}.", versions.join(", "))]
        }
        None => vec!["pshmem was not measured.".to_owned()],
    };
    let pshmem_notes = PSHMEM_METHOD.iter().filter(|_| versions.is_some());
    let paragraphs = METHOD.iter().chain(pshmem_notes).map(|text| (*text).to_owned()).chain(versions_note);
    paragraphs.map(|text| report::wrapped(&text)).collect()
}

const METHOD: [&str; 4] = [
    "Four ranks, on one host or on two hosts. A duration is that of the slowest rank, measured from a common barrier. \
     The ratio is how many times as fast as pshmem unidist was in the same round.",
    "lock + unlock: by the first rank, which holds the list of waiting ranks, or by the last one. There is no \
     contention: the other ranks wait in a barrier, with unidist asleep.",
    "by all at once, hand-over: every rank takes and releases the lock as often as it can, on 2 cores. A rank may do \
     so several times before another rank asks for the lock, so a hand-over is measured separately: the mean time from \
     just before the release until a waiting rank has the lock.",
    "next_task: one rank takes all tasks, one by one.",
];

const PSHMEM_METHOD: [&str; 3] = [
    "With pshmem the other ranks sleep, too: they check every 10 ms whether they can continue. In the row `others in \
     Barrier`, and where another rank takes the lock, they are in MPI's Barrier, which spins: the first rank may have \
     to take part in that rank's operations.",
    "pshmem's lock is not measured across hosts: it reads the list of waiting ranks before MPI has completed the read, \
     so a rank may wait for itself forever.",
    "pshmem's next_task scans all tasks up to the first open one, so taking all of them takes hours. It is measured at \
     evenly spaced positions, with all earlier tasks done, and the mean is reported.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::Samples;

    #[test]
    fn targets_need_pshmem() {
        let baseline = measures(&Hosts::ALL, true);
        assert_eq!(baseline.len(), ON_ONE_HOST.len() + ON_TWO_HOSTS.len());
        assert!(baseline.iter().all(|measure| measure.baseline.is_some() || measure.name.starts_with(LOCK)));
        assert_eq!(baseline.iter().filter(|measure| measure.target.is_some()).count(), 8);
        let alone = measures(&Hosts::ALL, false);
        assert!(alone.iter().all(|measure| measure.baseline.is_none() && measure.target.is_none()));
        let mut names: Vec<_> = alone.iter().map(|measure| &measure.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), alone.len());
        assert_eq!(measures(&[Hosts::One], false).len(), 7);
    }

    #[test]
    fn ratio_is_relative_speed() {
        let mut samples = Samples::default();
        samples.read("lock + unlock\t1e-6\npshmem: lock + unlock\t4e-6\n").unwrap();
        samples.read("set of 64 MiB, 2 hosts\t0.05\npshmem: set of 64 MiB, 2 hosts\t0.1\n").unwrap();
        let table = report::table(&report::rows(measures(&Hosts::ALL, true), &[samples]));
        let row = |name: &str| {
            let row = table.lines().find(|line| line.starts_with(&format!("| {name} ")));
            row.unwrap().split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>()
        };
        let lock =
            ["", "lock + unlock", "1 µs", "", "pshmem: lock + unlock", "4 µs", "4 ×", "≥ 5 ×", "missed", ""];
        assert_eq!(row("lock + unlock"), lock);
        assert_eq!(row("set of 64 MiB, 2 hosts")[6..9], ["2 ×", "≥ 1.5 ×", "met"]);
    }

    #[test]
    fn notes_describe_the_method() {
        assert!(notes(None).contains("pshmem was not measured"));
        let versions = [("pshmem".to_owned(), "1.3".to_owned())].into();
        assert!(notes(Some(&versions)).contains("Versions: pshmem 1.3."));
    }
}
