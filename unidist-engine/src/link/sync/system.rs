//! The real ones.

use rustix::thread::futex;
use std::sync::atomic::Ordering;
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};
use std::time::Duration;

/// A word in shared memory on which threads of any process sleep.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Word(AtomicU32);

impl Word {
    /// What [`sleep`](Word::sleep) compares with.
    #[inline]
    pub(crate) fn load(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Changes the word and wakes one who sleeps on it.
    #[inline]
    pub(crate) fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        // It fails only for an address that is no futex, and this one is.
        let _ = futex::wake(&self.0, futex::Flags::empty(), 1);
    }

    /// Sleeps until woken or until the time is over; returns at once if the word is not `seen` any more.
    #[inline]
    pub(crate) fn sleep(&self, seen: u32, timeout: Duration) {
        let timeout = futex::Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        // Rung already, woken, interrupted or timed out: in every case the caller looks.
        let _ = futex::wait(&self.0, futex::Flags::empty(), seen, Some(&timeout));
    }
}
