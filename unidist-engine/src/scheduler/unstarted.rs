//! Cancelling what has not started, and nothing else.
//!
//! A call that was sent ahead to a worker may have started there without this being known yet. It is asked back; whether
//! it comes says whether it had. The request is answered when that is known of all its calls.

use super::Scheduler;
use super::event::Action;
use super::request::{Reply, RequestId};
use super::tasks::TaskState;
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use unidist_common::{DataId, ErrorKind, ProcessId, Target, TaskError};

type Asked = (ProcessId, RequestId);

/// Calls that were asked back in order to be cancelled.
#[derive(Debug, Default)]
pub(crate) struct Unwanted {
    calls: FxHashMap<DataId, Asked>,
    /// For each request how many calls it waits for, and how many it has cancelled.
    requests: FxHashMap<Asked, (usize, u64)>,
}

impl Unwanted {
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn len(&self) -> usize {
        self.calls.len() + self.requests.len()
    }
}

impl Scheduler {
    pub(super) fn cancel_unstarted(&mut self, process: ProcessId, request: RequestId, ids: &[DataId]) {
        let (mut ended, mut open) = (0, 0);
        let mut to_recall: Vec<ProcessId> = Vec::new();
        for id in ids {
            let Some(call) = self.objects.maker(*id) else { continue };
            let Some(task) = self.tasks.get(&call) else { continue };
            match task.state {
                _ if task.spec.target == Target::NewActor => {}
                TaskState::Waiting | TaskState::Ready | TaskState::Fetching => {
                    self.fail_task(call, TaskError::new(ErrorKind::Cancelled, ""));
                    ended += 1;
                }
                TaskState::Sent(worker) if self.is_ahead(worker, call) => {
                    if let Entry::Vacant(free) = self.unwanted.calls.entry(call) {
                        free.insert((process, request));
                        open += 1;
                        to_recall.push(worker);
                    }
                }
                TaskState::Sent(_) => {}
            }
        }
        if open == 0 {
            return self.actions.push(Action::Reply { process, request, reply: Reply::Count(ended) });
        }
        self.unwanted.requests.insert((process, request), (open, ended));
        to_recall.sort_unstable();
        to_recall.dedup();
        to_recall.into_iter().for_each(|worker| self.recall_unwanted(worker));
    }

    /// Asks for what is not wanted any more of what was sent ahead to this worker.
    pub(super) fn recall_unwanted(&mut self, process: ProcessId) {
        if self.unwanted.calls.is_empty() {
            return;
        }
        let Some(worker) = self.workers.get(&process) else { return };
        let is_unwanted = |call: &DataId| self.unwanted.calls.contains_key(call);
        let calls = worker.ahead.iter().copied().filter(is_unwanted).collect();
        self.recall(process, calls);
    }

    /// The call has not started, and would be sent somewhere else now. True if it is not wanted: then it has failed.
    pub(super) fn drop_unwanted(&mut self, call: DataId) -> bool {
        let Some(asked) = self.forget_unwanted(call) else { return false };
        if let Some(group) = self.tasks.get(&call).map(|task| self.resources.group(task.class)) {
            self.resources.groups().came_back(group);
        }
        if let Some((_, ended)) = self.unwanted.requests.get_mut(&asked) {
            *ended += 1;
        }
        self.fail_task(call, TaskError::new(ErrorKind::Cancelled, ""));
        self.answer_unwanted(asked);
        true
    }

    /// The call has started, or has ended otherwise.
    pub(super) fn keep_unwanted(&mut self, call: DataId) {
        if let Some(asked) = self.forget_unwanted(call) {
            self.answer_unwanted(asked);
        }
    }

    fn forget_unwanted(&mut self, call: DataId) -> Option<Asked> {
        if self.unwanted.calls.is_empty() {
            return None; // nearly always
        }
        let asked = self.unwanted.calls.remove(&call)?;
        if let Some((left, _)) = self.unwanted.requests.get_mut(&asked) {
            *left -= 1;
        }
        Some(asked)
    }

    fn answer_unwanted(&mut self, asked: Asked) {
        if let Some(&(0, ended)) = self.unwanted.requests.get(&asked) {
            self.unwanted.requests.remove(&asked);
            self.actions.push(Action::Reply {
                process: asked.0,
                request: asked.1,
                reply: Reply::Count(ended),
            });
        }
    }
}
