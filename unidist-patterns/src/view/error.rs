//! What views fail with.

use super::record::TaskId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use unidist_core::{Error, ErrorKind, TaskError};

/// The number of an engine, in order of its first sight in the client.
pub type EngineId = usize;

/// The result of what views do.
pub type Result<T, E = ViewError> = std::result::Result<T, E>;

/// Why a view, a client or one of its tasks failed. It can be sent, and becomes an [`Error`] with `?`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ViewError {
    /// The function failed, or its call could not be made.
    Remote {
        /// The engine that it was on, if it was given to one.
        engine: Option<EngineId>,
        /// What happened.
        error: Error,
    },
    /// Several tasks failed.
    Composite(CompositeError),
    /// The engine ended before the task had.
    EngineDied {
        /// The engine.
        engine: EngineId,
        /// What is known about its end.
        cause: Box<TaskError>,
    },
    /// The task was aborted.
    Aborted {
        /// The task.
        task: TaskId,
    },
    /// What the task waits for has ended in a way that can never satisfy it, or no engine is left that would do.
    ImpossibleDependency {
        /// The task.
        task: TaskId,
        /// What can never be.
        why: String,
    },
    /// The task is to wait for one that its client never made.
    InvalidDependency {
        /// The task.
        task: TaskId,
        /// What it was to wait for.
        dependency: TaskId,
    },
    /// What the task waits for had not ended in time.
    DependencyTimeout {
        /// The task.
        task: TaskId,
        /// How long it waited.
        timeout: Duration,
    },
    /// The check of a [`depend`](super::depend)ent function was not met, on a view that balances nothing.
    UnmetDependency {
        /// The engine whose check said no.
        engine: EngineId,
    },
    /// The results were not there in time. They may be asked for again.
    TimedOut {
        /// What was called.
        call: String,
        /// How long it waited.
        timeout: Duration,
        /// How many of its tasks had ended.
        ended: usize,
        /// How many there are.
        of: usize,
    },
    /// There is no engine of this number now.
    UnknownEngine {
        /// What was asked for.
        engine: i64,
        /// The engines that there are.
        engines: Vec<EngineId>,
    },
    /// No engine was chosen.
    NoEngines,
    /// There were not enough engines in time.
    TooFewEngines {
        /// How many were wanted.
        wanted: usize,
        /// Those that there are.
        engines: Vec<EngineId>,
    },
    /// The client has no task of this id, or keeps its result no more.
    UnknownTask {
        /// The id.
        task: TaskId,
    },
    /// The results of a task are of another type.
    WrongType {
        /// What is of that type: a task, or a name of an engine's namespace.
        what: String,
        /// The type asked for.
        asked: String,
        /// The type that it has.
        found: String,
    },
    /// An engine's namespace has nothing of this name.
    UnknownName {
        /// The name.
        name: String,
        /// The names that there are.
        names: Vec<String>,
    },
    /// The value of this name cannot be copied or is being changed.
    NotAvailable {
        /// The name.
        name: String,
        /// Why not.
        why: String,
    },
    /// The code does not run in a task of a view, or a client was made in a task.
    WrongPlace {
        /// What was called, and where it belongs.
        message: String,
    },
    /// The history cannot be read or written.
    History {
        /// Where it is kept.
        place: String,
        /// What happened.
        message: String,
    },
    /// The session failed.
    Session(Error),
}

impl ViewError {
    /// The failure of a call that was on this engine.
    pub(crate) fn of_call(error: Error, task: TaskId, engine: EngineId) -> Self {
        let Some(failure) = error.as_task() else {
            return ViewError::Remote { engine: Some(engine), error };
        };
        if failure.downcast::<Unmet>().is_some() {
            return ViewError::UnmetDependency { engine };
        }
        match failure.kind {
            ErrorKind::WorkerDied | ErrorKind::WorkerGone => {
                ViewError::EngineDied { engine, cause: Box::new(failure.clone()) }
            }
            ErrorKind::Cancelled => ViewError::Aborted { task },
            _ => ViewError::Remote { engine: Some(engine), error },
        }
    }

    /// Whether the engine was dead before the call had started on it.
    pub(crate) fn is_before_the_call(&self) -> bool {
        matches!(self, ViewError::EngineDied { cause, .. } if cause.kind == ErrorKind::WorkerGone)
    }

    /// The engine that the error is of, if it is one engine's.
    pub fn engine(&self) -> Option<EngineId> {
        match self {
            ViewError::EngineDied { engine, .. } | ViewError::UnmetDependency { engine } => Some(*engine),
            ViewError::Remote { engine, .. } => *engine,
            _ => None,
        }
    }

    /// The error that the function itself returned, where it is an `E` that could be sent.
    pub fn downcast<E: serde::de::DeserializeOwned>(&self) -> Option<E> {
        match self {
            ViewError::Remote { error, .. } | ViewError::Session(error) => error.downcast(),
            _ => None,
        }
    }
}

