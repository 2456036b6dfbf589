//! The errors of views.

use super::record::TaskId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use unidist_core::{Error, ErrorKind, TaskError};

/// The number of an engine: engines are numbered in the order in which the client first sees them.
pub type EngineId = usize;

/// The result of a view's operations.
pub type Result<T, E = ViewError> = std::result::Result<T, E>;

/// Why a view, a client or one of its tasks failed. It can be sent, and becomes an [`Error`] with `?`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ViewError {
    /// The function failed, or its call could not be sent.
    Remote {
        /// The engine of the call, if it was sent.
        engine: Option<EngineId>,
        /// The error.
        error: Error,
    },
    /// Several tasks failed.
    Composite(CompositeError),
    /// The engine died before the task had ended.
    EngineDied {
        /// The engine.
        engine: EngineId,
        /// How it died, as far as that is known.
        cause: Box<TaskError>,
    },
    /// The task was aborted.
    Aborted {
        /// The task.
        task: TaskId,
    },
    /// The dependencies of the task have ended in a way that can never satisfy it, or no suitable engine is left.
    ImpossibleDependency {
        /// The task.
        task: TaskId,
        /// Why it can never run.
        why: String,
    },
    /// The task depends on a task that its client never made.
    InvalidDependency {
        /// The task.
        task: TaskId,
        /// The unknown task.
        dependency: TaskId,
    },
    /// The dependencies of the task had not ended within its time-out.
    DependencyTimeout {
        /// The task.
        task: TaskId,
        /// How long it waited.
        timeout: Duration,
    },
    /// The check of a function with [`depend`](super::depend) rejected the engine of a direct view.
    UnmetDependency {
        /// The rejected engine.
        engine: EngineId,
    },
    /// The results were not ready in time. Waiting again is possible.
    TimedOut {
        /// The method.
        call: String,
        /// How long it waited.
        timeout: Duration,
        /// How many of its tasks had ended.
        ended: usize,
        /// How many tasks there are.
        of: usize,
    },
    /// There is no live engine with this number.
    UnknownEngine {
        /// The number.
        engine: i64,
        /// The live engines.
        engines: Vec<EngineId>,
    },
    /// The selection of engines is empty.
    NoEngines,
    /// There were not enough engines before the time-out.
    TooFewEngines {
        /// How many were awaited.
        wanted: usize,
        /// The live engines.
        engines: Vec<EngineId>,
    },
    /// The client has no task with this id, or no longer keeps its result.
    UnknownTask {
        /// The id.
        task: TaskId,
    },
    /// The results of a task, or a value in a namespace, have another type.
    WrongType {
        /// What has the type: a result of a task, or a value in an engine's namespace.
        what: String,
        /// The requested type.
        asked: String,
        /// The actual type.
        found: String,
    },
    /// An engine's namespace has no such name.
    UnknownName {
        /// The name.
        name: String,
        /// The existing names.
        names: Vec<String>,
    },
    /// The value of this name cannot be cloned, or is in use.
    NotAvailable {
        /// The name.
        name: String,
        /// Why not.
        why: String,
    },
    /// A function for tasks of views was called elsewhere, or a client was made in a task.
    WrongPlace {
        /// What was called, and where it can be called.
        message: String,
    },
    /// The history cannot be read or written.
    History {
        /// The path of the file.
        place: String,
        /// What happened.
        message: String,
    },
    /// An error of the session.
    Session(Error),
}

impl ViewError {
    /// The failure of a call on this engine.
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

    /// Whether the engine died before the call started on it.
    pub(crate) fn is_before_the_call(&self) -> bool {
        matches!(self, ViewError::EngineDied { cause, .. } if cause.kind == ErrorKind::WorkerGone)
    }

    /// The engine on which the error occurred, if it concerns one engine.
    pub fn engine(&self) -> Option<EngineId> {
        match self {
            ViewError::EngineDied { engine, .. } | ViewError::UnmetDependency { engine } => Some(*engine),
            ViewError::Remote { engine, .. } => *engine,
            _ => None,
        }
    }

    /// The error that the function returned, if it is an `E` that could be sent.
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
    /// The engine (`None` if the task was never sent) and the error of each failed task.
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
                None => write!(f, "\n  not sent to an engine: {error}")?,
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
                write!(f, "engine {engine} died while it had the task: {cause}")
            }
            ViewError::Aborted { task } => write!(f, "task {task} was aborted"),
            ViewError::ImpossibleDependency { task, why } => write!(f, "task {task} can never run: {why}"),
            ViewError::InvalidDependency { task, dependency } => write!(
                f,
                "task {task} depends on {dependency}, which is not a task of this client: use results of the same \
                 client as dependencies"
            ),
            ViewError::DependencyTimeout { task, timeout } => {
                write!(f, "task {task} did not run: its dependencies had not ended within {timeout:?}")
            }
            ViewError::UnmetDependency { engine } => write!(
                f,
                "engine {engine} failed the check of the function: use a load-balanced view, which tries other engines"
            ),
            ViewError::TimedOut { call, timeout, ended, of } => {
                write!(
                    f,
                    "`{call}`: {ended} of {of} tasks had ended within {timeout:?}: the others continue; wait again, or abort \
                     them"
                )
            }
            ViewError::UnknownEngine { engine, engines } => {
                write!(f, "there is no engine {engine}: the engines are {engines:?}")
            }
            ViewError::NoEngines => f.write_str("the selection of engines is empty, or no engine is left"),
            ViewError::TooFewEngines { wanted, engines } => {
                write!(
                    f,
                    "there are not {wanted} engines, only {engines:?}: the number of workers is set by `UNIDIST_CPUS`"
                )
            }
            ViewError::UnknownTask { task } => write!(
                f,
                "{task} is not a task of this client, or its result is no longer kept: it was purged, or too many \
                 tasks have ended since (see `ClientBuilder::keep_results`)"
            ),
            ViewError::WrongType { what, asked, found } => {
                write!(f, "{what} is a `{found}`, not a `{asked}`")
            }
            ViewError::UnknownName { name, names } => {
                write!(f, "this engine's namespace has no `{name}`: it has {names:?}")
            }
            ViewError::NotAvailable { name, why } => {
                write!(f, "the value of `{name}` is not available: {why}")
            }
            ViewError::WrongPlace { message } => f.write_str(message),
            ViewError::History { place, message } => write!(f, "the history in {place} failed: {message}"),
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
    /// Converts into the crate's own error. A failure that is not a call's has the kind [`Failed`](ErrorKind::Failed),
    /// and [`downcast`](Error::downcast) restores it.
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

/// The error with which a function rejects its engine: see [`depend`](super::depend).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet;

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this engine failed the check of the function")
    }
}

impl std::error::Error for Unmet {}
