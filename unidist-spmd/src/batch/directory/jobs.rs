//! Which jobs on a directory are alive: each has a heartbeat, a file that it touches while it runs.
//!
//! A job counts as dead if its heartbeat is missing, or older than the ages that this job and that one have configured. An
//! age is the difference between the times of two files, the heartbeat in question and this job's own, just touched: both
//! come from the clock of the file system, so that the clocks of the hosts do not matter.

use super::record::JobId;
use crate::{Error, Result};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// The jobs on a directory, as one of them sees them.
pub(super) struct Jobs {
    folder: PathBuf,
    own: JobId,
    stale_after: Duration,
}

impl Jobs {
    pub(super) fn new(folder: PathBuf, own: JobId, stale_after: Duration) -> Jobs {
        Jobs { folder, own, stale_after }
    }

    /// The id of this job.
    pub(super) fn own(&self) -> &JobId {
        &self.own
    }

    /// The heartbeat file of this job.
    pub(super) fn own_heartbeat(&self) -> PathBuf {
        self.heartbeat_of(&self.own)
    }

    fn heartbeat_of(&self, job: &JobId) -> PathBuf {
        self.folder.join(job.as_str())
    }

    /// How often the heartbeat is touched, and how often dead jobs are searched for.
    pub(super) fn interval(&self) -> Duration {
        self.stale_after / 4
    }

