//! Who is silent for too long, and whom this host has to tell that it is alive.
//!
//! The clock is that of whoever polls: between two looks that are far apart this host was not there, so what others
//! have said meanwhile may be waiting. Such a gap is not silence of theirs.

use std::time::{Duration, Instant};

/// One host, as seen from another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    heard: Instant,
    said: Instant,
}

impl Heartbeat {
    pub(crate) fn new(now: Instant) -> Self {
        Heartbeat { heard: now, said: now }
    }

    /// Something came from the host.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Something was sent to it.
    pub(crate) fn say(&mut self, now: Instant) {
        self.said = now;
    }

    /// This host was not there for so long.
    pub(crate) fn pause(&mut self, gap: Duration) {
        self.heard += gap;
    }

    /// For how long it was silent.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// For how long nothing was sent to it.
    pub(crate) fn own_silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.said)
    }
}

/// When to look at the clock of all hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    timeout: Duration,
    last_look: Instant,
}

impl Watch {
    /// Nothing has been said for this part of the time-out: it is time to.
    const PARTS: u32 = 8;

    pub(crate) fn new(timeout: Duration, now: Instant) -> Self {
        Watch { timeout, last_look: now }
    }

    /// How long a host may be silent.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How long this host may be silent itself.
    pub(crate) fn interval(&self) -> Duration {
        self.timeout / Self::PARTS
    }

    /// Whether it is time to look, and then how long this host was not there besides.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.last_look);
        let interval = self.interval() / 4;
        if since < interval {
            return None;
        }
        self.last_look = now;
        Some(since.saturating_sub(2 * interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_counted_from_the_last_word() {
        let start = Instant::now();
        let mut host = Heartbeat::new(start);
        assert_eq!(host.silence(start + SECOND), SECOND);
        host.hear(start + SECOND);
        assert_eq!(host.silence(start + 3 * SECOND), 2 * SECOND);
        assert_eq!(host.own_silence(start + 3 * SECOND), 3 * SECOND);
    }

    #[test]
    fn absence_is_no_silence_of_others() {
        let start = Instant::now();
        let (mut watch, mut host) = (Watch::new(32 * SECOND, start), Heartbeat::new(start));
        assert_eq!(watch.look(start + SECOND / 2), None);
        assert_eq!(watch.look(start + SECOND), Some(Duration::ZERO));
        let late = start + 101 * SECOND;
        let gap = watch.look(late).unwrap();
        assert_eq!(gap, 98 * SECOND);
        host.pause(gap);
        assert!(host.silence(late) < watch.timeout());
    }
}
