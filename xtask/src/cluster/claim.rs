//! Which clusters there are, and whose.
//!
//! A cluster has a letter, and with it names and addresses that no other has. Its folder is `/run/unidist-hosts/LETTER`,
//! and beside it is a file that is locked:
//!
//! | the lock is | the folder has a file `kept` | the cluster |
//! |---|---|---|
//! | held | any | is being made, removed, or used by the process that holds the lock |
//! | free | yes | stays until `cluster down` |
//! | free | no | was left behind by a process that was killed: the next who comes by removes it |

use crate::Result;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const ROOT: &str = "/run/unidist-hosts";
const KEPT: &str = "kept";
pub(super) const LETTERS: std::ops::RangeInclusive<char> = 'a'..='z';

/// The right to make, change and remove the cluster with a letter. It ends with the process.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) letter: char,
    /// Locked.
    _file: File,
}

impl Claim {
    /// The right to the cluster with this letter, unless another process has it.
    pub(super) fn of(letter: char) -> Result<Option<Self>> {
        let path = lock_of(letter);
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
            // Whoever had it may have removed the file meanwhile.
            let same =
                |there: std::fs::Metadata| Ok::<_, std::io::Error>(there.ino() == file.metadata()?.ino());
            if path.metadata().and_then(same).unwrap_or(false) {
                return Ok(Some(Claim { letter, _file: file }));
            }
        }
    }

    /// Leaves the cluster to others once this claim ends.
    pub(super) fn keep(&self) -> Result {
        Ok(std::fs::write(folder_of(self.letter).join(KEPT), "")?)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Others wait for the file that has this name, so it goes while it is locked; what is kept keeps it.
        if !folder_of(self.letter).exists() {
            let _ = std::fs::remove_file(lock_of(self.letter));
            let _ = std::fs::remove_dir(ROOT);
        }
    }
}

/// The folder of the cluster with this letter.
pub(super) fn folder_of(letter: char) -> PathBuf {
    Path::new(ROOT).join(letter.to_string())
}

fn lock_of(letter: char) -> PathBuf {
    Path::new(ROOT).join(format!("{letter}.lock"))
}

/// Whether the cluster with this letter is to stay.
pub(super) fn is_kept(letter: char) -> bool {
    folder_of(letter).join(KEPT).exists()
}

/// The letters of the clusters that there are, in order.
pub(super) fn letters() -> Vec<char> {
    LETTERS.filter(|letter| folder_of(*letter).exists()).collect()
}
