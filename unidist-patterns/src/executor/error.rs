//! The errors of executors.

use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;
use unidist_core::{Error as CoreError, ErrorKind, TaskError};

/// The result of an executor's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The failure of a future or of an operation of an executor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The call failed: it panicked, it returned an error (which [`downcast`](Error::downcast) restores), or its worker
    /// died.
    Task(Box<TaskError>),
    /// The call was cancelled.
    Cancelled,
    /// The time-out passed. The calls continue.
    TimedOut {
        /// What the caller waited for.
        what: &'static str,
        /// The time-out.
        limit: Duration,
    },
    /// The initializer failed in a worker, so the executor cannot be used any more.
    Broken {
        /// The failure of the initializer.
        cause: Box<TaskError>,
    },
    /// The executor was shut down before.
    ShutDown {
        /// The refused operation.
        call: &'static str,
    },
    /// Any other error: there is no session, an argument is wrong, a value cannot be encoded.
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

    /// The error that a [`fallible`](unidist_core::fallible) function returned, if it is an `E` that could be sent.
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
                write!(
                    f,
                    "timed out after {limit:?} waiting for {what}: the calls continue, wait again or cancel them"
                )
            }
            Error::Broken { cause } => {
                write!(
                    f,
                    "the executor is broken because its initializer failed: {cause}; make a new executor"
                )
            }
            Error::ShutDown { call } => {
                write!(f, "`{call}` was called after the shutdown of the executor: make a new executor")
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
    /// Makes `?` work in functions that return `unidist::Result`.
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
