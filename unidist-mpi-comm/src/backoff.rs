//! Back-off of a poll: often at first, then ever more seldom.

use std::time::{Duration, Instant};

/// The time between two polls of something that sends no notification. It grows with the time waited.
#[derive(Debug)]
pub struct Backoff {
    since: Instant,
}

/// Spin this long before sleeping.
const SPIN: Duration = Duration::from_micros(20);
/// A pause is this fraction of the time waited so far.
const DIVISOR: u32 = 8;
/// The longest pause.
pub(crate) const MAX_PAUSE: Duration = Duration::from_millis(10);

impl Backoff {
    /// Starts now.
    #[expect(clippy::new_without_default, reason = "the value depends on the clock")]
    pub fn new() -> Self {
        Backoff { since: Instant::now() }
    }

    /// Started at an earlier time.
    pub fn since(since: Instant) -> Self {
        Backoff { since }
    }

    /// The length of the next pause; zero while it spins.
    pub fn next_pause(&self) -> Duration {
        let waited = self.since.elapsed();
        if waited < SPIN { Duration::ZERO } else { (waited / DIVISOR).min(MAX_PAUSE) }
    }

    /// Spins or sleeps, at most for `limit`.
    pub fn pause(&self, limit: Duration) {
        match self.next_pause().min(limit) {
            Duration::ZERO => std::hint::spin_loop(),
            time => std::thread::sleep(time),
        }
    }
}
