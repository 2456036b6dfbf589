//! Back-off of a thread that polls for an event of which nothing tells it.

use crate::MAX_SPIN;
use std::time::{Duration, Instant};

/// A pause is the time waited so far divided by this, so polling delays an event by at most an eighth.
const PAUSE_DIVISOR: u32 = 8;
/// No pause is longer.
const MAX_PAUSE: Duration = Duration::from_millis(10);

/// Pauses that grow in proportion to the time waited so far, after a spin of up to [`MAX_SPIN`].
#[derive(Debug)]
pub struct Backoff {
    since: Instant,
}

impl Backoff {
    /// The longest pause.
    pub const MAX_PAUSE: Duration = MAX_PAUSE;

    /// A wait that begins now.
    #[expect(clippy::new_without_default, reason = "the value depends on the time")]
    pub fn new() -> Self {
        Backoff { since: Instant::now() }
    }

    /// A wait that began earlier.
    pub fn since(since: Instant) -> Self {
        Backoff { since }
    }

    /// The length of the next pause; zero to spin.
    pub fn next_pause(&self) -> Duration {
        let waited = self.since.elapsed();
        if waited < MAX_SPIN { Duration::ZERO } else { (waited / PAUSE_DIVISOR).min(MAX_PAUSE) }
    }

    /// Spins once or sleeps, for at most `limit`.
    pub fn pause(&self, limit: Duration) {
        match self.next_pause().min(limit) {
            Duration::ZERO => std::hint::spin_loop(),
            time => std::thread::sleep(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_with_the_time_waited_up_to_the_limit() {
        let now = Instant::now();
        let pause = |ago| Backoff::since(now.checked_sub(ago).unwrap()).next_pause();
        assert!(pause(Duration::from_millis(8)) >= Duration::from_millis(1));
        assert!(pause(Duration::from_millis(8)) < MAX_PAUSE);
        assert_eq!(pause(Duration::from_secs(9)), MAX_PAUSE);
    }
}
