//! Open `get` and `wait` requests, which are answered when objects have values.

use crate::scheduler::request::Blocks;
use unidist_common::{DataId, TaskId};

/// A request that cannot be answered yet.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) ids: Vec<DataId>,
    pub(crate) kind: RequestKind,
    /// How many more values are needed before the reply; while fetching, how many copies.
    pub(crate) missing: usize,
    /// All objects have values, and some are being copied to the host of the process.
    pub(crate) is_fetching: bool,
    /// What waits for the reply.
    pub(crate) blocks: Blocks,
    /// The task that has given its CPU slot back for a thread that waits.
    pub(crate) lender: Option<TaskId>,
}

/// The kind of an open request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Get,
    Wait { timed: bool },
}

impl OpenRequest {
    /// The objects whose makers a worker that is blocked by this request starts by itself if they are prefetched
    /// there. None for a `wait`: it may be answered while some of them have not started, and the worker would act on
    /// an older state.
    pub(crate) fn startable_by_worker(&self) -> &[DataId] {
        match self.kind {
            RequestKind::Get => &self.ids,
            RequestKind::Wait { .. } => &[],
        }
    }

    /// The call that waits for the reply, itself or for a thread that does.
    pub(crate) fn waiting_call(&self) -> Option<TaskId> {
        match self.blocks {
            Blocks::Call { call, .. } => Some(call),
            Blocks::Nothing | Blocks::Thread => self.lender,
        }
    }

    /// How many of the pending objects must get a value before the reply.
    pub(crate) fn needed(&self) -> usize {
        match self.kind {
            RequestKind::Get | RequestKind::Wait { timed: false } => self.missing,
            RequestKind::Wait { timed: true } => 0,
        }
    }
}
