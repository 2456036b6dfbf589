//! The state of a task of a batch.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The state of a task.
///
/// Its name, in capitals, is used by [`Display`](fmt::Display) and [`FromStr`], and in the first line of a state file.
///
/// ```
/// use unidist_spmd::TaskState;
///
/// assert_eq!(TaskState::Running.to_string(), "RUNNING");
/// assert_eq!("DONE".parse::<TaskState>()?, TaskState::Done);
/// # Ok::<(), unidist_spmd::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Never handed out.
    Invalid,
    /// Handed out to the next worker that asks.
    Open,
    /// A worker has it.
    Running,
    /// It succeeded.
    Done,
    /// It failed.
    Failed,
}

impl TaskState {
    /// All states.
    pub const ALL: [TaskState; 5] =
        [TaskState::Invalid, TaskState::Open, TaskState::Running, TaskState::Done, TaskState::Failed];

    /// Its name, as in [`Display`](fmt::Display).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            TaskState::Invalid => "INVALID",
            TaskState::Open => "OPEN",
            TaskState::Running => "RUNNING",
            TaskState::Done => "DONE",
            TaskState::Failed => "FAILED",
        }
    }
}

/// The error text for an unknown name.
pub(super) fn no_state(text: &str) -> String {
    let names = TaskState::ALL.map(TaskState::name).join(", ");
    format!("{text:?} is none of {names}")
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for TaskState {
    type Err = Error;

    /// # Errors
    ///
    /// The text is not the name of a state, in capitals and without spaces around it.
    fn from_str(text: &str) -> Result<TaskState> {
        let found = TaskState::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| Error::argument("TaskState::from_str", no_state(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_its_text() {
        for state in TaskState::ALL {
            assert_eq!(state.to_string().parse::<TaskState>().unwrap(), state);
        }
        assert_eq!(format!("{:>8}|", TaskState::Open), "    OPEN|");
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "open", "OPEN ", "DONE\n", "4"] {
            let error = text.parse::<TaskState>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
