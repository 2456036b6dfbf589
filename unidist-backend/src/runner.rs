//! The runner of calls: the interface between the worker loop and the language of the functions.

use bytes::Bytes;
use std::sync::Arc;
use unidist_common::{ActorId, DataId, FunctionKey, Object, Payload, TaskError, TaskId};

/// The results of a call, one for each of its returns, or its error.
///
/// The value that held the refs is dropped before its encoding is read. The runner therefore keeps a reference to each
/// entry of `borrowed` until its next method call, which it requests by its notification. The receiver of a result
/// must take references of its own before that.
pub type CallResult = Result<Vec<Object>, TaskError>;

/// Runs calls on the thread on which it was made.
///
/// A call runs until it returns or, if it is asynchronous, until it has to wait. Code of a call may block in `get`
/// and thereby lead to more calls of these methods further up the same stack: implementations must not hold a borrow
/// while the user's code runs.
pub trait TaskRunner {
    /// Starts a call: gives its result, or `None` if it will come from [`turn`](TaskRunner::turn).
    fn start(&self, call: Call) -> Option<CallResult>;

    /// Polls the asynchronous calls that have been woken, and reports what becomes of each before it polls the next.
    /// Returns whether anything was polled.
    ///
    /// `report` may run more calls of these methods.
    fn turn(&self, report: &mut dyn FnMut(Progress)) -> bool;

    /// The number of calls that have started and not ended, without those on the stack.
    fn pending(&self) -> usize;

    /// Whether this started method call waits for the state of its actor. It cannot continue before the actor's calls
    /// on the stack have returned. May be false if the runner does not know.
    fn awaits_actor_state(&self, call: TaskId) -> bool {
        let _ = call;
        false
    }

    /// Cancels an asynchronous call that is waiting or has not started: its future is dropped, and the call is added to
    /// `ended`, with other calls that end in consequence. False if there is no such call, or its code is on the stack.
    fn cancel(&self, call: TaskId, ended: &mut Vec<(TaskId, CallResult)>) -> bool {
        let _ = (call, ended);
        false
    }

    /// Drops an actor's state and its unfinished calls.
    fn drop_actor(&self, actor: ActorId);
}

/// What happens to an asynchronous call in a [turn](TaskRunner::turn).
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is passed on at once and never kept")]
pub enum Progress {
    /// Its code runs next.
    Resumed(TaskId),
    /// It waits again.
    Suspended(TaskId),
    /// It has ended. A call that starts and ends in the turn is not resumed before.
    Ended(TaskId, CallResult),
}

impl Progress {
    /// The error with which a call has ended.
    pub fn error(&self) -> Option<&TaskError> {
        match self {
            Progress::Ended(_, Err(error)) => Some(error),
            _ => None,
        }
    }
}

/// Makes the runner of a process, on the thread that will own it. The runner calls the given function, from any
/// thread, to request a [`TaskRunner::turn`].
pub type RunnerFactory = fn(Arc<dyn Fn() + Send + Sync>) -> Box<dyn TaskRunner>;

/// A call that is ready to run, with the values of its dependencies.
#[derive(Debug)]
pub struct Call {
    /// The call: the id of its first return.
    pub id: TaskId,
    /// The function.
    pub function: FunctionKey,
    /// The function's body, if it is not part of the executable.
    pub body: Option<Bytes>,
    /// Function, constructor or method.
    pub kind: CallKind,
    /// The arguments, in order.
    pub args: Vec<unidist_common::Arg>,
    /// The dependencies' values.
    pub objects: Vec<(DataId, Payload)>,
    /// The number of results requested.
    pub returns: u32,
    /// Called when the call starts, which may be later than [`TaskRunner::start`].
    pub on_start: OnStart,
}

/// A callback for the start of a call.
#[derive(Default)]
pub struct OnStart(Option<Box<dyn FnOnce()>>);

impl OnStart {
    /// A callback.
    pub fn new(then: impl FnOnce() + 'static) -> Self {
        OnStart(Some(Box::new(then)))
    }

    /// Invokes the callback, if there is one.
    pub fn invoke(self) {
        if let Some(then) = self.0 {
            then();
        }
    }
}

impl std::fmt::Debug for OnStart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OnStart").field(&self.0.is_some()).finish()
    }
}

/// Function, constructor or method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum CallKind {
    /// A function.
    Task,
    /// An actor's constructor. The actor's id is that of the call. Its one result is an empty payload.
    NewActor {
        /// How many calls of asynchronous methods may be in flight at once.
        max_concurrency: Option<u32>,
    },
    /// A method of this actor. Calls start in the order in which they are given.
    Method {
        /// The actor.
        actor: ActorId,
    },
}

/// What a backend needs to know of the program whose calls it runs.
#[derive(Clone, Copy)]
pub struct Program {
    /// Makes the runner of a process.
    pub runner: RunnerFactory,
    /// Names this build of the executable. All processes of a session must agree on it.
    pub build_id: fn() -> String,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("build_id", &(self.build_id)()).finish_non_exhaustive()
    }
}
