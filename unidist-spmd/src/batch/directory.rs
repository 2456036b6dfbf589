//! The states of tasks in a directory, which several jobs may use at the same time.
//!
//! ```text
//! DIR/<name>/state          of each task: the authoritative state, replaced atomically by a rename
//! DIR/.unidist/lock         held while a state changes (`lock_file`)
//! DIR/.unidist/jobs/<id>    of each job: touched while it runs (`jobs`)
//! ```
//!
//! A task whose state file is missing or empty is open. A task that a dead job was running becomes open again when another job
//! scans it: [`Directory::refresh`].

mod jobs;
mod lock_file;
mod names;
mod record;

pub(super) use names::check_names;

use super::TaskState;
use crate::{Error, Result};
use jobs::{Heartbeat, JobSnapshot, Jobs};
use lock_file::LockFile;
use record::Record;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;

/// The folder for files that do not belong to a task.
const METADATA_FOLDER: &str = ".unidist";

/// A valid state file is shorter; the beginning of a longer one is enough for an error.
const MAX_RECORD_LEN: u64 = 4096;

/// The directory, as one rank of a job sees it.
pub(super) struct Directory {
    root: PathBuf,
    names: Vec<String>,
    lock: LockFile,
    jobs: Jobs,
    /// On the first rank of the job only.
    heartbeat: Option<Heartbeat>,
}

