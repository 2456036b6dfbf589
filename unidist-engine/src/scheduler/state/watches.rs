//! Watches: sets of objects of which a client learns, again and again, which have got values.
//!
//! A `wait` names all of its objects each time; a watch is told of each object once, so that a loop over n of them costs n
//! steps.

use crate::scheduler::request::RequestId;
use unidist_common::DataId;

/// How many objects a node of the search for deadlocks stands for.
const CHUNK: usize = 16;

/// The objects that a client watches.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Those that had no value when they were added, in this order. Some may have one by now.
    ids: Vec<DataId>,
    /// How many of these have none.
    pending: usize,
    /// Those with a value, of which the client does not know yet.
    ready: Vec<DataId>,
    /// The request that waits for the next one.
    pub(crate) next: Option<RequestId>,
}

impl Watch {
    /// Adds an object.
    pub(crate) fn add(&mut self, id: DataId, is_pending: bool) {
        if is_pending {
            self.ids.push(id);
            self.pending += 1;
        } else {
            self.ready.push(id);
        }
    }

    /// The object has got a value.
    pub(crate) fn settle(&mut self, id: DataId, is_pending: impl Fn(DataId) -> bool) {
        self.ready.push(id);
        self.pending = self.pending.saturating_sub(1);
        if self.ids.len() > CHUNK && self.ids.len() > 2 * self.pending {
            self.ids.retain(|id| is_pending(*id));
        }
        while self.ids.last().is_some_and(|last| !is_pending(*last)) {
            self.ids.pop();
        }
    }

    /// Whether there is anything to wait for.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending > 0
    }

    /// The objects that have got values since the last time.
    pub(crate) fn take_ready(&mut self) -> Vec<DataId> {
        std::mem::take(&mut self.ready)
    }

    /// Whether objects have got values since.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Objects of which some are pending, the last one for sure.
    pub(crate) fn ids(&self) -> &[DataId] {
        &self.ids
    }

    /// Some of these objects without the last `skipped`, and how many to skip for those before them, if there are any.
    pub(crate) fn chunk(&self, skipped: usize) -> (&[DataId], Option<usize>) {
        let end = self.ids.len().saturating_sub(skipped);
        let begin = end.saturating_sub(CHUNK);
        (&self.ids[begin..end], (begin > 0).then_some(self.ids.len() - begin))
    }
}
