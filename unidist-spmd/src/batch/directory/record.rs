//! CallKind a state file says: the state's name in the first line, and for `RUNNING` the job that runs it in the second.

use crate::batch::state::{TaskState, no_state};
use std::fmt;
use std::str::FromStr;

/// CallKind is known of a task in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) state: TaskState,
    /// Who runs it. A state file written by hand need not say it.
    pub(super) owner: Option<JobId>,
}

impl Record {
    /// A task in this state, which this job has given it.
    pub(super) fn new(state: TaskState, job: &JobId) -> Record {
        Record { state, owner: (state == TaskState::Running).then(|| job.clone()) }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.state)?;
        self.owner.as_ref().map_or(Ok(()), |job| writeln!(f, "{}", job.as_str()))
    }
}

impl FromStr for Record {
    type Err = String;

    fn from_str(text: &str) -> Result<Record, String> {
        let mut lines = text.lines().map(str::trim_end);
        let state = lines.next().unwrap_or_default();
        let state = state.parse::<TaskState>().map_err(|_| no_state(state))?;
        let owner = match state {
            TaskState::Running => lines.next().map(str::parse).transpose()?,
            _ => None,
        };
        Ok(Record { state, owner })
    }
}

/// A job, as state files and heartbeats name it: a plain file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct JobId(String);

impl JobId {
    /// One that no other job has: host, process, time and a random number.
    pub(super) fn new() -> JobId {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host: String = host.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        JobId(format!("{host}-{}-{now}-{:08x}", std::process::id(), fastrand::u32(..)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = String;

    /// It is going to be part of a path, so what a file says is not taken as it is.
    fn from_str(text: &str) -> Result<JobId, String> {
        match !text.is_empty() && !text.starts_with('.') && text.chars().all(is_plain) {
            true => Ok(JobId(text.into())),
            false => Err(format!("{text:?} names no job")),
        }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let job = JobId::new();
        for state in TaskState::ALL {
            let record = Record::new(state, &job);
            assert_eq!(record.owner.is_some(), state == TaskState::Running);
            assert_eq!(record.to_string().parse::<Record>().unwrap(), record);
        }
    }

    #[test]
    fn what_a_person_writes_is_understood() {
        let done = Record { state: TaskState::Done, owner: None };
        assert_eq!("DONE".parse::<Record>().unwrap(), done);
        assert_eq!("DONE \r\nby hand\n".parse::<Record>().unwrap(), done);
        assert_eq!("RUNNING\n".parse::<Record>().unwrap(), Record { state: TaskState::Running, owner: None });
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for text in ["done", "\nDONE", "RUNNING\n../../etc/passwd\n", "RUNNING\n..\n", "RUNNING\n\n"] {
            assert!(text.parse::<Record>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_two_jobs_have_one_name() {
        let (one, other) = (JobId::new(), JobId::new());
        assert_ne!(one, other);
        assert_eq!(one.as_str().parse::<JobId>().unwrap(), one);
    }
}
