//! Failures: of one call ([`TaskError`]), and of the public functions ([`Error`]).

mod other;
#[cfg(test)]
mod tests;

use crate::{StoreFull, codec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::any::type_name;
use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use unidist_config::ConfigError;

/// The result of the public functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The failure of a call. Every `get` on every ref of the call returns the same value.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskError {
    /// The kind of failure.
    pub kind: ErrorKind,
    /// The remote function, constructor or method; empty where no call was involved.
    pub function: String,
    /// The process it ran in; empty where it did not run.
    pub worker: String,
    /// What happened.
    pub message: String,
    /// The location of the panic, as `file:line:column`.
    pub location: Option<String>,
    /// The backtrace of the panic, if `RUST_BACKTRACE` enables it.
    pub backtrace: Option<String>,
    /// The messages of the sources of the function's own error, outermost first.
    pub chain: Vec<String>,
    /// The function's own error value, where it can be sent.
    pub payload: Option<ErrorPayload>,
    /// The failure that led to this one.
    #[serde(deserialize_with = "cause_of_bounded_depth")]
    pub cause: Option<Box<TaskError>>,
}

/// The kinds of failure of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The function panicked.
    Panicked,
    /// The function returned an error.
    Failed,
    /// The task of an argument failed, so the call did not run.
    DependencyFailed,
    /// The process that ran the call ended.
    WorkerDied,
    /// The actor is dead: its constructor failed, its process ended, or it was stopped.
    ActorDied,
    /// No executable of the session has this function.
    UnknownFunction,
    /// A value could not be encoded.
    Encode,
    /// A value could not be decoded.
    Decode,
    /// No host has the requested resources.
    Unsatisfiable,
    /// The object does not exist: it was freed, or was never made in this session.
    ObjectLost,
    /// The object store is full.
    StoreFull,
    /// The call waits, directly or through others, for itself or for resources that it holds.
    Deadlock,
    /// The session ended before the call did.
    SessionEnded,
    /// The call was made before `init`.
    NotInitialized,
    /// The call was cancelled.
    Cancelled,
    /// An option of the call has an invalid value.
    InvalidOption,
    /// The call ran longer than its `timeout`.
    TimedOut,
    /// The engine of the session has failed.
    EngineFailed,
    /// The worker that the call is bound to ended before the call started.
    WorkerGone,
    /// Another actor of the session has the name that this one was given.
    NameTaken,
    /// The call was made in a forked child of a process of the session.
    Forked,
}

/// An error value of the user's own type, encoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorPayload {
    /// The name of its type.
    pub type_name: String,
    /// The encoded value.
    pub bytes: Vec<u8>,
}

/// The maximum number of nested causes in a decoded error. We send no longer chains, and decoding one would overflow
/// the reader's stack.
const MAX_CAUSES: u32 = 64;

fn cause_of_bounded_depth<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Box<TaskError>>, D::Error> {
    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
    }
    let depth = DEPTH.get();
    if depth >= MAX_CAUSES {
        return Err(serde::de::Error::custom("the error has more than 64 nested causes"));
    }
    DEPTH.set(depth + 1);
    let cause = Option::deserialize(source);
    DEPTH.set(depth);
    cause
}

