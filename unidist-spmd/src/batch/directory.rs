//! The states of tasks in a directory, which several jobs may use at once.
//!
//! ```text
//! DIR/<name>/state          one a task: the truth about it, replaced as a whole by a rename
//! DIR/.unidist/lock         whoever changes a state holds it (`lock_file`)
//! DIR/.unidist/jobs/<id>    one a job, touched while it lives (`jobs`)
//! ```
//!
//! A task whose state file is missing or empty is open. One that runs in a job that has died becomes open again when
//! another job looks at it: [`Directory::refresh`].

mod jobs;
mod lock_file;
mod names;
mod record;

pub(super) use names::check_names;

use super::TaskState;
use crate::{Error, Result};
use jobs::{Heartbeat, Jobs, Look};
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

/// In the directory, what is not a task's.
const OWN_FOLDER: &str = ".unidist";

/// A state file is shorter; of one that is longer, the beginning is enough to say that it is none.
const LONGEST_RECORD: u64 = 4096;

/// The directory, as one rank of a job sees it.
pub(super) struct Directory {
    root: PathBuf,
    names: Vec<String>,
    lock: LockFile,
    jobs: Jobs,
    /// On the rank that began.
    heartbeat: Option<Heartbeat>,
}

impl Directory {
    /// Begins a job on a directory, and returns the states of all tasks. CallKind is missing of the directory is made;
    /// `initial` is for one that has no states yet. The first rank does this.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, a state file is not understood, or there are states although `initial` is given.
    pub(super) fn begin(
        root: &Path,
        names: Vec<String>,
        initial: Option<&[TaskState]>,
        stale_after: Duration,
    ) -> Result<(Directory, Vec<TaskState>)> {
        let root = std::path::absolute(root).map_err(|error| unusable(root, &error))?;
        let mut directory = Directory::new(root, names, record::JobId::new(), stale_after);
        let own = directory.root.join(OWN_FOLDER).join("jobs");
        fs::create_dir_all(&own).map_err(|error| unusable(&own, &error))?;
        directory.heartbeat = Some(directory.jobs.start_heartbeat()?);
        if initial.is_some() {
            directory.check_that_there_are_no_states()?;
        }
        let mut look = directory.look()?;
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
                false => directory.refresh(task, &mut look)?,
            });
        }
        directory.jobs.remove_dead()?;
        Ok((directory, states))
    }

    /// CallKind another rank of the job needs, to [`join`](Self::join).
    pub(super) fn place(&self) -> Vec<u8> {
        let mut place = self.root.as_os_str().as_bytes().to_vec();
        place.push(0);
        place.extend(self.jobs.own().as_str().as_bytes());
        place
    }

    /// The directory on another rank of the job that began.
    ///
    /// # Errors
    ///
    /// These bytes are no place.
    pub(super) fn join(place: &[u8], names: Vec<String>, stale_after: Duration) -> Result<Directory> {
        let mut parts = place.splitn(2, |&byte| byte == 0);
        let root = PathBuf::from(OsStr::from_bytes(parts.next().unwrap_or_default()));
        let job = String::from_utf8_lossy(parts.next().unwrap_or_default()).parse();
        let job = job.map_err(|message| Error::StateFile { path: root.clone(), message })?;
        Ok(Directory::new(root, names, job, stale_after))
    }

    /// Whether this rank sees what the first one has made.
    pub(super) fn is_seen(&self) -> bool {
        File::open(self.jobs.own_heartbeat()).is_ok()
    }

    /// That this rank does not.
    pub(super) fn unseen_by(&self, rank: usize) -> Error {
        let message = format!(
            "rank {rank} does not see what rank 0 has written there: the directory of a batch must be on a file \
             system that all hosts of the job share"
        );
        Error::StateFile { path: self.jobs.own_heartbeat(), message }
    }

    fn new(root: PathBuf, names: Vec<String>, job: record::JobId, stale_after: Duration) -> Directory {
        let own = root.join(OWN_FOLDER);
        let lock = LockFile::new(own.join("lock"));
        let jobs = Jobs::new(own.join("jobs"), job, stale_after);
        Directory { root, names, lock, jobs, heartbeat: None }
    }

    /// How often it is worth to look for tasks of jobs that have died.
    pub(super) fn interval(&self) -> Duration {
        self.jobs.interval()
    }

    /// Looks at which jobs live, for [`refresh`](Self::refresh).
    pub(super) fn look(&self) -> Result<Look<'_>> {
        self.jobs.look()
    }

    /// The state of a task.
    ///
    /// # Errors
    ///
    /// Its file cannot be read, or says nothing that is understood.
    pub(super) fn state(&self, task: usize) -> Result<TaskState> {
        Ok(state_of(self.read(task)?.as_ref()))
    }

    /// Gives a task a state, whatever it had before.
    ///
    /// # Errors
    ///
    /// It cannot be written. Then the task has the state that it had.
    pub(super) fn set(&self, task: usize, state: TaskState) -> Result<()> {
        self.replace(task, &Record::new(state, self.jobs.own()), || Ok(true)).map(drop)
    }

    /// Makes an open task this job's, running; `false` if it is not open.
    ///
    /// # Errors
    ///
    /// Its file cannot be read or written. Then the task has the state that it had.
    pub(super) fn claim(&self, task: usize) -> Result<bool> {
        let running = Record::new(TaskState::Running, self.jobs.own());
        self.replace(task, &running, || Ok(self.state(task)? == TaskState::Open))
    }

    /// Makes a task open if its state is wanted; `false` if it is not.
    ///
    /// # Errors
    ///
    /// As those of [`claim`](Self::claim).
    pub(super) fn reopen(&self, task: usize, wanted: impl Fn(TaskState) -> bool) -> Result<bool> {
        let open = Record::new(TaskState::Open, self.jobs.own());
        self.replace(task, &open, || Ok(wanted(self.state(task)?)))
    }

    /// The state of a task, after it was made open if it ran in a job that has died.
    ///
    /// # Errors
    ///
    /// As those of [`claim`](Self::claim).
    pub(super) fn refresh(&self, task: usize, look: &mut Look<'_>) -> Result<TaskState> {
        let seen = self.read(task)?;
        if let Some(record) = &seen
            && record.state == TaskState::Running
            && look.died(record.owner.as_ref())?
        {
            let open = Record::new(TaskState::Open, self.jobs.own());
            self.replace(task, &open, || Ok(self.read(task)? == seen))?;
            return self.state(task);
        }
        Ok(state_of(seen.as_ref()))
    }

    /// Ends the job's part.
    ///
    /// # Errors
    ///
    /// The heartbeat could not be kept, so that other jobs may have taken over what this one ran.
    pub(super) fn close(&mut self) -> Result<()> {
        self.heartbeat.take().map_or(Ok(()), Heartbeat::stop)
    }

    /// This job may still run something until its process ends.
    pub(super) fn keep_heartbeat(&mut self) {
        std::mem::forget(self.heartbeat.take());
    }

    fn check_that_there_are_no_states(&self) -> Result<()> {
        for task in 0..self.names.len() {
            if self.read(task)?.is_some() {
                let message =
                    "there are states already, which count: give no initial ones, or another directory";
                return Err(Error::StateFile { path: self.state_file(task), message: message.into() });
            }
        }
        Ok(())
    }

    fn state_file(&self, task: usize) -> PathBuf {
        self.root.join(&self.names[task]).join("state")
    }

    /// CallKind is written of a task; `None` if nothing is.
    fn read(&self, task: usize) -> Result<Option<Record>> {
        let path = self.state_file(task);
        let text = match read_beginning(&path) {
            // On a network file system, another host has replaced it after it was opened.
            Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle => read_beginning(&path),
            read => read,
        };
        let unknown = |what: String| {
            let message = format!("{what}. Correct the file, or remove it: a task without one is open");
            Error::StateFile { path: path.clone(), message }
        };
        match text {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => text.parse().map(Some).map_err(unknown),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unknown(format!("it cannot be read: {error}"))),
        }
    }

    /// Replaces what is written of a task, unless `may` forbids it. It is asked once before anything is done, and once
    /// while nobody else can change anything.
    fn replace(&self, task: usize, new: &Record, may: impl Fn() -> Result<bool>) -> Result<bool> {
        if !may()? {
            return Ok(false);
        }
        let path = self.state_file(task);
        let unwritable = |error: io::Error| {
            let message =
                format!("the state {} cannot be written, and is what it was before: {error}", new.state);
            Error::StateFile { path: path.clone(), message }
        };
        let written = write_beside(&path, new).map_err(unwritable)?;
        let _held = self.lock.acquire()?;
        if !may()? {
            return Ok(false);
        }
        written.persist(&path).map_err(|refused| unwritable(refused.error))?;
        Ok(true)
    }
}

/// Writes a record to a new file beside this one. It is gone when it is dropped.
fn write_beside(path: &Path, record: &Record) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(path);
    let readable = Permissions::from_mode(0o666); // less what the user's mask takes away
    let mut file = tempfile::Builder::new().prefix(".state-").permissions(readable).tempfile_in(folder)?;
    write!(file, "{record}")?;
    // Some file systems say only then that they are full. CallKind is lost of an open task's state says the same.
    if record.state != TaskState::Open {
        file.as_file().sync_data()?;
    }
    Ok(file)
}

fn read_beginning(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST_RECORD).read_to_string(&mut text)?;
    Ok(text)
}

fn state_of(record: Option<&Record>) -> TaskState {
    record.map_or(TaskState::Open, |record| record.state)
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::StateFile { path: path.into(), message: format!("it cannot be made: {error}") }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
