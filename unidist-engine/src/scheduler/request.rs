//! The scheduler's requests and replies: what the controller's threads and the calls in worker processes ask of it.

use crate::store::{Place, StoredObject};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use unidist_backend::{CallStatus, ClusterInfo, Live, NamedActor, StoreUsage, Which, WorkerInfo};
use unidist_common::{DataId, Error, ProcessId, TaskError, TaskId, TaskSpec};

pub(crate) use unidist_common::RequestId;

/// What waits for the reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Blocks {
    /// No call, as far as is known.
    Nothing,
    /// The thread of this call.
    Call {
        /// The call.
        call: TaskId,
        /// Whether the stack has room for others on top of it.
        can_nest: bool,
    },
    /// A thread of the process that runs no call. The code of a task has started it, probably of the one that runs now.
    Thread,
}

/// A request of a client: the controller or a worker process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Run this call.
    Submit {
        /// The call.
        spec: Box<TaskSpec>,
        /// The task or actor that makes the call; `None` for the program.
        caller: Option<TaskId>,
    },
    /// Fail this call, which the caller could not send as it is: its arguments are left out.
    SubmitFailed {
        /// The call, without its arguments.
        spec: Box<TaskSpec>,
        /// As in `Submit`.
        caller: Option<TaskId>,
        /// The error of its results.
        error: TaskError,
    },
    /// Add this object.
    Put {
        /// Its id, made by the process.
        id: DataId,
        /// Its parts.
        object: StoredObject,
        /// How many views of it the process has.
        views: u32,
    },
    /// Reply with the values of these objects when all of them have one.
    Get {
        /// The number of the request.
        request: RequestId,
        /// The objects.
        ids: Vec<DataId>,
        /// What waits for the reply.
        blocks: Blocks,
    },
    /// Reply when `count` of these objects have a value.
    Wait {
        /// The number of the request.
        request: RequestId,
        /// The objects.
        ids: Vec<DataId>,
        /// How many of them.
        count: u64,
        /// Whether an [`Expire`](Request::Expire) follows when the time limit has passed.
        timed: bool,
        /// What waits for the reply.
        blocks: Blocks,
    },
    /// The time limit of this `Wait`, `Next` or `Workers` has passed: reply now, with what is ready.
    Expire {
        /// The number of the request.
        request: RequestId,
    },
    /// Add a reference to this object.
    Retain(DataId),
    /// Drop a reference to this object.
    Release(DataId),
    /// The process has a view of this object: the object stays where it is. Values in the reply to a `Get` need no such
    /// message: each counts as a view from the start.
    PinView(DataId),
    /// The process has one view fewer of this object.
    UnpinView(DataId),
    /// Reply with the number of objects.
    LiveObjects {
        /// The number of the request.
        request: RequestId,
    },
    /// Reply with the objects, the actors and the unfinished calls, in order of their ids, at most this many.
    Live {
        /// The number of the request.
        request: RequestId,
        /// How many.
        at_most: u64,
    },
    /// Cancel the calls that make these objects, unless they have ended; reply with how many were canceled.
    Cancel {
        /// The number of the request.
        request: RequestId,
        /// The objects.
        ids: Vec<DataId>,
        /// All of the calls or only those that have not started.
        which: Which,
    },
    /// Reply with the status of the calls that make these objects.
    Status {
        /// The number of the request.
        request: RequestId,
        /// The objects.
        ids: Vec<DataId>,
    },
    /// Reply with the workers once there are this many, or no more are starting.
    Workers {
        /// The number of the request.
        request: RequestId,
        /// How many workers to wait for.
        at_least: u64,
    },
    /// Watch these objects, in addition to those that are watched already.
    Watch {
        /// The watch: a number of a request that has no reply.
        watch: RequestId,
        /// The objects, each once in a watch.
        ids: Vec<DataId>,
    },
    /// Reply with the objects of a watch that have got values and were in no reply, once there is one; with none if all
    /// were.
    Next {
        /// The number of the request.
        request: RequestId,
        /// The watch.
        watch: RequestId,
        /// Whether an [`Expire`](Request::Expire) follows when the time limit has passed.
        timed: bool,
        /// What waits for the reply.
        blocks: Blocks,
    },
    /// End this watch.
    Unwatch {
        /// The watch.
        watch: RequestId,
    },
    /// Reply with the actor of this name, and count a reference of the process to it.
    FindActor {
        /// The number of the request.
        request: RequestId,
        /// The name.
        name: String,
    },
    /// Drain this worker and remove its CPU slot; reply with 1, or with 0 if there is no such worker.
    EndWorker {
        /// The number of the request.
        request: RequestId,
        /// The worker.
        worker: ProcessId,
    },
}

/// The reply to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// To `Get`: the values, in order.
    Values(Vec<Value>),
    /// To `Wait`: the positions of the objects that have a value, ascending.
    Ready(Vec<u64>),
    /// To the request for a block of the store.
    Allocated(Place),
    /// To the request for the cluster's resources.
    Cluster(ClusterInfo),
    /// To the request for the store's usage.
    StoreUsage(StoreUsage),
    /// To `LiveObjects`, `Cancel` and `EndWorker`.
    Count(u64),
    /// To `Status`, in order.
    Status(Vec<CallStatus>),
    /// To `Workers`.
    Workers(Vec<WorkerInfo>),
    /// To `Live`.
    Live(Vec<Live>),
    /// To `Next`.
    Settled(Vec<DataId>),
    /// To `FindActor`.
    Actor(Option<NamedActor>),
    /// The request failed.
    Failed(Error),
}

/// The value of an object, or the error in place of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    /// The object's parts.
    Ready(Arc<StoredObject>),
    /// The call that makes it failed, or the value is lost.
    Failed(Arc<TaskError>),
}
