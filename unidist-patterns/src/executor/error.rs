//! What an executor's calls can fail with.

use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;
use unidist_core::{Error as CoreError, ErrorKind, TaskError};

/// The result of the functions of an executor.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a future, or a call of an executor's functions, gives no value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The call failed: it panicked, it returned an error ([`downcast`](Error::downcast) brings that back), its worker
    /// died.
    Task(Box<TaskError>),
    /// The call was cancelled.
    Cancelled,
    /// It took longer than the caller wanted to wait. The calls go on.
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The initializer failed in a worker, so that the executor is of no use any more.
    Broken {
        /// The failure of the initializer.
        cause: Box<TaskError>,
    },
    /// The executor was shut down before.
    ShutDown {
        /// What was asked of it.
        call: &'static str,
    },
    /// Whatever else: there is no session, an argument is wrong, a value cannot be encoded.
    Other(CoreError),
}

impl Error {
    /// The failure of the call, if this is one.
    pub fn as_task(&self) -> Option<&TaskError> {
        match self {
            Error::Task(error) => Some(error),
            Error::Other(error) => error.as_task(),
            _ => None,
        }
    }

    /// The error that the function returned ([`fallible`](unidist_core::fallible)), where it is an `E` that could be sent.
    pub fn downcast<E: DeserializeOwned>(&self) -> Option<E> {
        self.as_task()?.downcast()
    }

    pub(super) fn invalid(call: &'static str, message: impl Into<String>) -> Self {
        Error::Other(CoreError::InvalidArgument { call: call.to_owned(), message: message.into() })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Task(error) => error.fmt(f),
            Error::Cancelled => f.write_str("the call was cancelled"),
            Error::TimedOut { what, limit } => {
                write!(f, "{what} not there after {limit:?}: the calls go on, wait again or cancel them")
            }
            Error::Broken { cause } => {
                write!(
                    f,
                    "the executor is broken, because its initializer failed: {cause}: make a new executor"
                )
            }
            Error::ShutDown { call } => {
                write!(f, "`{call}` was called after the executor was shut down: make a new executor")
            }
            Error::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Task(error) => error.source(),
            Error::Broken { cause } => Some(&**cause),
            Error::Other(error) => error.source(),
            _ => None,
        }
    }
}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        match error.kind {
            ErrorKind::Cancelled => Error::Cancelled,
            _ => Error::Task(Box::new(error)),
        }
    }
}

impl From<CoreError> for Error {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Task(error) => (*error).into(),
            other => Error::Other(other),
        }
    }
}

impl From<Error> for CoreError {
    /// So that `?` works where a program returns `unidist::Result`.
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Task(error) => CoreError::Task(error),
            Error::Other(error) => error,
            Error::Cancelled => TaskError::new(ErrorKind::Cancelled, "").into(),
            Error::TimedOut { .. } => TaskError::new(ErrorKind::TimedOut, message).into(),
            Error::Broken { cause } => TaskError::new(ErrorKind::Failed, message).because(*cause).into(),
            Error::ShutDown { call } => CoreError::InvalidArgument { call: call.to_owned(), message },
        }
    }
}
