//! The messages between the engine and a worker or actor process: one enum for each direction.

use crate::store::{Place, StoredObject};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use unidist_common::{ProcessId, TaskError, TaskId};

pub(crate) use crate::scheduler::{Blocks, Reply, Request, RequestId, Run, Value};

/// From the engine to a worker or actor process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// Run this call.
    Run(Run),
    /// Return those of these tasks that have not started: [`FromWorker::Retracted`] follows.
    RetractTasks(Vec<TaskId>),
    /// The results of a call have failed: drop the call if it has not started, else cancel it. [`FromWorker::Done`]
    /// follows.
    Cancel {
        /// The call.
        task: TaskId,
        /// The error of its results.
        error: Arc<TaskError>,
    },
    /// The reply to a request.
    Reply(RequestId, Reply),
    /// Finish what is running, then end.
    Stop,
}

/// From a worker or actor process to the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// A request that any client of the scheduler may make, including the controller.
    Request(Request),
    /// A task has ended.
    Done {
        /// The task.
        task: TaskId,
        /// Its results, one for each return value.
        result: Result<Vec<StoredObject>, TaskError>,
    },
    /// The reply to [`ToWorker::RetractTasks`]: these tasks have not started and will not start here.
    Retracted(Vec<TaskId>),
    /// This task has left the thread and waits; its CPU slot is free. It is resumed by a waker of its process.
    Suspended(TaskId),
    /// The code of this suspended task runs next. A process with suspended tasks, or whose running call waits for memory or
    /// the end of a canceled call, reports the start of others in the same way: which of its tasks its thread runs next
    /// is not known elsewhere.
    Resumed(TaskId),
    /// This method call has started; sent for calls with a time limit.
    Started(TaskId),
    /// Allocate a block.
    Allocate {
        /// The request to reply to.
        request: RequestId,
        /// The length of the block.
        len: u64,
    },
    /// Free this block, which did not become part of an object.
    FreeBlock(Place),
    /// Reply with the resources of the cluster.
    Cluster(RequestId),
    /// Reply with the usage of the store.
    StoreUsage(RequestId),
}

/// The most return values of a call.
pub(crate) const MAX_RETURNS: u32 = 1 << 16;

impl FromWorker {
    /// Whether the objects that the message creates have ids of this process and are at most as many as a call can return.
    pub(crate) fn creates_own_ids(&self, process: ProcessId) -> bool {
        match self {
            FromWorker::Request(Request::Submit { spec, .. } | Request::SubmitFailed { spec, .. }) => {
                spec.returns.first.origin() == process && spec.returns.count <= MAX_RETURNS
            }
            FromWorker::Request(Request::Put { id, .. }) => id.origin() == process,
            _ => true,
        }
    }
}
