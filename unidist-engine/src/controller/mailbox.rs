//! What the threads of the program hand to whoever drives.

use super::supervisor::Notice;
use crate::link::message::{Ask, FromWorker};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the driver shares with the other threads of the controller.
#[derive(Debug)]
pub(crate) struct Mailbox {
    letters: Mutex<Letters>,
    /// Whether there are letters, readable without the lock.
    full: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Letters {
    pub(super) asks: Vec<Ask>,
    pub(super) notices: Vec<Notice>,
    /// What concerns the store, of which the scheduler knows nothing.
    pub(super) store: Vec<FromWorker>,
    pub(super) shutdown: bool,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Mailbox { letters: Mutex::default(), full: AtomicBool::new(false) }
    }

    pub(crate) fn ask(&self, ask: Ask) {
        self.put(|letters| letters.asks.push(ask));
    }

    pub(crate) fn notice(&self, notice: Notice) {
        self.put(|letters| letters.notices.push(notice));
    }

    /// `Allocate` or `StoreUsage`.
    pub(crate) fn ask_store(&self, message: FromWorker) {
        self.put(|letters| letters.store.push(message));
    }

    pub(crate) fn shutdown(&self) {
        self.put(|letters| letters.shutdown = true);
    }

    fn put(&self, write: impl FnOnce(&mut Letters)) {
        let mut letters = self.lock();
        write(&mut letters);
        self.full.store(true, Ordering::Release);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(super) fn empty_into(&self, out: &mut Letters) {
        let mut letters = self.lock();
        self.full.store(false, Ordering::Release);
        std::mem::swap(&mut *letters, out);
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
