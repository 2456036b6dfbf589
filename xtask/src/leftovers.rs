//! What a program must not leave behind: processes, and files in `/dev/shm`.

use crate::{Result, process};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What there was before an executable was run.
pub(crate) struct Before {
    executable: PathBuf,
    shared_memory: BTreeSet<OsString>,
}

impl Before {
    pub(crate) fn of(executable: &Path) -> Self {
        Before { executable: executable.to_owned(), shared_memory: shared_memory() }
    }

    /// An error if, after this time, a process of the executable is alive; it is ended.
    pub(crate) fn check_processes(&self, grace: Duration) -> Result {
        let end = Instant::now() + grace;
        loop {
            let alive = process::processes_of(&self.executable);
            if alive.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                alive.iter().copied().for_each(process::kill);
                return Err(format!("processes left behind: {alive:?}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// An error if there is something new in `/dev/shm`.
    pub(crate) fn check_shared_memory(&self) -> Result {
        let now = shared_memory();
        let new: Vec<_> = now.difference(&self.shared_memory).collect();
        match new.is_empty() {
            true => Ok(()),
            false => Err(format!("left behind in /dev/shm: {new:?}").into()),
        }
    }
}

/// The names of what is in /dev/shm.
fn shared_memory() -> BTreeSet<OsString> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_stays_is_found() {
        let sleep = Path::new("/bin/sleep").canonicalize().unwrap();
        // A copy of its own, so that no other process of this machine counts.
        let copy = std::env::temp_dir().join(format!("unidist-leftover-{}", std::process::id()));
        std::fs::copy(sleep, &copy).unwrap();
        let before = Before::of(&copy);
        let mut child = std::process::Command::new(&copy).arg("1000").spawn().unwrap();
        let found = before.check_processes(Duration::ZERO);
        child.wait().unwrap();
        std::fs::remove_file(&copy).unwrap();
        assert!(found.is_err());
        assert!(before.check_processes(Duration::ZERO).is_ok());
    }
}
