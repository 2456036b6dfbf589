//! The errors of pools.

use std::fmt;
use unidist_core::{Error, ErrorKind, ProcessId, TaskError};

/// The result of a pool's methods.
pub type Result<T, E = PoolError> = std::result::Result<T, E>;

/// The failure of a pool's method. `?` converts it into an [`Error`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PoolError {
    /// Some calls failed. All of them have ended.
    Calls {
        /// The method of the pool.
        method: &'static str,
        /// Each call that failed.
        failures: Vec<Failure>,
        /// How many calls there were.
        calls: usize,
    },
    /// Workers of the pool have died, with their copies of objects and their parts of scattered lists and arrays.
    WorkersLost {
        /// The dead workers.
        workers: Vec<ProcessId>,
    },
    /// There is no worker with this index.
    NoSuchWorker {
        /// The index.
        index: usize,
        /// The number of workers of the pool.
        len: usize,
    },
    /// The lists passed to `map` differ in length.
    UnequalLists {
        /// Their lengths, in order.
        lengths: Vec<usize>,
    },
    /// No list was passed to `map`.
    NoList,
    /// The object was removed.
    Removed {
        /// The type of the object.
        type_name: &'static str,
    },
    /// The function takes a pushed object mutably; pushed objects are the same on all workers.
    Immutable {
        /// The type of the object.
        type_name: &'static str,
    },
    /// An error of the session.
    Session(Error),
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Failure {
    /// Which call it was.
    pub place: FailurePlace,
    /// Why.
    pub error: Error,
}

/// Identifies one of several calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailurePlace {
    /// The call on this worker of the pool.
    Worker {
        /// The index of the worker in the pool.
        index: usize,
        /// The id of the worker; `None` in a sequential pool.
        id: Option<ProcessId>,
    },
    /// The call for the items with this index.
    Item(usize),
}

impl PoolError {
    /// The calls that failed; empty for other errors.
    pub fn failures(&self) -> &[Failure] {
        match self {
            PoolError::Calls { failures, .. } => failures,
            _ => &[],
        }
    }
}

/// Describes the failed calls.
fn describe_failures(failures: &[Failure], calls: usize) -> String {
    let failed = failures.iter().map(|failure| format!("; {failure}"));
    let count = format!("{} of {calls} calls failed", failures.len());
    std::iter::once(count).chain(failed).collect()
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::Calls { method, failures, calls } => {
                write!(f, "`{method}`: {}", describe_failures(failures, *calls))
            }
            PoolError::WorkersLost { workers } => {
                let names: Vec<_> = workers.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "the pool has lost workers, and parts of scattered objects with them ({}): make a new pool, and push and \
                     scatter again",
                    names.join(", ")
                )
            }
            PoolError::NoSuchWorker { index, len } => {
                write!(f, "there is no worker {index} in a pool of {len}: indices start at 0")
            }
            PoolError::UnequalLists { lengths } => {
                write!(
                    f,
                    "`map`: the lists differ in length ({lengths:?}), but each call takes one item of each: pass lists of the \
                     same length"
                )
            }
            PoolError::NoList => {
                write!(f, "`map`: no argument is a list: wrap one in `each(..)`, or use `apply`")
            }
            PoolError::Removed { type_name } => {
                write!(f, "the `{type_name}` was removed from the workers: push or scatter it again")
            }
            PoolError::Immutable { type_name } => write!(
                f,
                "a pushed `{type_name}` cannot be changed: take `Local` instead of `LocalMut`, or scatter the object"
            ),
            PoolError::Session(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.error)
    }
}

impl fmt::Display for FailurePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailurePlace::Worker { index, id: Some(id) } => write!(f, "{id}, worker {index} of the pool"),
            FailurePlace::Worker { index, id: None } => write!(f, "worker {index} of the pool"),
            FailurePlace::Item(item) => write!(f, "item {item}"),
        }
    }
}

impl std::error::Error for PoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PoolError::Calls { failures, .. } => failures.first().map(|failure| &failure.error as _),
            PoolError::Session(error) => error.source(),
            _ => None,
        }
    }
}

impl From<Error> for PoolError {
    fn from(error: Error) -> Self {
        PoolError::Session(error)
    }
}

impl From<PoolError> for Error {
    /// Failed calls become one [`TaskError`] that lists them all; its kind and cause are those of the first one.
    fn from(error: PoolError) -> Self {
        let message = match &error {
            PoolError::Calls { failures, calls, .. } => describe_failures(failures, *calls),
            error => error.to_string(),
        };
        match error {
            PoolError::Session(error) => error,
            PoolError::Calls { method, failures, .. } => {
                let first = failures.into_iter().next().map(|failure| TaskError::from(failure.error));
                let kind = first.as_ref().map_or(ErrorKind::Failed, |first| first.kind);
                let error = TaskError::new(kind, message).of_function(method);
                first.into_iter().fold(error, TaskError::because).into()
            }
            PoolError::WorkersLost { .. } => TaskError::new(ErrorKind::WorkerDied, message).into(),
            PoolError::Removed { .. } => TaskError::new(ErrorKind::ObjectLost, message).into(),
            _ => Error::InvalidArgument { call: "WorkerPool".to_owned(), message },
        }
    }
}
