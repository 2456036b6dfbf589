//! The end of a session happens once, and everyone who asks for it waits for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// Where a session is with its end.
#[derive(Debug, Default)]
pub(super) struct ShutdownOnce {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    NotBegun,
    /// This thread is at it.
    Begun(ThreadId),
    Ended,
}

/// Held by who ends the session; dropped at its end.
#[derive(Debug)]
pub(super) struct ShutdownGuard<'a>(&'a ShutdownOnce);

impl ShutdownOnce {
    /// For the first who asks, the task of shutdown_once the session. Whoever asks later waits for that end, but for code
    /// that the first one runs meanwhile.
    pub(super) fn begin(&self) -> Option<ShutdownGuard<'_>> {
        let me = std::thread::current().id();
        let mut state = self.lock();
        loop {
            match *state {
                State::NotBegun => {
                    *state = State::Begun(me);
                    return Some(ShutdownGuard(self));
                }
                State::Begun(by) if by == me => return None,
                State::Begun(_) => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                State::Ended => return None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ShutdownGuard<'_> {
    fn drop(&mut self) {
        *self.0.lock() = State::Ended;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    #[test]
    fn the_second_waits_for_the_first() {
        let (shutdown_once, over) = (ShutdownOnce::default(), AtomicBool::new(false));
        let end = shutdown_once.begin().expect("it is the first");
        assert!(shutdown_once.begin().is_none(), "the same thread does not wait for itself");
        let (asks, asked) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                asks.send(()).unwrap();
                assert!(shutdown_once.begin().is_none());
                assert!(over.load(Ordering::SeqCst));
            });
            asked.recv().unwrap();
            over.store(true, Ordering::SeqCst);
            drop(end);
        });
        assert!(shutdown_once.begin().is_none());
    }
}
