//! Open `get` and `wait` requests, which are answered when objects have values.

use crate::scheduler::request::{Blocks, RequestId};
use rustc_hash::FxHashSet;
use unidist_common::{DataId, TaskId};

/// Up to this many objects of a request are looked through; of more there is a set.
const FEW_OBJECTS: usize = 16;

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
    /// All objects from this place on have values.
    settled_from: usize,
    /// The objects, if they are many and were looked up before.
    set: Option<FxHashSet<DataId>>,
}

/// The kind of an open request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Get,
    Wait {
        timed: bool,
    },
    /// For the next objects of this watch. The request names none itself.
    Next {
        watch: RequestId,
        timed: bool,
    },
}

impl OpenRequest {
    /// A request for these objects, which lacks this many values.
    pub(crate) fn new(ids: Vec<DataId>, kind: RequestKind, missing: usize, blocks: Blocks) -> Self {
        let settled_from = ids.len();
        OpenRequest { ids, kind, missing, is_fetching: false, blocks, lender: None, settled_from, set: None }
    }

    /// Whether a worker that is blocked by this request starts the maker of this object by itself if it is prefetched
    /// there. Not for a `wait`: it may be answered while some of them have not started, and the worker would act on an
    /// older state.
    pub(crate) fn is_startable_by_worker(&self, id: DataId) -> bool {
        self.kind == RequestKind::Get
            && match &self.set {
                Some(set) => set.contains(&id),
                None => self.ids.contains(&id),
            }
    }

    /// Makes it cheap to look up objects, however many they are.
    pub(crate) fn index(&mut self) {
        if self.ids.len() > FEW_OBJECTS && self.set.is_none() {
            self.set = Some(self.ids.iter().copied().collect());
        }
    }

    /// Leaves out the last objects, up to the last one that is pending: their values stay.
    pub(crate) fn skip_settled(&mut self, is_pending: impl Fn(DataId) -> bool) {
        while self.settled_from > 0 && !is_pending(self.ids[self.settled_from - 1]) {
            self.settled_from -= 1;
        }
    }

    /// The objects of which some are pending, the last one for sure if they were [skipped](OpenRequest::skip_settled).
    pub(crate) fn unsettled(&self) -> &[DataId] {
        &self.ids[..self.settled_from]
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
            RequestKind::Wait { timed: true } | RequestKind::Next { timed: true, .. } => 0,
            RequestKind::Get | RequestKind::Wait { .. } | RequestKind::Next { .. } => self.missing,
        }
    }
}
