//! What the threads of a session share.

use crate::state::{After, Goal, Phase, State};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The state and its lock. Whoever changes something that others may wait for says so.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// How a wait ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Waited {
    Met,
    TimedOut,
    SessionEnded,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Shared { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The state. No code of the program may run until it is unlocked.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, says so, and does what is then left to do.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State) -> After) {
        let after = change(&mut self.lock());
        self.changed.notify_all();
        after.run();
    }

    /// Changes the state where nobody waits for the change, but for the sequential thread if it gets something to do.
    pub(crate) fn change_quietly(&self, change: impl FnOnce(&mut State) -> After) {
        let (after, is_idle) = {
            let mut state = self.lock();
            (change(&mut state), state.is_idle())
        };
        if !is_idle {
            self.changed.notify_all();
        }
        after.run();
    }

    /// Says that something has changed.
    pub(crate) fn tell(&self) {
        self.changed.notify_all();
    }

    /// Sleeps until something has changed or it is time.
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

    /// Waits for `goal` while the sequential thread works.
    pub(crate) fn wait_for(&self, goal: Goal<'_>, until: Option<Instant>) -> Waited {
        let mut state = self.lock();
        loop {
            if state.phase == Phase::Ended {
                return Waited::SessionEnded;
            }
            if state.is_met(goal) {
                return Waited::Met;
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Waited::TimedOut;
            }
            state = self.sleep(state, until);
        }
    }
}
