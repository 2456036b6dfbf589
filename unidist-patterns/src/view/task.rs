//! A task: one call for one engine, from the moment when it is handed in until somebody has seen how it ended.
//!
//! It is *queued*, if it waits in the client, then *sent*, and it has *ended* when it has an outcome, which never changes.
//! Who waits for tasks has a [`Gate`], which each of them tells.

use super::call::{AnyCall, AnyValue, Cancel};
use super::error::{EngineId, Result, ViewError};
use super::record::{TaskId, TaskRecord, TaskStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// What a task was handed in with, for when it is handed in again.
#[derive(Clone)]
pub(crate) enum Placement {
    /// For this engine.
    Engine(EngineId),
    /// For any, as the balancer finds.
    Balanced(super::balancing::Job),
}

pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) call: Arc<dyn AnyCall>,
    pub(crate) placement: Placement,
    state: Mutex<State>,
}

struct State {
    record: TaskRecord,
    outcome: Option<Result<AnyValue>>,
    cancel: Option<Cancel>,
    is_aborted: bool,
    gates: Vec<(Arc<Gate>, usize)>,
}

impl Task {
    pub(crate) fn new(record: TaskRecord, call: Arc<dyn AnyCall>, placement: Placement) -> Arc<Self> {
        let state = State { record, outcome: None, cancel: None, is_aborted: false, gates: Vec::new() };
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

    /// Notes that it is given to this engine, and gives the number of the attempt; none if it has ended or was aborted
    /// before.
    pub(crate) fn sent_to(&self, engine: EngineId) -> Option<u32> {
        let mut state = self.lock();
        if state.outcome.is_some() || state.is_aborted {
            return None;
        }
        state.record.retries += u32::from(state.record.engine.is_some());
        state.record.engine = Some(engine);
        state.record.status = TaskStatus::Sent;
        Some(state.record.retries)
    }

    /// Notes that it waits for another engine, and gives up what would cancel the call that has ended, with its ref.
    #[must_use]
    pub(crate) fn queued_again(&self) -> Option<Cancel> {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return None;
        }
        state.record.status = TaskStatus::Queued;
        state.cancel.take()
    }

    /// Notes how the call of this attempt is cancelled. If it was aborted meanwhile, that is to be done now.
    #[must_use]
    pub(crate) fn can_be_cancelled(&self, attempt: u32, cancel: Cancel) -> Option<Cancel> {
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

    /// Notes that nobody wants it any more; how its call is cancelled, if it has been sent.
    pub(crate) fn abort(&self) -> Option<Cancel> {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return None;
        }
        state.is_aborted = true;
        state.cancel.clone()
    }

    /// Gives it its outcome, unless it has one. Whoever waits is told by what this gives.
    pub(crate) fn end(
        &self,
        outcome: Result<AnyValue>,
        times: Option<(SystemTime, SystemTime)>,
    ) -> Option<Waiting> {
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
        let waiting = Waiting(std::mem::take(&mut state.gates));
        let cancel = state.cancel.take();
        drop(state);
        drop(cancel); // with its ref
        Some(waiting)
    }

    /// Has the gate told, as of its task of this number, when it ends: at once if it has.
    pub(crate) fn tell(&self, gate: &Arc<Gate>, place: usize) {
        let mut state = self.lock();
        if state.outcome.is_none() {
            state.gates.push((gate.clone(), place));
            return;
        }
        drop(state);
        gate.pass(place);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who wait for a task that has ended.
#[must_use]
pub(crate) struct Waiting(Vec<(Arc<Gate>, usize)>);

impl Waiting {
    pub(crate) fn tell(self) {
        self.0.into_iter().for_each(|(gate, place)| gate.pass(place));
    }
}

/// Where threads wait for some tasks.
#[derive(Default)]
pub(crate) struct Gate {
    /// The numbers of those that have ended, in that order.
    ended: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl Gate {
    /// One for these tasks.
    pub(crate) fn of<'a>(tasks: impl IntoIterator<Item = &'a Arc<Task>>) -> Arc<Self> {
        let gate = Arc::new(Gate::default());
        tasks.into_iter().enumerate().for_each(|(place, task)| task.tell(&gate, place));
        gate
    }

    fn pass(&self, place: usize) {
        self.lock().push(place);
        self.changed.notify_all();
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// The one that ended as the `turn`-th; waits for it.
    pub(crate) fn nth(&self, turn: usize) -> Option<usize> {
        self.wait(turn + 1, None);
        self.lock().get(turn).copied()
    }

    /// Waits until so many have ended or the time is over; how many have.
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
