//! Cancellation and time limits.
//!
//! The results of such a call fail at once. A queued call is removed; the sequential thread drops a pending call as
//! soon as its code is off the stack; code on the stack gets the error from its next request, and its result is
//! discarded.

use super::{Effects, Progress, State};
use rustc_hash::FxHashMap;
use std::time::{Duration, Instant};
use unidist_backend::{CallResult, Which};
use unidist_common::{DataId, ErrorKind, Target, TaskError, TaskId};

#[derive(Default)]
pub(super) struct Cancellations {
    /// Started calls with a time limit.
    limited: FxHashMap<TaskId, Limit>,
    /// Calls whose results have already failed, with the error, while their code is on the stack or pending.
    cancelled: FxHashMap<TaskId, TaskError>,
    /// Those of them that are pending with the runner.
    to_drop: Vec<TaskId>,
    /// Whether dropping them may be possible now.
    recheck: bool,
}

#[derive(Clone, Copy)]
struct Limit {
    limit: Duration,
    /// `None` if the deadline is beyond what `Instant` can express.
    until: Option<Instant>,
}

impl Cancellations {
    pub(super) fn has_to_drop(&self) -> bool {
        self.recheck && !self.to_drop.is_empty()
    }

    pub(super) fn take_to_drop(&mut self) -> Option<Vec<TaskId>> {
        let has = self.has_to_drop();
        self.recheck = false;
        has.then(|| self.to_drop.clone())
    }

    /// The call's code has returned: `stays` if it is pending with the runner now.
    pub(super) fn code_returned(&mut self, id: TaskId, stays: bool) {
        if self.cancelled.is_empty() {
            return;
        }
        if stays && self.cancelled.contains_key(&id) {
            self.to_drop.push(id);
            self.recheck = true;
        } else if !stays {
            self.cancelled.remove(&id);
            self.to_drop.retain(|other| *other != id);
        }
    }

    /// The result of a call that has ended, or the error if its deadline has passed.
    pub(super) fn check_deadline(&mut self, id: TaskId, result: CallResult) -> CallResult {
        match self.limited.remove(&id) {
            Some(limit) if limit.is_over(Instant::now()) => Err(limit.error()),
            _ => result,
        }
    }
}

impl Limit {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    fn error(&self) -> TaskError {
        let limit = self.limit;
        TaskError::new(ErrorKind::TimedOut, format!("it did not end within its time limit of {limit:?}"))
    }
}

impl State {
    /// A call with a time limit has started.
    pub(crate) fn started(&mut self, id: TaskId, limit: Duration) {
        if self.calls.contains_key(&id) {
            let until = Instant::now().checked_add(limit);
            self.cancellations.limited.insert(id, Limit { limit, until });
        }
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.cancellations.limited.values().filter_map(|limit| limit.until).min()
    }

    /// Fails the calls whose deadline has passed.
    pub(crate) fn end_overdue(&mut self) -> Option<Effects> {
        if self.cancellations.limited.is_empty() {
            return None;
        }
        let now = Instant::now();
        let over = self.cancellations.limited.iter().filter(|(_, limit)| limit.is_over(now));
        let mut over: Vec<_> = over.map(|(id, limit)| (*id, limit.error())).collect();
        over.sort_unstable_by_key(|(id, _)| *id);
        let mut effects = None;
        for (id, error) in over {
            let ended = self.end_early(id, error);
            effects.get_or_insert_with(Effects::default).extend(ended);
        }
        effects
    }

    /// The call that makes this object, if it can be cancelled: it has not ended and is no constructor.
    pub(crate) fn cancellable(&self, id: DataId, which: Which) -> Option<TaskId> {
        let call = self.directory.unsettled_by(id)?;
        let is_meant = |progress: Progress| which == Which::All || progress == Progress::Queued;
        let found = self.calls.get(&call)?;
        (found.target != Target::NewActor && is_meant(found.progress)).then_some(call)
    }

    /// Fails the call's results now, whatever its progress.
    pub(crate) fn end_early(&mut self, id: TaskId, error: TaskError) -> Effects {
        let Some(call) = self.calls.get(&id) else {
            self.cancellations.limited.remove(&id);
            return Effects::default();
        };
        let error = error.of_function(&call.name);
        match call.progress {
            Progress::Queued => {
                self.queue.remove(id);
            }
            Progress::Running => {
                self.cancellations.cancelled.insert(id, error.clone());
            }
            Progress::Pending => {
                self.cancellations.cancelled.insert(id, error.clone());
                self.cancellations.to_drop.push(id);
                self.cancellations.recheck = true;
            }
        }
        self.cancellations.limited.remove(&id);
        self.settle(id, Err(error))
    }

    /// The error of this running call if it was cancelled or ran out of time.
    pub(crate) fn why_cancelled(&self, id: TaskId) -> Option<TaskError> {
        self.cancellations.cancelled.get(&id).cloned()
    }

    /// Code has left the stack, so a call that could not be dropped may be droppable now.
    pub(crate) fn recheck_drops(&mut self) {
        self.cancellations.recheck = true;
    }
}
