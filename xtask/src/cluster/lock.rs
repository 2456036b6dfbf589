//! Existing clusters and their owners.
//!
//! A cluster has a letter, which makes its names and addresses unique. Beside its folder, `/run/unidist-hosts/LETTER`, is
//! a lock file:
//!
//! | lock | file `persistent` in the folder | the cluster |
//! |---|---|---|
//! | held | any | is being created, removed or used by the process that holds the lock |
//! | free | yes | exists until `cluster down` |
//! | free | no | was abandoned by a killed process: the next process that creates a cluster removes it |

use crate::Result;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const ROOT: &str = "/run/unidist-hosts";
const PERSISTENT: &str = "persistent";
pub(super) const LETTERS: std::ops::RangeInclusive<char> = 'a'..='z';

/// The exclusive right to create, change and remove a cluster; the kernel releases it when the process ends.
#[derive(Debug)]
pub(super) struct ClusterLock {
    pub(super) letter: char,
    /// The locked file.
    _file: File,
}

impl ClusterLock {
    /// Locks the cluster with this letter; none if another process has the lock.
    pub(super) fn try_acquire(letter: char) -> Result<Option<Self>> {
        let path = lock_path(letter);
        loop {
            std::fs::create_dir_all(ROOT)?;
            let file = match File::options().create(true).truncate(false).write(true).open(&path) {
                // Another process has just removed the folder.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                file => file?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(format!("{}: {error}", path.display()).into()),
            }
            // The previous holder may have removed the file before it released the lock.
            let same =
                |there: std::fs::Metadata| Ok::<_, std::io::Error>(there.ino() == file.metadata()?.ino());
            if path.metadata().and_then(same).unwrap_or(false) {
                return Ok(Some(ClusterLock { letter, _file: file }));
            }
        }
    }

    /// Makes the cluster outlive this lock.
    pub(super) fn make_persistent(&self) -> Result {
        Ok(std::fs::write(folder_of(self.letter).join(PERSISTENT), "")?)
    }
}

impl Drop for ClusterLock {
    fn drop(&mut self) {
        // Remove the file while it is locked, so that no other process can hold a lock on a removed file.
        if !folder_of(self.letter).exists() {
            let _ = std::fs::remove_file(lock_path(self.letter));
            let _ = std::fs::remove_dir(ROOT);
        }
    }
}

/// The folder of the cluster with this letter.
pub(super) fn folder_of(letter: char) -> PathBuf {
    Path::new(ROOT).join(letter.to_string())
}

fn lock_path(letter: char) -> PathBuf {
    Path::new(ROOT).join(format!("{letter}.lock"))
}

/// Whether the cluster with this letter outlives its creator.
pub(super) fn is_persistent(letter: char) -> bool {
    folder_of(letter).join(PERSISTENT).exists()
}

/// The letters of the existing clusters, sorted.
pub(super) fn letters() -> Vec<char> {
    LETTERS.filter(|letter| folder_of(*letter).exists()).collect()
}
