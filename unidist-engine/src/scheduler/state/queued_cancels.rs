//! Requests that cancel calls only if they have not started.
//!
//! A prefetched call may have started without the scheduler knowing. The call is retracted first; whether the worker
//! gives it back tells whether it had started. The request is answered once this is known of all its calls.
//!
//! Invariant: each open request counts the calls in `calls` that name it.

use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use unidist_common::{ProcessId, RequestId, TaskId};

/// A request and the process that made it.
pub(crate) type ClientRequest = (ProcessId, RequestId);

/// The calls that are being retracted in order to be canceled.
#[derive(Debug, Default)]
pub(crate) struct QueuedCancels {
    calls: FxHashMap<TaskId, ClientRequest>,
    /// For each request how many calls it waits for, and how many it has canceled.
    requests: FxHashMap<ClientRequest, (usize, u64)>,
}

impl QueuedCancels {
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn len(&self) -> usize {
        self.calls.len() + self.requests.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(crate) fn contains(&self, call: TaskId) -> bool {
        self.calls.contains_key(&call)
    }

    /// The request wants to cancel this call. False if another request does already.
    pub(crate) fn add(&mut self, call: TaskId, request: ClientRequest) -> bool {
        match self.calls.entry(call) {
            Entry::Vacant(free) => {
                free.insert(request);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// The request waits for this many calls and has canceled some at once.
    pub(crate) fn open(&mut self, request: ClientRequest, waiting: usize, canceled: u64) {
        self.requests.insert(request, (waiting, canceled));
    }

    /// It is known whether the call had started. The request that waited to know.
    pub(crate) fn take(&mut self, call: TaskId) -> Option<ClientRequest> {
        if self.calls.is_empty() {
            return None; // nearly always
        }
        let request = self.calls.remove(&call)?;
        if let Some((waiting, _)) = self.requests.get_mut(&request) {
            *waiting -= 1;
        }
        Some(request)
    }

    pub(crate) fn count_canceled(&mut self, request: ClientRequest) {
        if let Some((_, canceled)) = self.requests.get_mut(&request) {
            *canceled += 1;
        }
    }

    /// How many calls the request has canceled, if it waits for none. It is closed then.
    pub(crate) fn close_if_complete(&mut self, request: ClientRequest) -> Option<u64> {
        match self.requests.get(&request) {
            Some(&(0, canceled)) => {
                self.requests.remove(&request);
                Some(canceled)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::DataId;

    #[test]
    fn queued_cancel_completes_with_its_last_call() {
        let mut cancels = QueuedCancels::default();
        let [first, second] =
            [1, 2].map(|number| TaskId::of_first_return(DataId::new(ProcessId::CONTROLLER, number)));
        let request = (ProcessId::CONTROLLER, RequestId(1));
        assert!(cancels.add(first, request) && cancels.add(second, request));
        assert!(!cancels.add(first, (ProcessId::CONTROLLER, RequestId(2))), "one request owns a call");
        cancels.open(request, 2, 5);
        assert_eq!(cancels.take(first), Some(request));
        cancels.count_canceled(request);
        assert_eq!(cancels.close_if_complete(request), None);
        assert_eq!(cancels.take(second), Some(request));
        assert_eq!(cancels.close_if_complete(request), Some(6));
        assert_eq!((cancels.take(first), cancels.len()), (None, 0));
    }
}
