//! The advisory lock of a directory: a process holds it while it changes a state file.
//!
//! The kernel releases it when its holder ends, however that happens. It is held for a read and a rename, so a long wait means
//! that its holder hangs, and returns an error.

use crate::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use unidist_sync::ExponentialBackoff;

/// The longest wait for the lock.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The first pause between two attempts.
const MIN_PAUSE: Duration = Duration::from_micros(100);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// A file that one process at a time can lock.
pub(super) struct LockFile {
    path: PathBuf,
    max_wait: Duration,
}

/// The lock, until it is dropped.
pub(super) struct LockFileGuard {
    _file: File,
}

impl LockFile {
    /// The lock with this file, which is created when it is first needed.
    pub(super) fn new(path: PathBuf) -> LockFile {
        LockFile { path, max_wait: MAX_WAIT }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, its file system does not support locks, or another process holds the lock for too long.
    pub(super) fn acquire(&self) -> Result<LockFileGuard> {
        let refused = |message: String| Error::StateFile { path: self.path.clone(), message };
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        let file = file.map_err(|error| refused(format!("the lock cannot be opened: {error}")))?;
        let started = Instant::now();
        let mut backoff = ExponentialBackoff::new(MIN_PAUSE, MAX_PAUSE);
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(LockFileGuard { _file: file }),
                Err(Errno::WOULDBLOCK) if started.elapsed() < self.max_wait => {
                    // Randomised, so that waiting processes do not retry at the same times.
                    std::thread::sleep(backoff.next_pause().mul_f64(0.5 + 0.5 * fastrand::f64()));
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
                    return Err(refused(format!(
                        "the file system does not support locks (flock), which a batch with a directory needs: {error}"
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_timeout_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = LockFile { path: path.clone(), max_wait: Duration::ZERO };
        let held = lock.acquire().unwrap();
        let error = lock.acquire().err().unwrap();
        assert!(matches!(&error, Error::DirectoryLocked { path: named, .. } if *named == path), "{error}");
        drop(held);
        assert!(lock.acquire().is_ok());
    }

    #[test]
    fn waiting_process_gets_the_lock() {
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
    fn missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = LockFile::new(folder.path().join("none/lock")).acquire().err().unwrap();
        assert!(error.to_string().contains("none/lock"), "{error}");
    }
}
