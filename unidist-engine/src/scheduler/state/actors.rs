//! Actors: each in a process of its own, its calls in order for each caller.
//!
//! An actor is *new* until its constructor has ended, then *alive* or *dead*. Its id is an object whose references are
//! the handles and the calls under way; when the last is gone, so is the actor.

use crate::scheduler::state::tasks::Caller;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::sync::Arc;
use unidist_common::{DataId, ProcessId, TaskError, TaskSpec};

#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) name: Arc<str>,
    pub(crate) state: ActorState,
    pub(crate) process: Option<ProcessId>,
    /// Calls that wait: for the constructor, for a dependency, or behind such a call of the same caller.
    pub(crate) waiting: FxHashMap<Caller, VecDeque<DataId>>,
    /// Calls that were sent.
    pub(crate) sent: FxHashSet<DataId>,
    /// What it is started again with, while it may be.
    pub(crate) restart_plan: Option<Box<RestartPlan>>,
    /// How often it was started again.
    pub(crate) restarts: u32,
}

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