impl Directory {
    /// Starts a job on a directory, and returns the states of all tasks. Missing folders are created; `initial` is for a
    /// directory without states. Called by the first rank.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, a state file is malformed, or there are states although `initial` is given.
    pub(super) fn begin(
        root: &Path,
        names: Vec<String>,
        initial: Option<&[TaskState]>,
        stale_after: Duration,
    ) -> Result<(Directory, Vec<TaskState>)> {
        let root = std::path::absolute(root).map_err(|error| unusable(root, &error))?;
        let mut directory = Directory::new(root, names, record::JobId::new(), stale_after);
        let own = directory.root.join(METADATA_FOLDER).join("jobs");
        fs::create_dir_all(&own).map_err(|error| unusable(&own, &error))?;
        directory.heartbeat = Some(directory.jobs.start_heartbeat()?);
        if initial.is_some() {
            directory.check_no_states()?;
        }
        let mut snapshot = directory.job_snapshot()?;
        let mut states = Vec::with_capacity(directory.names.len());
        for task in 0..directory.names.len() {
            let folder = directory.root.join(&directory.names[task]);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(unusable(&folder, &error));
                }
                _ => {}
            }
            let first = initial.map_or(TaskState::Open, |initial| initial[task]);
            let first = Record::new(first, directory.jobs.own());
            states.push(match directory.replace(task, &first, || Ok(directory.read(task)?.is_none()))? {
                true => first.state,
                false => directory.refresh(task, &mut snapshot)?,
            });
        }
        directory.jobs.remove_dead()?;
        Ok((directory, states))
    }

    /// What the other ranks of the job need to [`join`](Self::join).
    pub(super) fn place(&self) -> Vec<u8> {
        let mut place = self.root.as_os_str().as_bytes().to_vec();
        place.push(0);
        place.extend(self.jobs.own().as_str().as_bytes());
        place
    }

    /// The directory on another rank of the job.
    ///
    /// # Errors
    ///
    /// The bytes are malformed.
    pub(super) fn join(place: &[u8], names: Vec<String>, stale_after: Duration) -> Result<Directory> {
        let mut parts = place.splitn(2, |&byte| byte == 0);
        let root = PathBuf::from(OsStr::from_bytes(parts.next().unwrap_or_default()));
        let job = String::from_utf8_lossy(parts.next().unwrap_or_default()).parse();
        let job = job.map_err(|message| Error::StateFile { path: root.clone(), message })?;
        Ok(Directory::new(root, names, job, stale_after))
    }

    /// Whether this rank sees the heartbeat that the first rank has created.
    pub(super) fn is_visible(&self) -> bool {
        File::open(self.jobs.own_heartbeat()).is_ok()
    }

    /// The error if a rank does not see it.
    pub(super) fn not_visible_to(&self, rank: usize) -> Error {
        let message = format!(
            "rank {rank} does not see this file, which rank 0 has created: put the directory of a batch on a file system \
             that all hosts of the job share"
        );
        Error::StateFile { path: self.jobs.own_heartbeat(), message }
    }

    fn new(root: PathBuf, names: Vec<String>, job: record::JobId, stale_after: Duration) -> Directory {
        let own = root.join(METADATA_FOLDER);
        let lock = LockFile::new(own.join("lock"));
        let jobs = Jobs::new(own.join("jobs"), job, stale_after);
        Directory { root, names, lock, jobs, heartbeat: None }
    }

    /// How often tasks of dead jobs are searched for.
    pub(super) fn interval(&self) -> Duration {
        self.jobs.interval()
    }

    /// Finds which jobs are dead, for [`refresh`](Self::refresh).
    pub(super) fn job_snapshot(&self) -> Result<JobSnapshot<'_>> {
        self.jobs.snapshot()
    }

    /// The state of a task.
    ///
    /// # Errors
    ///
    /// Its file cannot be read, or is malformed.
    pub(super) fn state(&self, task: usize) -> Result<TaskState> {
        Ok(state_of(self.read(task)?.as_ref()))
    }

    /// Sets the state of a task, whatever it was.
    ///
    /// # Errors
    ///
    /// The file cannot be written. Then the state does not change.
    pub(super) fn set(&self, task: usize, state: TaskState) -> Result<()> {
        self.replace(task, &Record::new(state, self.jobs.own()), || Ok(true)).map(drop)
    }

    /// Marks an open task as running in this job; `false` if it is not open.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written. Then the state does not change.
    pub(super) fn claim(&self, task: usize) -> Result<bool> {
        let running = Record::new(TaskState::Running, self.jobs.own());
        self.replace(task, &running, || Ok(self.state(task)? == TaskState::Open))
    }

    /// Opens a task if its state is `wanted`; `false` if it is not.
    ///
    /// # Errors
    ///
    /// As those of [`claim`](Self::claim).
    pub(super) fn reopen(&self, task: usize, wanted: impl Fn(TaskState) -> bool) -> Result<bool> {
        let open = Record::new(TaskState::Open, self.jobs.own());
        self.replace(task, &open, || Ok(wanted(self.state(task)?)))
    }

    /// The state of a task, after opening it if a dead job was running it.
    ///
    /// # Errors
    ///
    /// As those of [`claim`](Self::claim).
    pub(super) fn refresh(&self, task: usize, snapshot: &mut JobSnapshot<'_>) -> Result<TaskState> {
        let seen = self.read(task)?;
        if let Some(record) = &seen
            && record.state == TaskState::Running
            && snapshot.is_dead(record.owner.as_ref())?
        {
            let open = Record::new(TaskState::Open, self.jobs.own());
            self.replace(task, &open, || Ok(self.read(task)? == seen))?;
            return self.state(task);
        }
        Ok(state_of(seen.as_ref()))
    }

    /// Stops the heartbeat.
    ///
    /// # Errors
    ///
    /// The heartbeat could not be written, so that other jobs may have taken over tasks of this one.
    pub(super) fn close(&mut self) -> Result<()> {
        self.heartbeat.take().map_or(Ok(()), Heartbeat::stop)
    }

    /// Keeps the heartbeat until the process ends, because other ranks may still run tasks.
    pub(super) fn keep_heartbeat(&mut self) {
        std::mem::forget(self.heartbeat.take());
    }

    fn check_no_states(&self) -> Result<()> {
        for task in 0..self.names.len() {
            if self.read(task)?.is_some() {
                let message = "the directory has states already, which take precedence: omit the initial states, or use another directory";
                return Err(Error::StateFile { path: self.state_file(task), message: message.into() });
            }
        }
        Ok(())
    }

    fn state_file(&self, task: usize) -> PathBuf {
        self.root.join(&self.names[task]).join("state")
    }

    /// The record of a task; `None` if its file is missing or empty.
    fn read(&self, task: usize) -> Result<Option<Record>> {
        let path = self.state_file(task);
        let text = match read_beginning(&path) {
            // On a network file system, another host has replaced the file after it was opened.
            Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle => read_beginning(&path),
            read => read,
        };
        let unknown = |what: String| {
            let message = format!("{what}: correct the file, or remove it, which makes the task open");
            Error::StateFile { path: path.clone(), message }
        };
        match text {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => text.parse().map(Some).map_err(unknown),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unknown(format!("it cannot be read: {error}"))),
        }
    }

    /// Replaces the record of a task if the `condition` holds. It is checked once before any work, and once under the lock.
    fn replace(&self, task: usize, new: &Record, condition: impl Fn() -> Result<bool>) -> Result<bool> {
        if !condition()? {
            return Ok(false);
        }
        let path = self.state_file(task);
        let unwritable = |error: io::Error| {
            let message = format!(
                "the state {} cannot be written, so the task keeps its previous state: {error}",
                new.state
            );
            Error::StateFile { path: path.clone(), message }
        };
        let written = write_beside(&path, new).map_err(unwritable)?;
        let _held = self.lock.acquire()?;
        if !condition()? {
            return Ok(false);
        }
        written.persist(&path).map_err(|refused| unwritable(refused.error))?;
        Ok(true)
    }
}

/// Writes a record to a temporary file in the same folder.
fn write_beside(path: &Path, record: &Record) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(path);
    let readable = Permissions::from_mode(0o666); // minus the umask
    let mut file = tempfile::Builder::new().prefix(".state-").permissions(readable).tempfile_in(folder)?;
    write!(file, "{record}")?;
    // Some file systems report only here that they are full. An open task needs no sync: a lost state means open, too.
    if record.state != TaskState::Open {
        file.as_file().sync_data()?;
    }
    Ok(file)
}

fn read_beginning(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_RECORD_LEN).read_to_string(&mut text)?;
    Ok(text)
}

fn state_of(record: Option<&Record>) -> TaskState {
    record.map_or(TaskState::Open, |record| record.state)
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::StateFile { path: path.into(), message: format!("it cannot be created: {error}") }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
