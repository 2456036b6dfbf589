//! A one-time event with callbacks: the end of a future.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How a future ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndStatus {
    Value,
    Failed,
    Cancelled,
}

/// A callback. It runs on a thread that the session needs, so it must not block.
pub(super) type OnEnd = Box<dyn FnOnce(EndStatus) + Send>;

/// A one-time event.
#[derive(Default)]
pub(super) struct Completion {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    end: Option<EndStatus>,
    callbacks: Vec<OnEnd>,
}

impl Completion {
    pub(super) fn end(&self) -> Option<EndStatus> {
        self.lock().end
    }

    /// Sets the end status, unless it is set. Returns whether this call set it.
    pub(super) fn complete(&self, end: EndStatus) -> bool {
        let callbacks = {
            let mut state = self.lock();
            if state.end.is_some() {
                return false;
            }
            state.end = Some(end);
            std::mem::take(&mut state.callbacks)
        };
        self.changed.notify_all();
        callbacks.into_iter().for_each(|callback| callback(end));
        true
    }

    /// Calls `callback` at the end, or at once if it has ended.
    pub(super) fn on_end(&self, callback: OnEnd) {
        let end = {
            let mut state = self.lock();
            match state.end {
                Some(end) => end,
                None => return state.callbacks.push(callback),
            }
        };
        callback(end);
    }

    /// Waits for the end. Returns whether it came before the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.end.is_none() {
            match wait_on(&self.changed, state, deadline) {
                Some(woken) => state = woken,
                None => return self.end().is_some(),
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Waits on a condition variable; `None` when the deadline has passed.
pub(super) fn wait_on<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> Option<MutexGuard<'a, T>> {
    match deadline {
        None => Some(changed.wait(guard).unwrap_or_else(PoisonError::into_inner)),
        Some(deadline) => {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            Some(changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0)
        }
    }
}

/// Locks, ignoring poisoning: no lock is held while user code runs, so the data are consistent.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A completion that has ended already.
pub(super) fn already_ended(end: EndStatus) -> Arc<Completion> {
    let completion = Completion::default();
    completion.complete(end);
    Arc::new(completion)
}
