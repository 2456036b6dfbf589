//! The futex: sleeping on a word of shared memory. The words may be mapped by several processes, so the private variant
//! of the system call is not used.

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// How a [`wait`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The thread was woken or interrupted, or the word had another value.
    Woken,
    /// The time-out elapsed.
    TimedOut,
}

/// Sleeps while `word` is `expected`, until woken or until the time-out. A caller has to check its condition afterwards
/// in either case.
#[inline]
pub fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> WaitOutcome {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match futex::wait(word, Flags::empty(), expected, Some(&timeout)) {
        Err(Errno::TIMEDOUT) => WaitOutcome::TimedOut,
        _ => WaitOutcome::Woken,
    }
}

/// Wakes one thread that sleeps on `word`.
#[inline]
pub fn wake_one(word: &AtomicU32) {
    // The call fails only for an address that is not mapped or not aligned.
    let _ = futex::wake(word, Flags::empty(), 1);
}

/// Wakes every thread that sleeps on `word`.
#[inline]
pub fn wake_all(word: &AtomicU32) {
    // The call fails only for an address that is not mapped or not aligned.
    let _ = futex::wake(word, Flags::empty(), i32::MAX.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_tells_a_time_out_from_a_changed_word() {
        let word = AtomicU32::new(3);
        assert_eq!(wait(&word, 3, Duration::from_millis(1)), WaitOutcome::TimedOut);
        assert_eq!(wait(&word, 2, Duration::from_secs(60)), WaitOutcome::Woken);
    }
}