/// The errors of several tasks of one result.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct CompositeError {
    /// Each failed task's engine, if it had been given to one, with its error.
    pub errors: Vec<(Option<EngineId>, ViewError)>,
    /// How many tasks there were.
    pub of: usize,
}

impl fmt::Display for CompositeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} tasks failed", self.errors.len(), self.of)?;
        for (engine, error) in &self.errors {
            match engine {
                Some(engine) if error.engine().is_none() => write!(f, "\n  engine {engine}: {error}")?,
                Some(_) => write!(f, "\n  {error}")?, // it names the engine
                None => write!(f, "\n  on no engine: {error}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CompositeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ViewError::Remote { engine: Some(engine), error } => write!(f, "engine {engine}: {error}"),
            ViewError::Remote { engine: None, error } | ViewError::Session(error) => error.fmt(f),
            ViewError::Composite(errors) => errors.fmt(f),
            ViewError::EngineDied { engine, cause } => {
                write!(f, "engine {engine} died, and its task with it: {cause}")
            }
            ViewError::Aborted { task } => write!(f, "task {task} was aborted"),
            ViewError::ImpossibleDependency { task, why } => write!(f, "task {task} can never run: {why}"),
            ViewError::InvalidDependency { task, dependency } => write!(
                f,
                "task {task} is to wait for {dependency}, which is no task of this client: give it results of the \
                 same client"
            ),
            ViewError::DependencyTimeout { task, timeout } => {
                write!(f, "task {task} was not run: what it waits for had not ended within {timeout:?}")
            }
            ViewError::UnmetDependency { engine } => write!(
                f,
                "engine {engine} does not have what the function needs; a load-balanced view would try another"
            ),
            ViewError::TimedOut { call, timeout, ended, of } => {
                write!(f, "`{call}`: {ended} of {of} tasks had ended within {timeout:?}; the rest goes on")
            }
            ViewError::UnknownEngine { engine, engines } => {
                write!(f, "there is no engine {engine}; there are {engines:?}")
            }
            ViewError::NoEngines => f.write_str("no engine was chosen, or none is left"),
            ViewError::TooFewEngines { wanted, engines } => {
                write!(f, "{wanted} engines were waited for, and there are {engines:?}: see `UNIDIST_CPUS`")
            }
            ViewError::UnknownTask { task } => write!(
                f,
                "{task} is no task of this client, or its result is kept no more: it was purged, or many have ended \
                 since (`ClientBuilder::keep_results`)"
            ),
            ViewError::WrongType { what, asked, found } => {
                write!(f, "{what} is a `{found}`, but was asked for as a `{asked}`")
            }
            ViewError::UnknownName { name, names } => {
                write!(f, "this engine has nothing of the name `{name}`; it has {names:?}")
            }
            ViewError::NotAvailable { name, why } => write!(f, "the value of `{name}` cannot be had: {why}"),
            ViewError::WrongPlace { message } => f.write_str(message),
            ViewError::History { place, message } => write!(f, "the history in {place}: {message}"),
        }
    }
}

impl fmt::Debug for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ViewError::Remote { error, .. } | ViewError::Session(error) => {
                write!(f, "{self}")?;
                let mut cause = error.as_task().and_then(|error| error.cause.as_deref());
                while let Some(error) = cause {
                    write!(f, "\n  caused by: {error}")?;
                    cause = error.cause.as_deref();
                }
                Ok(())
            }
            other => fmt::Display::fmt(other, f),
        }
    }
}

impl std::error::Error for ViewError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ViewError::Remote { error, .. } | ViewError::Session(error) => error.source(),
            ViewError::EngineDied { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl From<Error> for ViewError {
    fn from(error: Error) -> Self {
        ViewError::Session(error)
    }
}

impl From<ViewError> for Error {
    /// The same failure for functions that return the crate's own errors; what is not a call's becomes one of kind
    /// [`Failed`](ErrorKind::Failed), from which [`downcast`](Error::downcast) brings it back.
    fn from(error: ViewError) -> Self {
        let kind = match error {
            ViewError::Remote { error, .. } | ViewError::Session(error) => return error,
            ViewError::EngineDied { cause, .. } => return (*cause).into(),
            ViewError::Aborted { .. } => ErrorKind::Cancelled,
            ViewError::TimedOut { .. }
            | ViewError::DependencyTimeout { .. }
            | ViewError::TooFewEngines { .. } => ErrorKind::TimedOut,
            _ => ErrorKind::Failed,
        };
        TaskError::new(kind, error.to_string()).with_payload(&error).into()
    }
}

/// What a function returns as its error where the engine does not have what it needs: see
/// [`depend`](super::depend).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet;

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this engine does not have what the function needs")
    }
}

impl std::error::Error for Unmet {}
