//! How a thread waits on its doorbell: it spins for a while, then sleeps for growing times.

use crate::{Doorbell, ExponentialBackoff, spin_briefly};
use std::time::{Duration, Instant};

/// The wait of one thread, from its last progress on.
#[derive(Debug)]
pub struct IdleWait {
    since: Option<Instant>,
    sleeps: ExponentialBackoff,
}

impl IdleWait {
    /// The first sleep, and the shortest.
    pub const MIN_SLEEP: Duration = Duration::from_millis(1);
    /// A waiting thread looks at least this often, because a ringer may die before it wakes the thread.
    pub const MAX_SLEEP: Duration = Duration::from_millis(100);

    /// The thread has made progress: the next wait begins anew.
    #[inline]
    pub fn reset(&mut self) {
        self.since = None;
        self.sleeps.reset();
    }

    /// Spins once, unless the wait is as old as `limit`. True if it spun, after which the caller looks again.
    #[inline]
    pub fn spin(&mut self, now: Instant, limit: Duration) -> bool {
        let spins = now.duration_since(*self.since.get_or_insert(now)) < limit;
        if spins {
            spin_briefly();
        }
        spins
    }

    /// The length of the next sleep; the one after it is longer.
    #[inline]
    pub fn next_sleep(&mut self) -> Duration {
        self.sleeps.next_pause()
    }

    /// One round of the driver's wait, after it has found nothing to do: it spins once, or sleeps until the bell rings, at
    /// most until the deadline. `has_work` is checked between the announcement and the sleep.
    #[inline]
    pub fn wait(
        &mut self,
        bell: &Doorbell,
        spin_limit: Duration,
        deadline: Option<Instant>,
        has_work: impl FnOnce() -> bool,
    ) {
        let now = Instant::now();
        if !self.spin(now, spin_limit) {
            bell.sleep_as_driver(|| (!has_work()).then(|| time_until(deadline, now, self.next_sleep())));
        }
    }
}

impl Default for IdleWait {
    fn default() -> Self {
        let sleeps = ExponentialBackoff::new(IdleWait::MIN_SLEEP, IdleWait::MAX_SLEEP);
        IdleWait { since: None, sleeps }
    }
}

/// The time from `now` to the deadline, at most `limit`.
#[inline]
pub fn time_until(deadline: Option<Instant>, now: Instant, limit: Duration) -> Duration {
    deadline.map_or(limit, |at| at.saturating_duration_since(now).min(limit))
}

#[cfg(all(test, not(unidist_loom)))]
mod tests {
    use super::*;

    #[test]
    fn wait_spins_up_to_the_limit_from_its_first_round() {
        let start = Instant::now();
        let limit = Duration::from_micros(20);
        let mut wait = IdleWait::default();
        assert!(wait.spin(start, limit) && wait.spin(start + limit / 2, limit));
        assert!(!wait.spin(start + limit, limit));
        wait.reset();
        assert!(wait.spin(start + limit, limit));
        assert!(!IdleWait::default().spin(start, Duration::ZERO));
    }

    #[test]
    fn sleeps_grow_only_if_the_thread_sleeps() {
        let (bell, mut wait, now) = (Doorbell::default(), IdleWait::default(), Instant::now());
        wait.wait(&bell, Duration::ZERO, None, || true);
        assert_eq!(wait.sleeps.pause(), IdleWait::MIN_SLEEP);
        wait.wait(&bell, Duration::ZERO, Some(now), || false);
        assert_eq!(wait.sleeps.pause(), 2 * IdleWait::MIN_SLEEP);
        assert!((0..9).all(|_| wait.next_sleep() <= IdleWait::MAX_SLEEP));
        wait.reset();
        assert_eq!(wait.next_sleep(), IdleWait::MIN_SLEEP);
    }

    #[test]
    fn time_until_ends_at_the_deadline_or_the_limit() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(time_until(None, now, second), second);
        assert_eq!(time_until(Some(now + second / 2), now, second), second / 2);
        assert_eq!(time_until(Some(now + 2 * second), now, second), second);
        assert_eq!(time_until(Some(now), now + second, second), Duration::ZERO);
    }
}
