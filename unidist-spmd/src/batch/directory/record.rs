//! The content of a state file: the name of the state in the first line, and for `RUNNING` the job in the second.

use crate::batch::state::{TaskState, no_state};
use std::fmt;
use std::str::FromStr;

/// The content of a state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) state: TaskState,
    /// The job that runs the task. A state file written by hand may omit it.
    pub(super) owner: Option<JobId>,
}

impl Record {
    /// The record of a task to which this job gives a state.
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

/// The id of a job in state files and heartbeats: a plain file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct JobId(String);

impl JobId {
    /// A unique id: host, process, time and a random number.
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

    /// The id becomes part of a path, so it is validated.
    fn from_str(text: &str) -> Result<JobId, String> {
        match !text.is_empty() && !text.starts_with('.') && text.chars().all(is_plain) {
            true => Ok(JobId(text.into())),
            false => Err(format!("{text:?} is not a job id")),
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
    fn record_survives_its_text() {
        let job = JobId::new();
        for state in TaskState::ALL {
            let record = Record::new(state, &job);
            assert_eq!(record.owner.is_some(), state == TaskState::Running);
            assert_eq!(record.to_string().parse::<Record>().unwrap(), record);
        }
    }

    #[test]
    fn records_written_by_hand_are_read() {
        let done = Record { state: TaskState::Done, owner: None };
        assert_eq!("DONE".parse::<Record>().unwrap(), done);
        assert_eq!("DONE \r\nby hand\n".parse::<Record>().unwrap(), done);
        assert_eq!("RUNNING\n".parse::<Record>().unwrap(), Record { state: TaskState::Running, owner: None });
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in ["done", "\nDONE", "RUNNING\n../../etc/passwd\n", "RUNNING\n..\n", "RUNNING\n\n"] {
            assert!(text.parse::<Record>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn job_ids_are_unique() {
        let (one, other) = (JobId::new(), JobId::new());
        assert_ne!(one, other);
        assert_eq!(one.as_str().parse::<JobId>().unwrap(), one);
    }
}
