//! What the engine and a process say to each other: one closed set for each direction.

use crate::store::{Block, StoredObject};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use unidist_common::{DataId, ProcessId, TaskError};

pub(crate) use crate::scheduler::{Reply, Request, RequestId, Run, Value};

/// From the engine to a worker or actor process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// Run this call.
    Run(Run),
    /// Give back those of these tasks that have not started.
    RetractTasks(Vec<DataId>),
    /// This call's results have failed with this error, and nobody wants it any more: drop it if it has not started,
    /// have it stop if it has. A [`FromWorker::Done`] follows when it is gone.
    Cancel(DataId, Arc<TaskError>),
    /// The answer to a request.
    Reply(RequestId, Reply),
    /// Finish what is running, then end.
    Stop,
}

/// From a worker or actor process to the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// What any client of the scheduler may ask, the controller too.
    Request(Request),
    /// This task has ended with these results, one for each return.
    Done(DataId, Result<Vec<StoredObject>, TaskError>),
    /// The answer to [`ToWorker::RetractTasks`]: these had not started and never will here.
    Retracted(Vec<DataId>),
    /// This task is asynchronous and waits for requests made earlier, so its slot is free until one is answered.
    Yield(DataId),
    /// This call of a method has started, which is told of those that have limited time.
    Started(DataId),
    /// A block of this length is wanted.
    Allocate(RequestId, u64),
    /// This block did not become part of an object.
    FreeBlock(Block),
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
            FromWorker::Request(Request::Submit { spec, .. } | Request::SubmitFailed { spec, .. }) => {
                spec.returns.first.origin() == process && spec.returns.count <= MOST_RETURNS
            }
            FromWorker::Request(Request::Put { id, .. }) => id.origin() == process,
            _ => true,
        }
    }
}
