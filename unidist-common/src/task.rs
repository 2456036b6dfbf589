//! The description of one call, as it travels from the caller to the process that runs it.

use crate::{DataId, FunctionKey, ProcessId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// One call of a function, an actor's constructor or an actor's method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// What to call.
    pub function: FunctionKey,
    /// The function's body, for front ends whose functions are not part of the executable. None in Rust.
    pub body: Option<Bytes>,
    /// The name shown in errors, logs and traces.
    pub name: Arc<str>,
    /// Who runs it.
    pub target: Target,
    /// The arguments, in order.
    pub args: Vec<Arg>,
    /// Objects whose values the call needs: it starts when all are ready. Covers every [`Arg::Ref`] and
    /// [`Arg::List`], and refs inside values that are to arrive as values.
    pub dependencies: Vec<DataId>,
    /// Objects and actors named inside argument values: kept alive until the call has ended, not resolved.
    pub borrowed: Vec<DataId>,
    /// The ids of the results. The caller holds one reference to each.
    pub returns: Returns,
    /// Resources and the like.
    pub options: Arc<TaskOptions>,
}

impl TaskSpec {
    /// The id of the task: that of its first return (reserved even where nothing is returned).
    pub fn id(&self) -> DataId {
        self.returns.first
    }
}

/// Who runs a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Any worker.
    Pool,
    /// A process of its own, started for it. The actor's id is the call's first return, whose value is "the
    /// constructor succeeded" and whose references are the handles: at the last drop the actor ends.
    NewActor,
    /// The actor with this id.
    Actor(DataId),
}

/// One argument of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Arg {
    /// The encoded value.
    Value(Bytes),
    /// The value of this object.
    Ref(DataId),
    /// A list made of the values of these objects.
    List(Vec<DataId>),
}

/// The ids of a call's results: `count` consecutive ones, of which the first also names the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returns {
    /// The id of the first result.
    pub first: DataId,
    /// How many results there are; 0 is fine.
    pub count: u32,
}

impl Returns {
    /// The ids, in order.
    pub fn ids(self) -> impl ExactSizeIterator<Item = DataId> + Clone {
        (0..self.count).map(move |n| self.first.nth(n))
    }
}

/// What a definition or a call may ask for. `None` and empty mean "the default".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// CPU slots held while running. Default 1 for tasks, 0 for actors.
    pub num_cpus: Option<f64>,
    /// Custom resources held while running (an actor: for its lifetime), such as `("gpu", 1.0)`.
    pub resources: Vec<(String, f64)>,
    /// The name shown in errors and logs instead of the function's.
    pub name: Option<String>,
    /// How often a task is run again after its worker died with it, or an actor's call on the restarted actor. Default
    /// 0; it is given up once it was lost so three times, whatever this says.
    pub max_retries: Option<u32>,
    /// Among the calls that are ready, those of higher priority start first. Default 0.
    pub priority: Option<i32>,
    /// For actors: how many calls of asynchronous methods may be in flight at once. Default: no limit.
    pub max_concurrency: Option<u32>,
    /// How long the call may run, from its start on. Default: no limit.
    pub timeout: Option<Duration>,
    /// For actors: how often one whose process has died is started again. Default 0.
    pub max_restarts: Option<u32>,
    /// The worker that is to run the task. Default: any.
    pub worker: Option<ProcessId>,
    /// The group that the task belongs to. Default: that of all tasks that belong to no other.
    pub group: Option<GroupSpec>,
}

/// A group of tasks. Groups take turns: as long as several have tasks that are ready, each has as many started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupSpec {
    /// What makes it different from other groups of the session.
    pub id: DataId,
    /// How many of its tasks may run at once; `None` for as many as there are slots.
    pub limit: Option<NonZeroU32>,
}
