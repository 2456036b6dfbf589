//! Detects kills by the kernel's out-of-memory killer, which look like any other SIGKILL.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use unidist_config::cgroup;

/// Follows the kernel's counts of processes that its out-of-memory killer has killed.
#[derive(Debug)]
pub(super) struct OomCounter {
    /// The counts at the last look.
    seen: Counts,
}

/// Each is `None` if the kernel does not report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    /// In the control group of this process, which its children share.
    group: Option<u64>,
    /// In the whole system since boot.
    system: Option<u64>,
}

impl OomCounter {
    pub(super) fn new() -> Self {
        OomCounter { seen: Counts::now() }
    }

    /// An explanation for the error of a process that ended with this status, if it was killed and a count has grown
    /// since the last look.
    pub(super) fn explain(&mut self, status: ExitStatus) -> Option<String> {
        if status.signal() != Some(rustix::process::Signal::KILL.as_raw()) {
            return None;
        }
        let now = Counts::now();
        let before = std::mem::replace(&mut self.seen, now);
        let place = now.grown_since(before)?;
        let group = match (place, cgroup::memory_limit()) {
            (Place::Group, Some(limit)) => {
                format!(" or its control group, which may use {} MiB,", limit.div_ceil(1 << 20))
            }
            _ => String::new(),
        };
        Some(format!(
            "; the kernel has just killed a process because the host{group} is out of memory: run fewer tasks at once \
             (UNIDIST_CPUS), let each use less memory, or lower UNIDIST_OBJECT_STORE_MEMORY"
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Group,
    System,
}

impl Counts {
    fn now() -> Self {
        let vmstat = std::fs::read_to_string("/proc/vmstat").ok();
        Counts { group: cgroup::killed_processes(), system: vmstat.and_then(|text| parse(&text)) }
    }

    fn grown_since(self, before: Counts) -> Option<Place> {
        let has_grown = |now: Option<u64>, before: Option<u64>| before.is_some() && now > before;
        if has_grown(self.group, before.group) {
            return Some(Place::Group);
        }
        // A process may have been moved to another group.
        has_grown(self.system, before.system).then_some(Place::System)
    }
}

/// `oom_kill` in `/proc/vmstat`.
fn parse(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_parsed() {
        assert_eq!(parse("pgfault 12\noom_kill 3\nother 4\n"), Some(3));
        assert_eq!(parse("pgfault 12\n"), None);
    }

    #[test]
    fn kill_in_the_group_is_told_from_another() {
        let counts = |group, system| Counts { group, system };
        let before = counts(Some(1), Some(5));
        assert_eq!(counts(Some(2), Some(6)).grown_since(before), Some(Place::Group));
        assert_eq!(counts(Some(1), Some(6)).grown_since(before), Some(Place::System));
        assert_eq!(before.grown_since(before), None);
        assert_eq!(counts(None, Some(6)).grown_since(before), Some(Place::System));
        assert_eq!(counts(Some(1), Some(1)).grown_since(counts(None, None)), None);
    }

    #[test]
    fn explanation_needs_a_kill_since_the_last_look() {
        let killed = ExitStatus::from_raw(9);
        let counter = |count| OomCounter { seen: Counts { group: count, system: count } };
        assert!(counter(None).explain(killed).is_none());
        assert!(counter(Some(u64::MAX)).explain(killed).is_none());
        assert!(OomCounter::new().explain(ExitStatus::from_raw(0)).is_none());
    }
}
