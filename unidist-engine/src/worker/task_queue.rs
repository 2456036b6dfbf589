//! The calls that have arrived in this process and not started.

use crate::protocol::worker::Run;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use unidist_common::TaskId;

#[derive(Debug, Default)]
pub(super) struct TaskQueue(Mutex<Queues>);

#[derive(Debug, Default)]
struct Queues {
    /// Calls to run at once, on top of the call that waits for them.
    nested: VecDeque<Run>,
    queued: VecDeque<Run>,
}

impl TaskQueue {
    pub(super) fn push(&self, run: Run) {
        let mut queues = self.lock();
        if run.nested { queues.nested.push_back(run) } else { queues.queued.push_back(run) }
    }

    /// The next call to run: a nested one, else the first that `wanted` accepts. The engine relies on this order to
    /// know which call runs.
    pub(super) fn next(&self, wanted: impl Fn(&Run) -> bool) -> Option<Run> {
        let mut queues = self.lock();
        if let Some(run) = queues.nested.pop_front() {
            return Some(run);
        }
        let at = queues.queued.iter().position(wanted)?;
        queues.queued.remove(at)
    }

    /// Whether [`next`](TaskQueue::next) would return a call.
    pub(super) fn has(&self, wanted: impl Fn(&Run) -> bool) -> bool {
        let queues = self.lock();
        !queues.nested.is_empty() || queues.queued.iter().any(wanted)
    }

    /// How many are queued, without nested ones.
    pub(super) fn len(&self) -> usize {
        self.lock().queued.len()
    }

    /// Removes a call; false if it is not queued.
    pub(super) fn remove(&self, call: TaskId) -> bool {
        !self.take_back(&[call]).is_empty()
    }

    /// Removes those of these calls that are queued, and returns their ids.
    pub(super) fn take_back(&self, calls: &[TaskId]) -> Vec<TaskId> {
        let mut removed = Vec::new();
        let mut queues = self.lock();
        let Queues { nested, queued } = &mut *queues;
        for queue in [nested, queued] {
            let (back, kept) = std::mem::take(queue).into_iter().partition(|run| calls.contains(&run.id));
            *queue = kept;
            removed.extend::<VecDeque<Run>>(back);
        }
        drop(queues); // the calls are dropped without the lock
        removed.iter().map(|run| run.id).collect()
    }

    /// Removes all calls, and returns their ids.
    pub(super) fn take_all(&self) -> Vec<TaskId> {
        let Queues { nested, queued } = std::mem::take(&mut *self.lock());
        nested.iter().chain(&queued).map(|run| run.id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
