//! The end of something, and who is told of it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How a future ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Value,
    Failed,
    Cancelled,
}

/// Whom to tell. It runs on a thread that the session needs, so it must not wait.
pub(super) type Then = Box<dyn FnOnce(End) + Send>;

/// Something that ends once.
#[derive(Default)]
pub(super) struct Notice {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    end: Option<End>,
    then: Vec<Then>,
}

impl Notice {
    pub(super) fn end(&self) -> Option<End> {
        self.lock().end
    }

    /// Ends it, unless it has ended: whether it does so now.
    pub(super) fn settle(&self, end: End) -> bool {
        let then = {
            let mut state = self.lock();
            if state.end.is_some() {
                return false;
            }
            state.end = Some(end);
            std::mem::take(&mut state.then)
        };
        self.changed.notify_all();
        then.into_iter().for_each(|then| then(end));
        true
    }

    /// Has `then` told, at once if it has ended.
    pub(super) fn tell(&self, then: Then) {
        let end = {
            let mut state = self.lock();
            match state.end {
                Some(end) => end,
                None => return state.then.push(then),
            }
        };
        then(end);
    }

    /// Waits for the end: whether it came in time.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.end.is_none() {
            match sleep(&self.changed, state, deadline) {
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

/// Sleeps until the condition changes; none when the time is over.
pub(super) fn sleep<'a, T>(
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

/// What a panic of a user's callback left behind a lock is whole: no lock is held around one.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The notice of what has ended already.
pub(super) fn ended(end: End) -> Arc<Notice> {
    let notice = Notice::default();
    notice.settle(end);
    Arc::new(notice)
}
