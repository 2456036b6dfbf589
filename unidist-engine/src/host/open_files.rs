//! The limit of open files: raised no further than the processes of a session need, and restored in them.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The file descriptors that a process of the session takes in its parent.
const PER_PROCESS: u64 = 3;

/// The limit of open files of this process. Everything that it starts inherits a raised limit, so it is raised late, and
/// what tasks start gets the limit that the program was given.
#[derive(Debug)]
pub(super) struct OpenFiles {
    given: Rlimit,
    is_raised: bool,
}

impl OpenFiles {
    /// The limit as it is now.
    pub(super) fn new() -> Self {
        OpenFiles { given: getrlimit(Resource::Nofile), is_raised: false }
    }

    /// Makes sure that one more process can start beside `processes`, and that the program keeps half of what it was
    /// given.
    pub(super) fn make_room(&mut self, processes: usize) {
        let needed = (processes as u64 + 1) * PER_PROCESS;
        if let Some(given) = self.given.current
            && needed > given / 2
        {
            // In steps, so that it is rarely changed.
            self.raise(Some(given.saturating_add(needed.next_power_of_two())));
        }
    }

    /// Raises the limit as far as this process may; false if it cannot be raised.
    pub(super) fn raise_to_maximum(&mut self) -> bool {
        self.raise(self.given.maximum)
    }

    fn raise(&mut self, to: Option<u64>) -> bool {
        let now = getrlimit(Resource::Nofile);
        let to = match (to, now.maximum) {
            (Some(to), Some(maximum)) => Some(to.min(maximum)),
            (to, maximum) => to.or(maximum),
        };
        let is_higher = now.current.is_some_and(|now| to.is_none_or(|to| to > now));
        // If the system refuses, the limit stays, and starting too many processes is an error.
        let is_raised = is_higher && setrlimit(Resource::Nofile, Rlimit { current: to, ..now }).is_ok();
        self.is_raised |= is_raised;
        is_raised
    }

    /// Gives a process that has just started the limit that this process was given.
    pub(super) fn restore(&self, process: Pid) {
        if self.is_raised
            && let Err(error) = prlimit(Some(process), Resource::Nofile, self.given)
        {
            log::warn!(
                "cannot restore the limit of open files in process {process:?}: {error}; the commands that its tasks \
                 start have a higher limit"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only test of this crate that changes the limit of its process.
    #[test]
    fn limit_is_raised_as_far_as_processes_need() {
        let before = getrlimit(Resource::Nofile);
        let set = |current| setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..before });
        set(200).unwrap();
        let mut files = OpenFiles::new();
        files.make_room(32);
        assert_eq!((getrlimit(Resource::Nofile).current, files.is_raised), (Some(200), false));
        files.make_room(40);
        assert_eq!((getrlimit(Resource::Nofile).current, files.is_raised), (Some(200 + 128), true));
        files.make_room(41);
        assert_eq!(getrlimit(Resource::Nofile).current, Some(200 + 128));
        files.raise_to_maximum();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        files.restore(rustix::process::getpid());
        assert_eq!(getrlimit(Resource::Nofile).current, Some(200));
        setrlimit(Resource::Nofile, before).unwrap();
    }
}
