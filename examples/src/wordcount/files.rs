//! Files: finding, distributing and reading them.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The files in a folder and its subfolders.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Regular files.
    pub(crate) found: Vec<Found>,
    /// Entries that could not be examined.
    pub(crate) skipped: Vec<Skipped>,
}

/// A file.
#[derive(Debug)]
pub(crate) struct Found {
    /// The absolute path, valid in workers. Not a `PathBuf`, which serde only sends if it is Unicode.
    pub(crate) path: OsString,
    /// Its length in bytes.
    pub(crate) length: u64,
}

/// A skipped file and the reason.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Skipped {
    path: OsString,
    reason: String,
}

impl Skipped {
    pub(crate) fn new(path: &OsStr, reason: impl fmt::Display) -> Self {
        Skipped { path: path.to_owned(), reason: reason.to_string() }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl Files {
    /// Finds all files. Follows links to files, but not links to folders, which can form loops.
    pub(crate) fn below(folder: &Path) -> io::Result<Self> {
        let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
        let mut files = Files::default();
        let root = std::path::absolute(folder).map_err(at)?;
        files.list(&root).map_err(at)?;
        Ok(files)
    }

    fn list(&mut self, folder: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if let Err(error) = self.look(&entry, &path) {
                self.skipped.push(Skipped::new(path.as_os_str(), error));
            }
        }
        Ok(())
    }

    fn look(&mut self, entry: &fs::DirEntry, path: &Path) -> io::Result<()> {
        if entry.file_type()?.is_dir() {
            return self.list(path);
        }
        let metadata = fs::metadata(path)?;
        if metadata.is_file() {
            self.found.push(Found { path: path.into(), length: metadata.len() });
        } else if !metadata.is_dir() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(())
    }
}

/// Distributes files over about `count` batches, more if they would exceed `max_bytes`, none of them empty: largest
/// file first, each to the lightest batch.
pub(crate) fn balance(mut files: Vec<Found>, count: usize, max_bytes: u64) -> Vec<Vec<OsString>> {
    let total: u64 = files.iter().map(|file| file.length).sum();
    let needed = usize::try_from(total.div_ceil(max_bytes)).unwrap_or(usize::MAX);
    let count = count.max(needed).min(files.len());
    files.sort_by_key(|file| Reverse(file.length));
    let mut batches = vec![Vec::new(); count];
    let mut lightest: BinaryHeap<_> = (0..count).map(|batch| Reverse((0, batch))).collect();
    for file in files {
        if let Some(mut top) = lightest.peek_mut() {
            let Reverse((load, batch)) = *top;
            batches[batch].push(file.path);
            // Opening a file takes about as long as reading this many bytes. It also spreads empty files.
            const OPEN_COST: u64 = 16 << 10;
            *top = Reverse((load + file.length + OPEN_COST, batch));
        }
    }
    batches
}

/// Reads a file into `buffer`, replacing its contents, and returns it as text.
pub(crate) fn read<'a>(path: &OsStr, buffer: &'a mut Vec<u8>) -> Result<&'a str, Box<dyn std::error::Error>> {
    buffer.clear();
    File::open(path)?.read_to_end(buffer)?;
    std::str::from_utf8(buffer).map_err(|error| format!("not UTF-8: {error}").into())
}
