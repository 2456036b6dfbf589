//! The scheduler's timers, ordered by expiry.

use crate::scheduler::Timer;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The armed timers. Without any, it costs nothing.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    due: BTreeSet<(Instant, Timer)>,
    armed: FxHashMap<Timer, Instant>,
}

impl TimerQueue {
    /// A time beyond the range of the clock never expires.
    pub(crate) fn arm(&mut self, timer: Timer, time: Duration) {
        if let Some(at) = Instant::now().checked_add(time) {
            self.armed.insert(timer, at);
            self.due.insert((at, timer));
        }
    }

    pub(crate) fn disarm(&mut self, timer: Timer) {
        if let Some(at) = self.armed.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    /// When the next timer expires.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn is_due(&self) -> bool {
        self.next().is_some_and(|at| at <= Instant::now())
    }

    /// Takes the timers that have expired.
    pub(crate) fn take_due(&mut self) -> Vec<Timer> {
        if self.due.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let mut expired = Vec::new();
        while let Some((_, timer)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.disarm(timer);
            expired.push(timer);
        }
        expired
    }
}

/// When the next timer expires, for threads without the driver's lock.
#[derive(Debug)]
pub(crate) struct NextDeadline {
    start: Instant,
    /// Microseconds since the start.
    at: AtomicU64,
}

impl NextDeadline {
    pub(crate) fn new() -> Self {
        NextDeadline { start: Instant::now(), at: AtomicU64::new(u64::MAX) }
    }

    /// Stores the next deadline; true if it is sooner than the stored one.
    pub(crate) fn set(&self, next: Option<Instant>) -> bool {
        let at = next.map_or(u64::MAX, |at| {
            u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
        });
        let before = self.at.load(Ordering::Relaxed);
        if at != before {
            self.at.store(at, Ordering::Release);
        }
        at < before
    }

    /// The sleep, shortened to the deadline.
    pub(crate) fn shorten(&self, nap: Duration) -> Duration {
        match self.at.load(Ordering::Acquire) {
            u64::MAX => nap,
            at => {
                // One microsecond more, since the deadline was rounded down.
                let at = Duration::from_micros(at.saturating_add(1));
                nap.min(at.saturating_sub(self.start.elapsed()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(serial: u64) -> Timer {
        Timer::for_tests(serial)
    }

    #[test]
    fn timers_expire_in_order_and_once() {
        let mut timers = TimerQueue::default();
        assert!(!timers.is_due() && timers.next().is_none());
        timers.arm(timer(1), Duration::from_nanos(2));
        timers.arm(timer(2), Duration::ZERO);
        timers.arm(timer(3), Duration::from_secs(3600));
        timers.arm(timer(4), Duration::MAX); // never
        timers.arm(timer(5), Duration::ZERO);
        timers.disarm(timer(5));
        let mut expired = Vec::new();
        while expired.len() < 2 {
            expired.extend(timers.take_due());
        }
        expired.sort_unstable();
        assert_eq!(expired, [timer(1), timer(2)]);
        assert!(timers.next().is_some_and(|at| at > Instant::now()) && timers.take_due().is_empty());
        timers.disarm(timer(3));
        assert!(timers.next().is_none() && timers.armed.is_empty());
    }

    #[test]
    fn deadline_shortens_later_sleeps() {
        let next = NextDeadline::new();
        assert_eq!(next.shorten(Duration::from_secs(9)), Duration::from_secs(9));
        assert!(next.set(Some(Instant::now() + Duration::from_secs(5))));
        assert!(next.shorten(Duration::from_secs(9)) < Duration::from_secs(6));
        assert!(next.set(Some(Instant::now())));
        assert!(!next.set(Some(Instant::now() + Duration::from_secs(5))));
        assert!(!next.set(None));
        assert_eq!(next.shorten(Duration::from_secs(9)), Duration::from_secs(9));
    }
}