impl TaskError {
    /// An error of this kind with this message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        TaskError {
            kind,
            function: String::new(),
            worker: String::new(),
            message: message.into(),
            location: None,
            backtrace: None,
            chain: Vec::new(),
            payload: None,
            cause: None,
        }
    }

    /// The same error with the name of its function, unless it already has one.
    #[must_use]
    pub fn of_function(mut self, function: &str) -> Self {
        if self.function.is_empty() {
            self.function = function.to_owned();
        }
        self
    }

    /// The same error with the name of its process, unless it already has one.
    #[must_use]
    pub fn on_worker(mut self, worker: &str) -> Self {
        if self.worker.is_empty() {
            self.worker = worker.to_owned();
        }
        self
    }

    /// The same error with its cause. Of a very long chain of causes, only the root cause is kept.
    #[must_use]
    pub fn because(mut self, cause: TaskError) -> Self {
        let causes = std::iter::successors(Some(&cause), |error| error.cause.as_deref()).count();
        let kept = if causes < MAX_CAUSES as usize / 2 { cause } else { cause.root_cause().clone() };
        self.cause = Some(Box::new(kept));
        self
    }

    /// The same error with the function's own error value, if that can be encoded.
    #[must_use]
    pub fn with_payload<E: Serialize>(mut self, error: &E) -> Self {
        self.payload = codec::encode(error)
            .ok()
            .map(|bytes| ErrorPayload { type_name: type_name::<E>().to_owned(), bytes: bytes.into() });
        self
    }

    /// The error that the function returned (this one, or the one upstream that led to the failure), where it is an
    /// `E` that could be sent.
    pub fn downcast<E: DeserializeOwned>(&self) -> Option<E> {
        let payload = self.root_cause().payload.as_ref()?;
        if payload.type_name != type_name::<E>() {
            return None;
        }
        codec::decode(&payload.bytes).ok()
    }

    /// The failure of `function` because one of its arguments failed with `cause`.
    ///
    /// In a chain of calls, each error names the first failure and none of those between.
    pub fn dependency(function: &str, cause: &TaskError) -> Self {
        let first = match &cause.cause {
            Some(first) if cause.kind == ErrorKind::DependencyFailed => first,
            _ => cause,
        };
        TaskError::new(ErrorKind::DependencyFailed, "").of_function(function).because(first.clone())
    }

    /// The error furthest upstream.
    pub fn root_cause(&self) -> &TaskError {
        let mut error = self;
        while let Some(cause) = &error.cause {
            error = cause;
        }
        error
    }
}

impl ErrorKind {
    fn verb(self) -> &'static str {
        match self {
            ErrorKind::Panicked => "panicked",
            ErrorKind::Failed => "failed",
            ErrorKind::DependencyFailed => "did not run because an argument failed",
            ErrorKind::WorkerDied => "was lost with its worker",
            ErrorKind::WorkerGone => "did not start because its worker has ended",
            ErrorKind::ActorDied => "failed because its actor is dead",
            ErrorKind::UnknownFunction => "is unknown to the process that must run it",
            ErrorKind::Encode => "has a value that cannot be encoded",
            ErrorKind::Decode => "has a value that cannot be decoded",
            ErrorKind::Unsatisfiable => "requests resources that no host has",
            ErrorKind::ObjectLost => "needs an object that does not exist",
            ErrorKind::StoreFull => "failed because the object store is full",
            ErrorKind::Deadlock => "is in a deadlock",
            ErrorKind::SessionEnded => "did not end before its session ended",
            ErrorKind::NotInitialized => "was called before `unidist::init()`",
            ErrorKind::Cancelled => "was cancelled",
            ErrorKind::InvalidOption => "has an invalid option",
            ErrorKind::TimedOut => "exceeded its time limit",
            ErrorKind::NameTaken => "was given a name that another actor has",
            ErrorKind::Forked => "was called in a forked child",
            ErrorKind::EngineFailed => "was lost with its session",
        }
    }
}

impl TaskError {
    /// What happened to this call, without its causes.
    fn line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function.as_str() {
            "" => write!(f, "a remote call {}", self.kind.verb())?,
            name => write!(f, "remote `{name}` {}", self.kind.verb())?,
        }
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        if !self.worker.is_empty() {
            write!(f, " [{}]", self.worker)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        self.chain.iter().try_for_each(|source| write!(f, ": {source}"))
    }
}

/// The line of an error, without its causes.
struct Line<'a>(&'a TaskError);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.line(f)
    }
}

/// One line: what happened to the call and, if another failure led to it, the one that it began with.
impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line(f)?;
        if self.cause.is_none() {
            return Ok(());
        }
        let root = Line(self.root_cause()).to_string();
        if self.message.contains(&root) { Ok(()) } else { write!(f, ": {root}") }
    }
}

