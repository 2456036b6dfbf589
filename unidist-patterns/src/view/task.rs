//! A task: one call for one engine, from its submission until its outcome is dropped.
//!
//! It is *queued* while it waits in the client, then *sent*, and it has *ended* when it has an outcome, which never
//! changes. A thread that waits for tasks does so on a [`Completions`], which each task notifies.

use super::call::{AnyCall, AnyValue, Cancel};
use super::error::{EngineId, Result, ViewError};
use super::record::{TaskId, TaskRecord, TaskStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Where a task runs; kept for a resubmission.
#[derive(Clone)]
pub(crate) enum Placement {
    /// On this engine.
    Engine(EngineId),
    /// On the engine that the load balancer chooses.
    Balanced(super::load_balancer::Requirements),
}

pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) call: Arc<dyn AnyCall>,
    pub(crate) placement: Placement,
    state: Mutex<TaskState>,
}

struct TaskState {
    record: TaskRecord,
    outcome: Option<Result<AnyValue>>,
    cancel: Option<Cancel>,
    is_aborted: bool,
    waiters: Vec<(Arc<Completions>, usize)>,
}

impl Task {
    pub(crate) fn new(record: TaskRecord, call: Arc<dyn AnyCall>, placement: Placement) -> Arc<Self> {
        let state = TaskState { record, outcome: None, cancel: None, is_aborted: false, waiters: Vec::new() };
        Arc::new(Task { id: state.record.id, call, placement, state: Mutex::new(state) })
    }

    pub(crate) fn record(&self) -> TaskRecord {
        self.lock().record.clone()
    }

    pub(crate) fn engine(&self) -> Option<EngineId> {
        self.lock().record.engine
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().outcome.is_some()
    }

    pub(crate) fn outcome(&self) -> Option<Result<AnyValue>> {
        self.lock().outcome.clone()
    }

    /// Marks it as sent to this engine. Returns the number of the attempt, or `None` if the task has ended or was
    /// aborted.
    pub(crate) fn mark_sent(&self, engine: EngineId) -> Option<u32> {
        let mut state = self.lock();
        if state.outcome.is_some() || state.is_aborted {
            return None;
        }
        state.record.retries += u32::from(state.record.engine.is_some());
        state.record.engine = Some(engine);
        state.record.status = TaskStatus::Sent;
        Some(state.record.retries)
    }

    /// Marks it as queued again. Returns the ended call's cancel function, which holds its ref.
    #[must_use]
    pub(crate) fn mark_requeued(&self) -> Option<Cancel> {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return None;
        }
        state.record.status = TaskStatus::Queued;
        state.cancel.take()
    }

    /// Sets how the call of this attempt is cancelled. If the task was aborted meanwhile, returns it, to be called now.
    #[must_use]
    pub(crate) fn set_cancel(&self, attempt: u32, cancel: Cancel) -> Option<Cancel> {
        let mut state = self.lock();
        if state.outcome.is_some() || state.record.retries != attempt {
            return None;
        }
        if state.is_aborted {
            return Some(cancel);
        }
        state.cancel = Some(cancel);
        None
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.lock().is_aborted
    }

    /// Marks it as aborted. Returns how its call is cancelled, if it was sent.
    pub(crate) fn abort(&self) -> Option<Cancel> {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return None;
        }
        state.is_aborted = true;
        state.cancel.clone()
    }

    /// Sets the outcome, unless there is one. The returned waiters have to be notified.
    pub(crate) fn complete(
        &self,
        outcome: Result<AnyValue>,
        times: Option<(SystemTime, SystemTime)>,
    ) -> Option<Waiters> {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return None;
        }
        state.record.status = match &outcome {
            Ok(_) => TaskStatus::Completed,
            Err(ViewError::Aborted { .. }) => TaskStatus::Aborted,
            Err(_) => TaskStatus::Failed,
        };
        state.record.error = outcome.as_ref().err().map(ToString::to_string);
        state.record.started = times.map(|(started, _)| started);
        state.record.completed = Some(times.map_or_else(SystemTime::now, |(_, completed)| completed));
        state.outcome = Some(outcome);
        let waiters = Waiters(std::mem::take(&mut state.waiters));
        let cancel = state.cancel.take();
        drop(state);
        drop(cancel); // it holds the ref
        Some(waiters)
    }

    /// Records `index` in `completions` when the task ends, at once if it has ended.
    pub(crate) fn notify_on_end(&self, completions: &Arc<Completions>, index: usize) {
        let mut state = self.lock();
        if state.outcome.is_none() {
            state.waiters.push((completions.clone(), index));
            return;
        }
        drop(state);
        completions.record(index);
    }

    fn lock(&self) -> MutexGuard<'_, TaskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waiters of a task that has ended.
#[must_use]
pub(crate) struct Waiters(Vec<(Arc<Completions>, usize)>);

impl Waiters {
    pub(crate) fn notify(self) {
        self.0.into_iter().for_each(|(completions, index)| completions.record(index));
    }
}

/// The order in which some tasks end; threads wait on it.
#[derive(Default)]
pub(crate) struct Completions {
    /// The indices of the ended tasks, in the order of their ends.
    ended: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl Completions {
    /// The completions of these tasks.
    pub(crate) fn of<'a>(tasks: impl IntoIterator<Item = &'a Arc<Task>>) -> Arc<Self> {
        let completions = Arc::new(Completions::default());
        tasks.into_iter().enumerate().for_each(|(index, task)| task.notify_on_end(&completions, index));
        completions
    }

    fn record(&self, index: usize) {
        self.lock().push(index);
        self.changed.notify_all();
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// The index of the task that ended as number `turn`, counted from 0; waits for it.
    pub(crate) fn nth(&self, turn: usize) -> Option<usize> {
        self.wait(turn + 1, None);
        self.lock().get(turn).copied()
    }

    /// Waits until `count` tasks have ended or the time-out has passed. Returns how many have ended.
    pub(crate) fn wait(&self, count: usize, timeout: Option<Duration>) -> usize {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut ended = self.lock();
        while ended.len() < count {
            ended = match deadline {
                None => self.changed.wait(ended).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    if rest.is_zero() {
                        break;
                    }
                    self.changed.wait_timeout(ended, rest).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        ended.len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
