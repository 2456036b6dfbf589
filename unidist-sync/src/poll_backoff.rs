//! Back-off of a thread that polls the network, which cannot ring a doorbell: how long it spins, and how long it sleeps
//! between two polls.

use crate::{ExponentialBackoff, IdleWait};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// How long to spin before a sleep while waits are shorter than this: about a round trip to another host. The virtual
/// processors of Linux wait in the same way (`halt_poll_ns`).
const LONG_SPIN: Duration = Duration::from_micros(100);
/// How long to spin while waits are longer.
const SHORT_SPIN: Duration = Duration::from_micros(5);
/// The first sleep after activity, and the shortest.
const MIN_SLEEP: Duration = Duration::from_micros(20);
/// The longest sleep while the network makes progress only when it is polled.
const MAX_BUSY_SLEEP: Duration = Duration::from_micros(50);
/// The longest sleep in all other cases.
const MAX_SLEEP: Duration = IdleWait::MAX_SLEEP;
/// Sleeps do not grow for this long after traffic: an answer that is about to be sent arrives sooner.
const GROWTH_DELAY: Duration = Duration::from_micros(200);
/// After this much time without traffic, the limit of sleeps doubles every `IDLE_STEP`, up to `MAX_IDLE_FACTOR` times the
/// back-off, where polling costs almost no CPU.
const IDLE_AFTER: Duration = Duration::from_millis(1250);
const IDLE_STEP: Duration = Duration::from_millis(250);
const MAX_IDLE_FACTOR: u32 = 50;

/// The back-off of one thread: sleeps are short after traffic and grow with the time since then.
#[derive(Debug)]
pub struct PollBackoff {
    max_sleep: Duration,
    sleeps: ExponentialBackoff,
    last_traffic: Instant,
    /// Since when the thread has had nothing to do.
    idle_since: Option<Instant>,
    spin_time: Duration,
}

impl PollBackoff {
    /// Sleeps of up to `backoff` while there is work; longer ones after a while without traffic.
    pub fn new(backoff: Duration, now: Instant) -> Self {
        PollBackoff {
            max_sleep: backoff.clamp(MIN_SLEEP, MAX_SLEEP),
            sleeps: ExponentialBackoff::new(MIN_SLEEP, MAX_SLEEP),
            last_traffic: now,
            idle_since: None,
            spin_time: LONG_SPIN,
        }
    }

    /// Notes that something has happened on this host.
    pub fn on_activity(&mut self, now: Instant) {
        self.sleeps.reset();
        if let Some(since) = self.idle_since.take() {
            let was_short = now.saturating_duration_since(since) < LONG_SPIN;
            self.spin_time = if was_short { LONG_SPIN } else { SHORT_SPIN };
        }
    }

    /// Notes that a message was sent or received.
    pub fn on_traffic(&mut self, now: Instant) {
        self.on_activity(now);
        self.last_traffic = now;
    }

    /// Notes that no thread waits any more, without a statement about the length of the wait.
    pub fn stop_waiting(&mut self) {
        self.idle_since = None;
    }

    /// How much longer to spin, now that there is nothing to do.
    pub fn spin_time_left(&mut self, now: Instant) -> Duration {
        let since = *self.idle_since.get_or_insert(now);
        self.spin_time.saturating_sub(now.saturating_duration_since(since))
    }

    /// How long to sleep now. `is_busy`: the network makes progress only when it is polled.
    pub fn next_sleep(&mut self, is_busy: bool, now: Instant) -> Duration {
        let idle = now.saturating_duration_since(self.last_traffic).saturating_sub(IDLE_AFTER);
        let steps = u32::try_from(idle.as_millis() / IDLE_STEP.as_millis()).unwrap_or(u32::MAX);
        let limit = (self.max_sleep * MAX_IDLE_FACTOR.min(1 << steps.min(16))).min(MAX_SLEEP);
        let sleep = self.sleeps.pause().min(limit);
        if now.saturating_duration_since(self.last_traffic) >= GROWTH_DELAY {
            self.sleeps.grow();
        }
        if is_busy { sleep.min(MAX_BUSY_SLEEP) } else { sleep }
    }
}

/// Sleeps of the current thread end on time while this value exists: by default the system ends them up to 50 µs late,
/// to wake several threads at once (timer slack).
#[derive(Debug)]
pub struct PreciseTimers(());

impl PreciseTimers {
    /// Sets the timer slack of the current thread to its minimum.
    #[expect(clippy::new_without_default, reason = "it changes the thread")]
    pub fn new() -> Self {
        // If the system refuses, sleeps take longer.
        let _ = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
        PreciseTimers(())
    }
}

impl Drop for PreciseTimers {
    fn drop(&mut self) {
        let _ = rustix::thread::set_current_timer_slack(None); // the default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spin_time_is_long_while_waits_are_short() {
        let start = Instant::now();
        let after = |us| start + Duration::from_micros(us);
        let mut backoff = PollBackoff::new(Duration::from_millis(1), start);
        assert_eq!(backoff.spin_time_left(after(10)), LONG_SPIN);
        assert_eq!(backoff.spin_time_left(after(30)), LONG_SPIN - Duration::from_micros(20));
        backoff.on_activity(after(40));
        assert_eq!(backoff.spin_time_left(after(50)), LONG_SPIN);
        assert_eq!(backoff.spin_time_left(after(250)), Duration::ZERO);
        backoff.on_activity(after(250));
        assert_eq!(backoff.spin_time_left(after(300)), SHORT_SPIN);
        backoff.on_activity(after(350));
        assert_eq!(backoff.spin_time_left(after(400)), LONG_SPIN);
        backoff.stop_waiting();
        assert_eq!(backoff.spin_time_left(after(900)), LONG_SPIN);
    }

    #[test]
    fn sleeps_do_not_grow_right_after_traffic() {
        let start = Instant::now();
        let mut backoff = PollBackoff::new(Duration::from_millis(1), start);
        assert!((0..9).all(|_| backoff.next_sleep(false, start + GROWTH_DELAY / 2) == MIN_SLEEP));
    }

    #[test]
    fn sleeps_grow_to_the_back_off_and_further_without_traffic() {
        let before = Instant::now();
        let start = before + GROWTH_DELAY;
        let mut backoff = PollBackoff::new(Duration::from_millis(1), before);
        let sleeps: Vec<_> = (0..8).map(|_| backoff.next_sleep(false, start).as_micros()).collect();
        assert_eq!(sleeps, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(backoff.next_sleep(true, start), MAX_BUSY_SLEEP);
        let longest =
            |backoff: &mut PollBackoff, at| (0..30).map(|_| backoff.next_sleep(false, at).as_micros()).max();
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(longest(&mut backoff, after(1_400)), Some(1_000));
        assert_eq!(longest(&mut backoff, after(2_000)), Some(8_000));
        let later = after(9_000);
        assert_eq!(longest(&mut backoff, later), Some(50_000));
        backoff.on_traffic(later);
        assert_eq!(backoff.next_sleep(false, later), MIN_SLEEP);
        let mut slow = PollBackoff::new(Duration::from_secs(9), start);
        assert!((0..30).all(|_| slow.next_sleep(false, later) <= MAX_SLEEP));
    }
}
