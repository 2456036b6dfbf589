//! What a pool's methods fail with.

use std::fmt;
use unidist_core::{Error, ErrorKind, ProcessId, TaskError};

/// The result of a pool's methods.
pub type Result<T, E = PoolError> = std::result::Result<T, E>;

/// Why a pool could not do what it was asked for. `?` turns it into an [`Error`].
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
    /// Workers of the pool have died before, and with them their copies and their parts of what was scattered.
    WorkersLost {
        /// Those that died.
        workers: Vec<ProcessId>,
    },
    /// There is no worker of this index.
    NoSuchWorker {
        /// The index.
        index: usize,
        /// How many workers the pool has.
        len: usize,
    },
    /// The lists that were given to `map` differ in length.
    UnequalLists {
        /// Their lengths, in order.
        lengths: Vec<usize>,
    },
    /// No list was given to `map`.
    NoList,
    /// The object was removed before.
    Removed {
        /// The type of the object.
        type_name: &'static str,
    },
    /// The function asks to change an object that was pushed, which all workers believe to be the same.
    Immutable {
        /// The type of the object.
        type_name: &'static str,
    },
    /// The session could not do it.
    Session(Error),
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Failure {
    /// Which one it was.
    pub place: FailurePlace,
    /// Why.
    pub error: Error,
}

/// Which call of several it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailurePlace {
    /// The one on this worker of the pool.
    Worker {
        /// Its index in the pool.
        index: usize,
        /// Its id; none in a sequential pool.
        id: Option<ProcessId>,
    },
    /// The one for the items of this index.
    Item(usize),
}

impl PoolError {
    /// The calls that failed, if that is what happened.
    pub fn failures(&self) -> &[Failure] {
        match self {
            PoolError::Calls { failures, .. } => failures,
            _ => &[],
        }
    }
}

/// What became of the calls.
fn told(failures: &[Failure], calls: usize) -> String {
    let failed = failures.iter().map(|failure| format!("; {failure}"));
    let count = format!("{} of {calls} calls failed", failures.len());
    std::iter::once(count).chain(failed).collect()
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::Calls { method, failures, calls } => {
                write!(f, "`{method}`: {}", told(failures, *calls))
            }
            PoolError::WorkersLost { workers } => {
                let names: Vec<_> = workers.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "the pool has lost {}: what was scattered is incomplete; make a new pool, and push and scatter again",
                    names.join(", ")
                )
            }
            PoolError::NoSuchWorker { index, len } => {
                write!(f, "there is no worker {index} in a pool of {len}: indices are counted from 0")
            }
            PoolError::UnequalLists { lengths } => {
                write!(
                    f,
                    "`map`: the lists differ in length ({lengths:?}), and each call takes one item of each"
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
                "a `{type_name}` that was pushed cannot be changed: take `Local`, which only reads it, or scatter it"
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
            FailurePlace::Worker { index, id: Some(id) } => write!(f, "{id}, the pool's number {index}"),
            FailurePlace::Worker { index, id: None } => write!(f, "the pool's number {index}"),
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
    /// Calls that failed become a [`TaskError`] that names them all, of the first one's kind and caused by it.
    fn from(error: PoolError) -> Self {
        let message = match &error {
            PoolError::Calls { failures, calls, .. } => told(failures, *calls),
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
