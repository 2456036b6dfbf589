//! Actors: each has a process of its own, and its calls run in order for each caller.
//!
//! An actor is *new* until its constructor has ended, then *alive* or *dead*. Its id is an object whose references are
//! the handles and the pending calls; at the last release the actor ends.

use crate::scheduler::state::tasks::Caller;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::sync::Arc;
use unidist_common::{ProcessId, TaskError, TaskId, TaskSpec};

/// An actor that is referenced.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) name: Arc<str>,
    pub(crate) state: ActorState,
    pub(crate) process: Option<ProcessId>,
    /// Calls that wait for the constructor, for an input, or behind such a call of the same caller.
    pub(crate) waiting: FxHashMap<Caller, VecDeque<TaskId>>,
    /// Calls that were sent and have not ended.
    pub(crate) sent: FxHashSet<TaskId>,
    /// How it is restarted, while restarts remain.
    pub(crate) restart_plan: Option<Box<RestartPlan>>,
    /// How often it was restarted.
    pub(crate) restarts: u32,
}

/// The life cycle of an actor.
#[derive(Clone, Debug)]
pub(crate) enum ActorState {
    New,
    Alive,
    Dead(Arc<TaskError>),
}

/// The constructor call with which an actor is restarted. It holds a reference to each dependency and borrowed object.
#[derive(Debug)]
pub(crate) struct RestartPlan {
    pub(crate) spec: Box<TaskSpec>,
    /// How many more times the actor may be restarted.
    pub(crate) remaining: u32,
}
