//! Calls that end early: cancelled, or out of time.
//!
//! Their results fail at once. What is queued is gone with that; what the runner has is dropped by the sequential thread
//! as soon as it may; code on the stack is told so when it asks for something, and what it returns is discarded.

use super::{After, Progress, State};
use rustc_hash::FxHashMap;
use std::time::{Duration, Instant};
use unidist_backend::{CallResult, Which};
use unidist_common::{DataId, ErrorKind, Target, TaskError};

#[derive(Default)]
pub(super) struct Early {
    /// Calls that have started and may run for so long only.
    limited: FxHashMap<DataId, Limit>,
    /// Calls whose results have failed, while their code is on the stack or with the runner, and why.
    cancelled: FxHashMap<DataId, TaskError>,
    /// Those of them that the runner has.
    to_drop: Vec<DataId>,
    /// Whether it may be possible now to drop them.
    look: bool,
}

#[derive(Clone, Copy)]
struct Limit {
    limit: Duration,
    /// None if it is too far to be told.
    until: Option<Instant>,
}

impl Early {
    pub(super) fn has_to_drop(&self) -> bool {
        self.look && !self.to_drop.is_empty()
    }

    pub(super) fn take_to_drop(&mut self) -> Option<Vec<DataId>> {
        let has = self.has_to_drop();
        self.look = false;
        has.then(|| self.to_drop.clone())
    }

    /// The call's code has returned: for good, or to be gone on with by the runner.
    pub(super) fn came_back(&mut self, id: DataId, stays: bool) {
        if self.cancelled.is_empty() {
            return;
        }
        if stays && self.cancelled.contains_key(&id) {
            self.to_drop.push(id);
            self.look = true;
        } else if !stays {
            self.cancelled.remove(&id);
            self.to_drop.retain(|other| *other != id);
        }
    }

    /// The result of a call that has ended, if that was in time.
    pub(super) fn in_time(&mut self, id: DataId, result: CallResult) -> CallResult {
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
    /// A call has started that may run for so long.
    pub(crate) fn started(&mut self, id: DataId, limit: Duration) {
        if self.calls.contains_key(&id) {
            let until = Instant::now().checked_add(limit);
            self.early.limited.insert(id, Limit { limit, until });
        }
    }

    /// When the next call is out of time.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.early.limited.values().filter_map(|limit| limit.until).min()
    }

    /// Ends the calls that are out of time.
    pub(crate) fn end_overdue(&mut self) -> Option<After> {
        if self.early.limited.is_empty() {
            return None;
        }
        let now = Instant::now();
        let over = self.early.limited.iter().filter(|(_, limit)| limit.is_over(now));
        let mut over: Vec<_> = over.map(|(id, limit)| (*id, limit.error())).collect();
        over.sort_unstable_by_key(|(id, _)| *id);
        let mut after = None;
        for (id, error) in over {
            let ended = self.end_early(id, error);
            after.get_or_insert_with(After::default).extend(ended);
        }
        after
    }

    /// The call that makes this object, if it may be cancelled: it has not ended and makes no actor.
    pub(crate) fn cancellable(&self, id: DataId, which: Which) -> Option<DataId> {
        let call = self.directory.unsettled_by(id)?;
        let is_meant = |progress: Progress| which == Which::All || progress == Progress::Queued;
        let found = self.calls.get(&call)?;
        (found.target != Target::NewActor && is_meant(found.progress)).then_some(call)
    }

    /// The call's results fail now, wherever it is.
    pub(crate) fn end_early(&mut self, id: DataId, error: TaskError) -> After {
        let Some(call) = self.calls.get(&id) else {
            self.early.limited.remove(&id);
            return After::default();
        };
        let error = error.of_function(&call.name);
        match call.progress {
            Progress::Queued => {
                self.queue.remove(id);
            }
            Progress::Running => {
                self.early.cancelled.insert(id, error.clone());
            }
            Progress::Pending => {
                self.early.cancelled.insert(id, error.clone());
                self.early.to_drop.push(id);
                self.early.look = true;
            }
        }
        self.early.limited.remove(&id);
        self.settle(id, Err(error))
    }

    /// Why this call, whose code runs, is to end; none if it is not.
    pub(crate) fn why_cancelled(&self, id: DataId) -> Option<TaskError> {
        self.early.cancelled.get(&id).cloned()
    }

    /// A call that could not be dropped, because its code was on the stack, may be one that can be now.
    pub(crate) fn look_again_at_what_is_to_drop(&mut self) {
        self.early.look = true;
    }
}