    /// Reads the current time of the file system, for the ages of heartbeats.
    ///
    /// # Errors
    ///
    /// The heartbeat of this job cannot be touched.
    pub(super) fn snapshot(&self) -> Result<JobSnapshot<'_>> {
        let own = self.own_heartbeat();
        let now = touch(&own, self.stale_after).map_err(|error| untouchable(&own, &error))?;
        Ok(JobSnapshot { jobs: self, now, died: HashMap::new() })
    }

    /// Removes the heartbeats of dead jobs. Their tasks are taken over in any case, and a job that was stopped and continues
    /// creates its heartbeat again.
    pub(super) fn remove_dead(&self) -> Result<()> {
        let mut snapshot = self.snapshot()?;
        let listed = fs::read_dir(&self.folder).map_err(|error| unreadable(&self.folder, &error))?;
        for entry in listed {
            let entry = entry.map_err(|error| unreadable(&self.folder, &error))?;
            let job = entry.file_name().to_str().and_then(|name| name.parse::<JobId>().ok());
            if let Some(job) = job
                && snapshot.is_dead(Some(&job))?
            {
                // Another job may have removed it, and one that stays does no harm.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Starts touching the heartbeat.
    pub(super) fn start_heartbeat(&self) -> Result<Heartbeat> {
        Heartbeat::start(self.own_heartbeat(), self.stale_after, self.interval())
    }
}

/// Which jobs are dead, as seen at one time.
pub(in crate::batch) struct JobSnapshot<'a> {
    jobs: &'a Jobs,
    now: SystemTime,
    died: HashMap<JobId, bool>,
}

impl JobSnapshot<'_> {
    /// Whether a job counts as dead; so does a missing owner.
    pub(super) fn is_dead(&mut self, job: Option<&JobId>) -> Result<bool> {
        let Some(job) = job else { return Ok(true) };
        if let Some(&died) = self.died.get(job) {
            return Ok(died);
        }
        let path = self.jobs.heartbeat_of(job);
        let died = match last_beat(&path) {
            Ok((beat, stated)) => {
                let age = self.now.duration_since(beat).unwrap_or_default();
                age > self.jobs.stale_after.max(stated)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        self.died.insert(job.clone(), died);
        Ok(died)
    }
}

/// When a heartbeat was touched last, and the age that its job has configured.
///
/// The file is opened for it: on network file systems, only what is opened is known to be up to date.
fn last_beat(path: &Path) -> io::Result<(SystemTime, Duration)> {
    let file = File::open(path)?;
    let beat = file.metadata()?.modified()?;
    let mut text = String::new();
    file.take(64).read_to_string(&mut text)?;
    // A heartbeat without an age, which was made by hand, states none.
    let stated = text.trim().parse().map_or(Duration::ZERO, Duration::from_millis);
    Ok((beat, stated))
}

/// Gives a heartbeat the present time of its file system, and returns it. It is made if it is missing.
fn touch(path: &Path, stale_after: Duration) -> io::Result<SystemTime> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    if file.metadata()?.len() == 0 {
        writeln!(file, "{}", u64::try_from(stale_after.as_millis()).unwrap_or(u64::MAX))?;
    }
    let special = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let now = Timestamps { last_access: special(UTIME_OMIT), last_modification: special(UTIME_NOW) };
    futimens(&file, &now)?;
    file.metadata()?.modified()
}

/// A thread that touches this job's heartbeat until it is dropped. Then the heartbeat is gone.
pub(super) struct Heartbeat {
    path: PathBuf,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Heartbeat {
    fn start(path: PathBuf, stale_after: Duration, interval: Duration) -> Result<Heartbeat> {
        touch(&path, stale_after).map_err(|error| untouchable(&path, &error))?;
        let (stop, stopped) = mpsc::channel::<()>();
        let beating = path.clone();
        let beat = move || {
            let mut last = Ok(());
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(interval) {
                last = touch(&beating, stale_after).map(drop);
            }
            last
        };
        let thread = std::thread::Builder::new().name("unidist-batch".into()).spawn(beat);
        let thread = thread.map_err(|error| untouchable(&path, &error))?;
        Ok(Heartbeat { path, stop: Some(stop), thread: Some(thread) })
    }

    /// Stops touching the heartbeat, and removes it.
    ///
    /// # Errors
    ///
    /// The last touch failed, so that other jobs may have treated this one as dead.
    pub(super) fn stop(mut self) -> Result<()> {
        self.end().map_err(|error| untouchable(&self.path, &error))
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.stop.take());
        let last = self.thread.take().map(JoinHandle::join);
        let removed = match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        match last {
            Some(Ok(last)) => last.and(removed),
            _ => removed,
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // A drop cannot return the error.
            let _ = self.end();
        }
    }
}

fn untouchable(path: &Path, error: &io::Error) -> Error {
    let message = format!(
        "the heartbeat of this job cannot be written, so that other jobs may treat this one as dead and run its tasks: {error}"
    );
    Error::StateFile { path: path.into(), message }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::StateFile { path: path.into(), message: format!("it cannot be read: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE_AFTER: Duration = Duration::from_secs(60);

    fn jobs(folder: &Path) -> Jobs {
        Jobs::new(folder.into(), JobId::new(), STALE_AFTER)
    }

    /// A heartbeat from `seconds` ago, of a job that has configured this age.
    fn heartbeat(jobs: &Jobs, name: &str, seconds: u64, stale_after: Duration) -> JobId {
        let job: JobId = name.parse().unwrap();
        let now = touch(&jobs.heartbeat_of(&job), stale_after).unwrap();
        let file = File::options().append(true).open(jobs.heartbeat_of(&job)).unwrap();
        file.set_modified(now - Duration::from_secs(seconds)).unwrap();
        job
    }

    #[test]
    fn job_with_an_old_heartbeat_or_none_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(folder.path());
        let fresh = heartbeat(&jobs, "fresh", 30, STALE_AFTER);
        let old = heartbeat(&jobs, "old", 90, STALE_AFTER);
        let mut snapshot = jobs.snapshot().unwrap();
        assert!(!snapshot.is_dead(Some(&fresh)).unwrap());
        assert!(snapshot.is_dead(Some(&old)).unwrap());
        assert!(snapshot.is_dead(Some(&"none".parse().unwrap())).unwrap());
        assert!(snapshot.is_dead(None).unwrap());
        assert!(!snapshot.is_dead(Some(jobs.own())).unwrap());
    }

    #[test]
    fn job_with_a_longer_age_is_given_more_time() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(folder.path());
        let patient = heartbeat(&jobs, "patient", 90, 2 * STALE_AFTER);
        let hasty = heartbeat(&jobs, "hasty", 50, STALE_AFTER / 4);
        let mut snapshot = jobs.snapshot().unwrap();
        assert!(!snapshot.is_dead(Some(&patient)).unwrap());
        assert!(!snapshot.is_dead(Some(&hasty)).unwrap());
    }

    #[test]
    fn heartbeats_of_dead_jobs_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(folder.path());
        let fresh = heartbeat(&jobs, "fresh", 0, STALE_AFTER);
        let old = heartbeat(&jobs, "old", 90, STALE_AFTER);
        jobs.remove_dead().unwrap();
        assert!(jobs.heartbeat_of(&fresh).exists());
        assert!(!jobs.heartbeat_of(&old).exists());
        assert!(jobs.own_heartbeat().exists());
    }

    #[test]
    fn heartbeat_ends_with_its_job() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = Jobs::new(folder.path().into(), JobId::new(), Duration::from_secs(1_000_000));
        let path = jobs.own_heartbeat();
        let heartbeat = jobs.start_heartbeat().unwrap();
        assert!(path.exists());
        heartbeat.stop().unwrap();
        assert!(!path.exists());
        drop(jobs.start_heartbeat().unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn heartbeat_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder.path().join("none"));
        let error = jobs.start_heartbeat().err().unwrap();
        assert!(error.to_string().contains(jobs.own().as_str()), "{error}");
    }
}
