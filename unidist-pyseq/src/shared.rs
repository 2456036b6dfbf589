//! The state that the threads of a session share, behind one lock.

use crate::state::{Effects, Goal, Phase, State};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The state, its lock and the condition variable for its changes.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// How a wait ended.
#[derive(Debug, PartialEq)]
pub(crate) enum WaitOutcome {
    Met,
    TimedOut,
    SessionEnded,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Shared { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Locks the state. No user code may run while it is locked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, wakes all waiting threads, and runs the effects.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State) -> Effects) {
        let effects = change(&mut self.lock());
        self.changed.notify_all();
        effects.run();
    }

    /// Changes the state in a way that no thread waits for; wakes the sequential thread if it has something to do now.
    pub(crate) fn change_quietly(&self, change: impl FnOnce(&mut State) -> Effects) {
        let (effects, is_idle) = {
            let mut state = self.lock();
            (change(&mut state), state.is_idle())
        };
        if !is_idle {
            self.changed.notify_all();
        }
        effects.run();
    }

    /// Wakes the waiting threads to look at the state again.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Sleeps until the state changes or the deadline passes.
    pub(crate) fn sleep<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        match until {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let rest = until.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Waits for `goal` on a thread of the program.
    pub(crate) fn wait_for(&self, goal: Goal<'_>, until: Option<Instant>) -> WaitOutcome {
        let mut state = self.lock();
        loop {
            if state.phase == Phase::Ended {
                return WaitOutcome::SessionEnded;
            }
            if state.is_met(goal) {
                return WaitOutcome::Met;
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return WaitOutcome::TimedOut;
            }
            state = self.sleep(state, until);
        }
    }
}
