//! The primitives of a real process.

use crate::futex;
use std::sync::atomic::Ordering;
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};
use std::time::Duration;

/// Counts wake-ups, in shared memory: threads of any process sleep until it changes.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct WakeCounter(AtomicU32);

impl WakeCounter {
    /// The value that [`sleep`](WakeCounter::sleep) compares with.
    #[inline]
    pub(crate) fn load(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Counts up and wakes one sleeping thread.
    #[inline]
    pub(crate) fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        futex::wake_one(&self.0);
    }

    /// Sleeps until woken or until the time-out; returns at once if the counter differs from `seen`.
    #[inline]
    pub(crate) fn sleep(&self, seen: u32, timeout: Duration) {
        // However the wait ended, the caller looks again.
        let _ = futex::wait(&self.0, seen, timeout);
    }
}
