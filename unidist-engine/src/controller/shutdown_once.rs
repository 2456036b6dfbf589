//! Shuts a session down once; later callers wait for the first.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

/// The state of the shutdown.
#[derive(Debug, Default)]
pub(super) struct ShutdownOnce {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    NotBegun,
    /// This thread runs it.
    Begun(ThreadId),
    Ended,
}

/// Held by the thread that shuts the session down; on drop, the shutdown is complete.
#[derive(Debug)]
pub(super) struct ShutdownGuard<'a>(&'a ShutdownOnce);

impl ShutdownOnce {
    /// A guard for the first caller, which has to shut the session down. Later callers wait until it has, except in
    /// code that the first caller runs meanwhile.
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
    fn shutdown_second_caller_waits_for_the_first() {
        let (shutdown, done) = (ShutdownOnce::default(), AtomicBool::new(false));
        let end = shutdown.begin().expect("the first caller gets the guard");
        assert!(shutdown.begin().is_none(), "the same thread does not wait for itself");
        let (asks, asked) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                asks.send(()).unwrap();
                assert!(shutdown.begin().is_none());
                assert!(done.load(Ordering::SeqCst));
            });
            asked.recv().unwrap();
            done.store(true, Ordering::SeqCst);
            drop(end);
        });
        assert!(shutdown.begin().is_none());
    }
}