/// All lines: the failure, its causes, and the backtrace of the first one.
impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line(f)?;
        let mut next = self.cause.as_deref();
        while let Some(cause) = next {
            write!(f, "\n  caused by: {}", Line(cause))?;
            next = cause.cause.as_deref();
        }
        match self.root_cause().backtrace.as_deref() {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// The error of the public functions. It can be sent between processes.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Error {
    /// A remote call failed.
    Task(Box<TaskError>),
    /// A function was called while no session exists.
    NotInitialized {
        /// The function.
        call: String,
    },
    /// The session has been shut down.
    SessionEnded {
        /// The function.
        call: String,
    },
    /// A function was called in a forked child of the process that the session belongs to.
    Forked {
        /// The function.
        call: String,
    },
    /// The engine of the session has failed, and the session has ended with it.
    EngineFailed {
        /// What happened in it.
        message: String,
    },
    /// A setting is wrong.
    Config(ConfigError),
    /// A value could not be encoded.
    Encode {
        /// The type of the value.
        type_name: String,
        /// What is wrong with the value.
        message: String,
    },
    /// A value could not be decoded.
    Decode {
        /// The type of the value.
        type_name: String,
        /// What is wrong with the value.
        message: String,
    },
    /// An argument of a public function is wrong.
    InvalidArgument {
        /// The function.
        call: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// A time limit of a public function has expired.
    TimedOut {
        /// The function.
        call: String,
        /// What was not ready in time.
        message: String,
    },
    /// No actor of the session has this name.
    ActorNotFound {
        /// The name.
        name: String,
    },
    /// The object store is full.
    StoreFull(Box<StoreFull>),
    /// A process of the session could not be started, or ended too early.
    Launch {
        /// What happened and what to do.
        message: String,
    },
    /// An operation of the system failed.
    System {
        /// What was attempted.
        action: String,
        /// The error of the system.
        message: String,
    },
    /// The build or the platform does not support this.
    Unsupported {
        /// What is missing and how to get it.
        message: String,
    },
    /// An error of the standard library, of another crate or of the program, which `?` has taken over.
    Other {
        /// Its text.
        message: String,
        /// The texts of its sources, outermost first.
        chain: Vec<String>,
        /// The number of the system's error, if it is one: `std::io::Error::from_raw_os_error` restores it.
        os_error: Option<i32>,
    },
}

impl Error {
    /// The failure of the call, if this is one.
    pub fn as_task(&self) -> Option<&TaskError> {
        match self {
            Error::Task(error) => Some(error),
            _ => None,
        }
    }

    /// The error that the user's function returned, where it is an `E` that could be sent: see
    /// [`TaskError::downcast`].
    pub fn downcast<E: DeserializeOwned>(&self) -> Option<E> {
        self.as_task()?.downcast()
    }

    /// The failure furthest upstream: of the call where it began, or this one.
    pub fn root_cause(&self) -> &(dyn StdError + 'static) {
        match self {
            Error::Task(error) => error.root_cause(),
            Error::Config(error) => error,
            other => other,
        }
    }

    /// A failed attempt at `action`, with the system's message.
    pub fn system(action: impl Into<String>, error: impl fmt::Display) -> Self {
        Error::System { action: action.into(), message: error.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Task(error) => error.fmt(f),
            Error::NotInitialized { call } => write!(
                f,
                "`{call}` was called before `unidist::init()`: call `let _session = unidist::init()?;` first and keep \
                 the session"
            ),
            Error::SessionEnded { call } => {
                write!(f, "`{call}`: the session was shut down: call `unidist::init()` to start another one")
            }
            Error::Forked { call } => write!(
                f,
                "`{call}` was called in a forked child of the process that the session belongs to: call it in that \
                 process, or start the child as a command"
            ),
            Error::EngineFailed { message } => write!(
                f,
                "the engine failed, and the session has ended with all its processes: {message}: this is a defect of \
                 unidist, please report it; `unidist::init()` starts another session"
            ),
            Error::Config(error) => error.fmt(f),
            Error::Encode { type_name, message } => write!(f, "a `{type_name}` cannot be encoded: {message}"),
            Error::Decode { type_name, message } => write!(f, "a `{type_name}` cannot be decoded: {message}"),
            Error::InvalidArgument { call, message } | Error::TimedOut { call, message } => {
                write!(f, "`{call}`: {message}")
            }
            Error::ActorNotFound { name } => write!(
                f,
                "no actor of this session is named `{name}`: start it with `.options().name({name:?})`, and keep a handle \
                 for as long as others look for it"
            ),
            Error::StoreFull(full) => full.fmt(f),
            Error::Launch { message } => f.write_str(message),
            Error::System { action, message } => write!(f, "{action}: {message}"),
            Error::Unsupported { message } => f.write_str(message),
            Error::Other { message, chain, .. } => {
                f.write_str(message)?;
                chain.iter().try_for_each(|source| write!(f, ": {source}"))
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Task(error) => fmt::Debug::fmt(error, f),
            other => fmt::Display::fmt(other, f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Task(error) => error.source(),
            Error::Config(error) => Some(error),
            _ => None,
        }
    }
}
