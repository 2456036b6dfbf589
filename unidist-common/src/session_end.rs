//! The end of a session as an error: the same for every call and each of its waiters.

use crate::error::{Error, ErrorKind, TaskError};

impl TaskError {
    /// The failure of a call that had not ended when its session did.
    pub fn session_ended() -> Self {
        TaskError::new(ErrorKind::SessionEnded, "")
    }
}

impl Error {
    /// This error as the function `call` returns it. That the session has ended is told in the same way by whatever way
    /// the function learns of it.
    #[must_use]
    pub fn of_waiter(self, call: &str) -> Self {
        match self {
            Error::Task(error) if error.kind == ErrorKind::SessionEnded => {
                Error::SessionEnded { call: call.to_owned() }
            }
            Error::SessionEnded { .. } => Error::SessionEnded { call: call.to_owned() },
            other => other,
        }
    }
}
