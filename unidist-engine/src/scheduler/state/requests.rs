//! `get` and `wait`: requests that are answered when objects have values.

use unidist_common::DataId;

/// A request that cannot be answered yet.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) ids: Vec<DataId>,
    pub(crate) kind: RequestKind,
    /// How many more values are needed before the answer; then, how many copies.
    pub(crate) missing: usize,
    /// All objects have values, and some of those have to come to the host of the process first.
    pub(crate) is_fetching: bool,
    /// The task that is blocked until the answer.
    pub(crate) blocks: Option<DataId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Get,
    Wait { timed: bool },
}

impl OpenRequest {
    /// What a worker that is blocked by this request runs by itself if it finds it among what was sent ahead. Not for a
    /// `wait`: that may be answered while some of it has not started, and the worker would go by an older state.
    pub(crate) fn startable_by_worker(&self) -> &[DataId] {
        match self.kind {
            RequestKind::Get => &self.ids,
            RequestKind::Wait { .. } => &[],
        }
    }

    /// Whether this call waits for the answer.
    pub(crate) fn blocks(&self, call: DataId) -> bool {
        self.blocks == Some(call)
    }

    /// How many of its objects that have no value must get one before it is answered.
    pub(crate) fn needed(&self) -> usize {
        match self.kind {
            RequestKind::Get | RequestKind::Wait { timed: false } => self.missing,
            RequestKind::Wait { timed: true } => 0,
        }
    }
}
