//! Detects kills by the kernel's out-of-memory killer, which look like any other SIGKILL.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Follows the kernel's count of processes that its out-of-memory killer has killed.
#[derive(Debug)]
pub(super) struct OomCounter {
    /// The count at the last look; `None` if the kernel does not report it.
    seen: Option<u64>,
}

impl OomCounter {
    pub(super) fn new() -> Self {
        OomCounter { seen: count() }
    }

    /// An explanation for the error of a process that ended with this status, if it was killed and the count has grown
    /// since the last look.
    pub(super) fn explain(&mut self, status: ExitStatus) -> Option<&'static str> {
        if status.signal() != Some(rustix::process::Signal::KILL.as_raw()) {
            return None;
        }
        let before = std::mem::replace(&mut self.seen, count());
        (self.seen > before && before.is_some()).then_some(
            "; the kernel has just killed a process because the host is out of memory: run fewer tasks at once \
             (UNIDIST_CPUS), or let each use less memory",
        )
    }
}

/// The count of the whole system since boot: `oom_kill` in `/proc/vmstat`.
fn count() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/vmstat").ok()?)
}

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
    fn explanation_needs_a_kill_since_the_last_look() {
        let killed = ExitStatus::from_raw(9);
        assert!(OomCounter { seen: None }.explain(killed).is_none());
        assert!(OomCounter { seen: Some(u64::MAX) }.explain(killed).is_none());
        assert!(OomCounter::new().explain(ExitStatus::from_raw(0)).is_none());
    }
}
