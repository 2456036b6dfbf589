//! What the engine and a process say to each other: one closed set for each direction.

use crate::store::{Block, StoredObject};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use unidist_common::{Arg, DataId, Error, FunctionKey, ProcessId, TaskError, TaskSpec};
use unidist_core::{CallKind, CallStatus, ClusterInfo, StoreUsage, Which, WorkerInfo};

/// The number of a request, made by who asks and repeated in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RequestId(pub(crate) u64);

/// The value of an object or why it has none, as the directory holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    /// It is there.
    Ready(Arc<StoredObject>),
    /// Its task failed.
    Failed(Arc<TaskError>),
}

/// From the engine to a worker or actor process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// Run this call.
    Run(Run),
    /// Give back those of these tasks that have not started.
    Recall(Vec<DataId>),
    /// This call's results have failed with this error, and nobody wants it any more: drop it if it has not started,
    /// have it stop if it has. A [`FromWorker::Done`] follows when it is gone.
    Cancel(DataId, Arc<TaskError>),
    /// The answer to a request.
    Reply(RequestId, Reply),
    /// Finish what is running, then end.
    Stop,
}

/// A call whose dependencies are there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The call: the id of its first return.
    pub(crate) id: DataId,
    /// What to call.
    pub(crate) function: FunctionKey,
    /// The function's body, for front ends whose functions are not part of the executable.
    pub(crate) body: Option<Bytes>,
    /// Function, constructor or method.
    pub(crate) kind: CallKind,
    /// The arguments.
    pub(crate) args: Vec<Arg>,
    /// The values of the dependencies.
    pub(crate) objects: Vec<(DataId, Arc<StoredObject>)>,
    /// How many results are wanted.
    pub(crate) returns: u32,
    /// Run it now, on top of the task that waits: it waits for this one.
    pub(crate) nested: bool,
    /// Say when it starts: see [`FromWorker::Started`].
    pub(crate) timed: bool,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// To [`FromWorker::Get`]: the values, in order.
    Values(Vec<Value>),
    /// To [`FromWorker::Wait`]: the positions that are ready, ascending.
    Ready(Vec<u64>),
    /// To [`FromWorker::Allocate`].
    Allocated(Block),
    /// To [`FromWorker::Cluster`].
    Cluster(ClusterInfo),
    /// To [`FromWorker::StoreUsage`].
    StoreUsage(StoreUsage),
    /// To [`Ask::LiveObjects`], [`Ask::Cancel`] and [`Ask::EndWorker`].
    Count(u64),
    /// To [`Ask::Status`], in order.
    Status(Vec<CallStatus>),
    /// To [`Ask::Workers`].
    Workers(Vec<WorkerInfo>),
    /// The request failed.
    Failed(Error),
}

/// From a worker or actor process to the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// What any client of the scheduler may ask, the controller too.
    Ask(Ask),
    /// This task has ended with these results, one for each return.
    Done(DataId, Result<Vec<StoredObject>, TaskError>),
    /// The answer to [`ToWorker::Recall`]: these had not started and never will here.
    Returned(Vec<DataId>),
    /// This task is asynchronous and waits for requests made earlier, so its slot is free until one is answered.
    Yield(DataId),
    /// This call of a method has started, which is told of those that have limited time.
    Started(DataId),
    /// A block of this length is wanted.
    Allocate(RequestId, u64),
    /// This block did not become part of an object.
    GiveBack(Block),
    /// What the cluster has.
    Cluster(RequestId),
    /// How full the store is.
    StoreUsage(RequestId),
}

/// No call has more results than this.
pub(crate) const MOST_RETURNS: u32 = 1 << 16;

impl FromWorker {
    /// Whether the objects that the message makes have ids of this process, and no more of them than a call can return.
    pub(crate) fn names_its_own(&self, process: ProcessId) -> bool {
        match self {
            FromWorker::Ask(Ask::Submit(spec, _) | Ask::Refuse(spec, ..)) => {
                spec.returns.first.origin() == process && spec.returns.count <= MOST_RETURNS
            }
            FromWorker::Ask(Ask::Put(id, ..)) => id.origin() == process,
            _ => true,
        }
    }
}

/// What any client of the scheduler may ask: the controller's threads and the tasks in the workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Run this call. Its caller is the program (`None`) or this task or actor.
    Submit(Box<TaskSpec>, Option<DataId>),
    /// This call could not be sent as it is: without its arguments, which do not count, it fails with this error.
    Refuse(Box<TaskSpec>, Option<DataId>, TaskError),
    /// Remember this object, of which the process has so many views.
    Put(DataId, StoredObject, u32),
    /// Reply with the values of these objects when all have one. If a task is named, it is blocked until then.
    Get(RequestId, Vec<DataId>, Option<DataId>),
    /// Reply when so many of these objects have a value. If a task is named, it is blocked until then.
    Wait {
        /// The number of the request.
        request: RequestId,
        /// The objects.
        ids: Vec<DataId>,
        /// How many of them.
        count: u64,
        /// Whether a [`Ask::Hurry`] will follow when the time is over.
        timed: bool,
        /// The task that waits.
        blocks: Option<DataId>,
    },
    /// Reply to this `Wait` or `Workers` now, with what is there.
    Hurry(RequestId),
    /// One more reference.
    Retain(DataId),
    /// One reference fewer.
    Release(DataId),
    /// The process has a view of this object: it keeps the object, and where it is. What comes as the answer to a `Get`
    /// needs no such message: it counts as a view from the start.
    Map(DataId),
    /// One view fewer.
    Unmap(DataId),
    /// How many objects there are.
    LiveObjects(RequestId),
    /// End those of the calls that make these objects, as far as they have not ended; reply with their number.
    Cancel(RequestId, Vec<DataId>, Which),
    /// Reply with how far the calls are that make these objects.
    Status(RequestId, Vec<DataId>),
    /// Reply with the workers when there are so many, or none is on its way any more.
    Workers {
        /// The number of the request.
        request: RequestId,
        /// How many.
        at_least: u64,
    },
    /// End this worker and give up its slot; reply with 1, or with 0 if there is none of this number.
    EndWorker(RequestId, ProcessId),
}
