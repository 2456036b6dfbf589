//! Heartbeats: which host has been silent for too long, and which one needs a sign of life from this host.
//!
//! Time counts only while this host polls. A long gap between two polls means that this host was suspended or busy; what
//! the others sent meanwhile may still be queued, so the gap does not count as their silence.

use std::time::{Duration, Instant};

/// The heartbeat state of one remote host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    last_received: Instant,
    last_sent: Instant,
}

impl Heartbeat {
    pub(crate) fn new(now: Instant) -> Self {
        Heartbeat { last_received: now, last_sent: now }
    }

    /// Something arrived from the host.
    pub(crate) fn record_received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// Something was sent to the host.
    pub(crate) fn record_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Discounts a gap in which this host did not poll.
    pub(crate) fn discount(&mut self, gap: Duration) {
        self.last_received += gap;
    }

    /// The time since something arrived.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_received)
    }

    /// The time since something was sent.
    pub(crate) fn send_idle_time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_sent)
    }
}

/// When to check the heartbeats of all hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeartbeatTimer {
    timeout: Duration,
    last_check: Instant,
}

impl HeartbeatTimer {
    /// Heartbeats for each time-out.
    const PER_TIMEOUT: u32 = 8;

    pub(crate) fn new(timeout: Duration, now: Instant) -> Self {
        HeartbeatTimer { timeout, last_check: now }
    }

    /// The silence after which a host is lost.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The time between two heartbeats of this host.
    pub(crate) fn interval(&self) -> Duration {
        self.timeout / Self::PER_TIMEOUT
    }

    /// Whether a check is due, and then the length of the gap in which this host did not poll.
    pub(crate) fn check_due(&mut self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.last_check);
        let interval = self.interval() / 4;
        if since < interval {
            return None;
        }
        self.last_check = now;
        Some(since.saturating_sub(2 * interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_counts_from_the_last_arrival() {
        let start = Instant::now();
        let mut host = Heartbeat::new(start);
        assert_eq!(host.silence(start + SECOND), SECOND);
        host.record_received(start + SECOND);
        assert_eq!(host.silence(start + 3 * SECOND), 2 * SECOND);
        assert_eq!(host.send_idle_time(start + 3 * SECOND), 3 * SECOND);
    }

    #[test]
    fn gap_without_polls_is_no_silence_of_others() {
        let start = Instant::now();
        let (mut timer, mut host) = (HeartbeatTimer::new(32 * SECOND, start), Heartbeat::new(start));
        assert_eq!(timer.check_due(start + SECOND / 2), None);
        assert_eq!(timer.check_due(start + SECOND), Some(Duration::ZERO));
        let late = start + 101 * SECOND;
        let gap = timer.check_due(late).unwrap();
        assert_eq!(gap, 98 * SECOND);
        host.discount(gap);
        assert!(host.silence(late) < timer.timeout());
    }
}
