//! The description of one call, as it travels from the caller to the process that runs it.

use crate::{ActorId, DataId, FunctionKey, TaskId, TaskOptions};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One call of a function, an actor's constructor or an actor's method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The function.
    pub function: FunctionKey,
    /// The function's body, for front ends whose functions are not part of the executable. None in Rust.
    pub body: Option<Bytes>,
    /// The name shown in errors, logs and traces.
    pub name: Arc<str>,
    /// Where it runs.
    pub target: Target,
    /// Whether it is known to wait without keeping its thread: many such tasks share a worker.
    pub asynchronous: bool,
    /// The arguments, in order.
    pub args: Vec<Arg>,
    /// Objects whose values the call needs: it starts when all are ready. Covers every id in the arguments,
    /// and refs inside values that arrive as values.
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
    pub fn id(&self) -> TaskId {
        TaskId::of_first_return(self.returns.first)
    }
}

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Any worker.
    Pool,
    /// A process of its own, started for it. The actor's id is the call's first return, whose value is "the
    /// constructor succeeded" and whose references are the handles: at the last drop the actor ends.
    NewActor,
    /// The actor with this id.
    Actor(ActorId),
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
    /// A value whose encoding consists of these parts, one after the other.
    Parts(Vec<Part>),
}

/// A part of the encoding of an argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Part {
    /// These bytes.
    Bytes(Bytes),
    /// The encoded value of this object.
    Ref(DataId),
}

/// The ids of a call's results: `count` consecutive ones, of which the first also names the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returns {
    /// The id of the first result.
    pub first: DataId,
    /// The number of results; may be 0.
    pub count: u32,
}

impl Returns {
    /// The ids, in order.
    pub fn ids(self) -> impl ExactSizeIterator<Item = DataId> + Clone {
        (0..self.count).map(move |n| self.first.nth(n))
    }
}
