//! Pauses that double up to a limit.

use std::time::Duration;

/// The pauses of a thread that looks again after each of them: each is twice as long as the one before, up to a limit.
#[derive(Clone, Debug)]
pub struct ExponentialBackoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl ExponentialBackoff {
    /// Pauses that grow from `first` to `limit`.
    pub const fn new(first: Duration, limit: Duration) -> Self {
        ExponentialBackoff { first, limit, next: first }
    }

    /// The length of the next pause.
    #[inline]
    pub fn pause(&self) -> Duration {
        self.next
    }

    /// The length of the next pause; the one after it is longer.
    #[inline]
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.grow();
        pause
    }

    /// Doubles the next pause.
    #[inline]
    pub fn grow(&mut self) {
        self.next = (self.next * 2).min(self.limit);
    }

    /// Something has happened: the next pause is the first again.
    #[inline]
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit() {
        let mut backoff = ExponentialBackoff::new(Duration::from_millis(1), Duration::from_millis(10));
        let pauses: Vec<_> = (0..6).map(|_| backoff.next_pause().as_millis()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        backoff.reset();
        assert_eq!(backoff.pause(), Duration::from_millis(1));
    }
}
