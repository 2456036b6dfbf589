//! What runs a call once it has arrived: the seam between the worker loop and the language of the functions.

use bytes::Bytes;
use std::sync::Arc;
use unidist_common::{DataId, FunctionKey, Object, Payload, TaskError};

/// The results of a call, one for each of its returns, or why there are none.
///
/// The value that held the refs is gone by the time its encoding is looked at, so the runner itself keeps a reference to
/// each entry of `borrowed` until it is called again, and asks for that call with its notification. Whoever takes a
/// result takes references of its own before that.
pub type CallResult = Result<Vec<Object>, TaskError>;

/// Runs calls on one thread, on which it was made and which it never leaves.
///
/// A call runs until it returns or, if it is asynchronous, until it has to wait. Code of a call may block in `get`
/// and thereby lead to more calls of these methods further up the same stack: implementations must not hold a borrow
/// while the user's code runs.
pub trait TaskRunner {
    /// Starts a call: gives its result, or `None` if it will come from [`turn`](TaskRunner::turn).
    fn start(&self, call: Call) -> Option<CallResult>;

    /// Goes on with the asynchronous calls that have been woken and adds those that ended to `ended`. Returns whether
    /// anything was done.
    fn turn(&self, ended: &mut Vec<(DataId, CallResult)>) -> bool;

    /// How many calls have started and not ended, not counting those on the stack.
    fn pending(&self) -> usize;

    /// Whether this call of a method, which has started and not ended, waits for the state of its actor: then it
    /// cannot go on before the actor's calls that are on the stack have returned. May be false where that is not known.
    fn is_kept_out(&self, call: DataId) -> bool {
        let _ = call;
        false
    }

    /// Ends an asynchronous call that has started and waits now, or waits to be started: its future is dropped, and the
    /// call is added to `ended`, with others that have ended thereby. False if there is no such call, or its code is on
    /// the stack.
    fn cancel(&self, call: DataId, ended: &mut Vec<(DataId, CallResult)>) -> bool {
        let _ = (call, ended);
        false
    }

    /// Forgets an actor: its state is dropped, its unfinished calls too.
    fn drop_actor(&self, actor: DataId);
}

/// Makes the runner of a process on the thread that will own it. The function given to it may be called from any
/// thread and says that [`TaskRunner::turn`] has something to do.
pub type RunnerFactory = fn(Arc<dyn Fn() + Send + Sync>) -> Box<dyn TaskRunner>;

/// A call that is ready to run: its dependencies are here.
#[derive(Debug)]
pub struct Call {
    /// The call: the id of its first return.
    pub id: DataId,
    /// What to call.
    pub function: FunctionKey,
    /// The function's body, if it is not part of the executable.
    pub body: Option<Bytes>,
    /// Function, constructor or method.
    pub kind: CallKind,
    /// The arguments, in order.
    pub args: Vec<unidist_common::Arg>,
    /// The dependencies' values.
    pub objects: Vec<(DataId, Payload)>,
    /// How many results are wanted.
    pub returns: u32,
    /// To be called when the call starts, which may be later than it was given.
    pub on_start: OnStart,
}

/// What is to be called when a call starts, if anything.
#[derive(Default)]
pub struct OnStart(Option<Box<dyn FnOnce()>>);

impl OnStart {
    /// This is to be called.
    pub fn new(then: impl FnOnce() + 'static) -> Self {
        OnStart(Some(Box::new(then)))
    }

    /// Calls it.
    pub fn tell(self) {
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
        actor: DataId,
    },
}

/// What a backend must know of the program whose calls it runs.
#[derive(Clone, Copy)]
pub struct Program {
    /// Makes the runner of a process.
    pub runner: RunnerFactory,
    /// Names this build of the executable: processes of one session must agree on it.
    pub build_id: fn() -> String,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("build_id", &(self.build_id)()).finish_non_exhaustive()
    }
}
