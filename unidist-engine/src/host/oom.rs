//! Whether the system ends processes for want of memory, which looks like any other SIGKILL.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Follows the system's count of the processes that its out-of-memory killer has ended.
#[derive(Debug)]
pub(super) struct OomCounter {
    /// `None` where the system does not say.
    seen: Option<u64>,
}

impl OomCounter {
    pub(super) fn new() -> Self {
        OomCounter { seen: count() }
    }

    /// What is to be said of a process that ended so: something if it was killed, and the system has since it was last
    /// asked killed one for want of memory.
    pub(super) fn explain(&mut self, status: ExitStatus) -> Option<&'static str> {
        if status.signal() != Some(rustix::process::Signal::KILL.as_raw()) {
            return None;
        }
        let before = std::mem::replace(&mut self.seen, count());
        (self.seen > before && before.is_some()).then_some(
            "; just now the system has killed a process for want of memory, so let fewer tasks run at once \
             (UNIDIST_CPUS) or give them less to hold",
        )
    }
}

/// The count since the system started, of all processes; see "vmstat" in the kernel's documentation.
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
    fn the_count_is_found() {
        assert_eq!(parse("pgfault 12\noom_kill 3\nother 4\n"), Some(3));
        assert_eq!(parse("pgfault 12\n"), None);
    }

    #[test]
    fn only_what_was_killed_after_the_last_look_is_explained() {
        let killed = ExitStatus::from_raw(9);
        assert!(OomCounter { seen: None }.explain(killed).is_none());
        assert!(OomCounter { seen: Some(u64::MAX) }.explain(killed).is_none());
        assert!(OomCounter::new().explain(ExitStatus::from_raw(0)).is_none());
    }
}
