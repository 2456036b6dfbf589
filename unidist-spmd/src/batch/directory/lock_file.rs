//! The advisory lock of a directory: who changes a state file holds it, whichever job it belongs to.
//!
//! The kernel releases it when its holder ends, however that happens. It is held for a read and a rename, so a wait
//! that becomes long means that its holder hangs, and ends with an error.

use crate::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The longest that anybody waits for the lock.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pauses between attempts grow from this …
const SHORTEST_PAUSE: Duration = Duration::from_micros(100);

/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A file that one process at a time has locked.
pub(super) struct LockFile {
    path: PathBuf,
    patience: Duration,
}

/// The lock, until it is dropped.
pub(super) struct Held {
    _file: File,
}

impl LockFile {
    /// The lock that this file is. It is made when it is needed.
    pub(super) fn new(path: PathBuf) -> LockFile {
        LockFile { path, patience: PATIENCE }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, its file system knows no locks, or nobody gave the lock back for too long.
    pub(super) fn acquire(&self) -> Result<Held> {
        let refused = |message: String| Error::StateFile { path: self.path.clone(), message };
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        let file = file.map_err(|error| refused(format!("the lock cannot be opened: {error}")))?;
        let started = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Held { _file: file }),
                Err(Errno::WOULDBLOCK) if started.elapsed() < self.patience => {
                    // Not all at the same time: those who wait would meet again and again.
                    std::thread::sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64()));
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::DirectoryLocked {
                        path: self.path.clone(),
                        waited: started.elapsed(),
                    });
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    let error = std::io::Error::from(error);
                    return Err(refused(format!("the file system does not lock files (flock): {error}")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_not_given_back_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = LockFile { path: path.clone(), patience: Duration::ZERO };
        let held = lock.acquire().unwrap();
        let error = lock.acquire().err().unwrap();
        assert!(matches!(&error, Error::DirectoryLocked { path: named, .. } if *named == path), "{error}");
        drop(held);
        assert!(lock.acquire().is_ok());
    }

    #[test]
    fn whoever_waits_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let lock = LockFile::new(folder.path().join("lock"));
        let held = lock.acquire().unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| lock.acquire().is_ok());
            drop(held);
            assert!(waiter.join().unwrap());
        });
    }

    #[test]
    fn no_folder_for_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let error = LockFile::new(folder.path().join("none/lock")).acquire().err().unwrap();
        assert!(error.to_string().contains("none/lock"), "{error}");
    }
}
