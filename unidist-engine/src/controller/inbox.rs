//! What other threads hand to whoever drives.

use crate::host::supervisor::ProcessEvent;
use crate::protocol::worker::{FromWorker, Request};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the driver shares with the other threads of the controller.
#[derive(Debug)]
pub(crate) struct Inbox {
    letters: Mutex<Letters>,
    /// Whether there are letters, readable without the lock.
    full: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Letters {
    pub(super) asks: Vec<Request>,
    pub(super) notices: Vec<ProcessEvent>,
    /// What concerns the store, of which the scheduler knows nothing.
    pub(super) store: Vec<FromWorker>,
    pub(super) shutdown: bool,
    /// The session is over: nobody reads what is put in.
    closed: bool,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Inbox { letters: Mutex::default(), full: AtomicBool::new(false) }
    }

    /// False if nobody will read it, as the session is over.
    pub(crate) fn ask(&self, ask: Request) -> bool {
        self.deliver(ask, |letters| &mut letters.asks)
    }

    /// `Allocate` or `StoreUsage`; false if nobody will read it, as the session is over.
    pub(crate) fn ask_store(&self, message: FromWorker) -> bool {
        self.deliver(message, |letters| &mut letters.store)
    }

    fn deliver<T>(&self, letter: T, to: fn(&mut Letters) -> &mut Vec<T>) -> bool {
        let mut letter = Some(letter);
        self.put(|letters| {
            if !letters.closed {
                to(letters).extend(letter.take());
            }
        });
        letter.is_none() // what was not taken is dropped without the lock
    }

    /// Nothing that is put in from now on is kept.
    pub(crate) fn close(&self) {
        let mut left = Letters { closed: true, ..Letters::default() };
        std::mem::swap(&mut *self.lock(), &mut left);
        self.full.store(false, Ordering::Release);
    }

    pub(crate) fn notice(&self, notice: ProcessEvent) {
        self.put(|letters| letters.notices.push(notice));
    }

    pub(crate) fn shutdown(&self) {
        self.put(|letters| letters.shutdown = true);
    }

    fn put(&self, write: impl FnOnce(&mut Letters)) {
        let mut letters = self.lock();
        write(&mut letters);
        self.full.store(!letters.closed, Ordering::Release);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(super) fn empty_into(&self, out: &mut Letters) {
        let mut letters = self.lock();
        self.full.store(false, Ordering::Release);
        out.closed = letters.closed;
        std::mem::swap(&mut *letters, out);
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::{DataId, ProcessId};

    #[test]
    fn nothing_is_kept_after_the_end() {
        let (inbox, id) = (Inbox::new(), DataId::new(ProcessId::CONTROLLER, 1));
        assert!(inbox.ask(Request::Retain(id)) && inbox.is_full());
        let mut letters = Letters::default();
        inbox.empty_into(&mut letters);
        assert_eq!((letters.asks.len(), inbox.is_full()), (1, false));
        assert!(inbox.ask(Request::Release(id)));
        inbox.close();
        assert!(!inbox.ask(Request::Release(id)) && !inbox.is_full());
        assert!(inbox.lock().asks.is_empty());
    }
}
