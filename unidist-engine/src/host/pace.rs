//! How long to sleep between two looks at the network, which cannot ring a bell.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// The first nap after something happened.
const SHORTEST: Duration = Duration::from_micros(20);
/// No longer nap while something goes on only if it is looked after.
const LONGEST_BUSY: Duration = Duration::from_micros(50);
/// For so long after traffic naps do not grow: an answer takes no longer, if somebody is about to give it.
const FLOW: Duration = Duration::from_micros(200);
/// After so much time without traffic, naps grow on.
const QUIET: Duration = Duration::from_secs(3);
/// They never grow longer than this.
const LONGEST: Duration = Duration::from_millis(100);

/// The naps of one thread that looks after the network: short after traffic, longer the longer there was none.
#[derive(Debug)]
pub(crate) struct Pace {
    backoff: Duration,
    nap: Duration,
    last_traffic: Instant,
}

impl Pace {
    /// Naps of up to `backoff` while there is work, of ten times that where there is none.
    pub(crate) fn new(backoff: Duration, now: Instant) -> Self {
        Pace { backoff: backoff.clamp(SHORTEST, LONGEST), nap: SHORTEST, last_traffic: now }
    }

    /// Something has happened on this host.
    pub(crate) fn happened(&mut self) {
        self.nap = SHORTEST;
    }

    /// Something has come or gone over the network.
    pub(crate) fn traffic(&mut self, now: Instant) {
        self.nap = SHORTEST;
        self.last_traffic = now;
    }

    /// How long to sleep now.
    pub(crate) fn next_nap(&mut self, busy: bool, now: Instant) -> Duration {
        let longest = match now.saturating_duration_since(self.last_traffic) > QUIET {
            true => (self.backoff * 10).min(LONGEST),
            false => self.backoff,
        };
        let nap = self.nap.min(longest);
        if now.saturating_duration_since(self.last_traffic) >= FLOW {
            self.nap = (self.nap * 2).min(LONGEST);
        }
        if busy { nap.min(LONGEST_BUSY) } else { nap }
    }
}

/// Has the naps of this thread end when they are to, for as long as this value is there: by default the system ends
/// them up to 50 µs later, together with those of others.
#[derive(Debug)]
pub(crate) struct SharpTimers(());

impl SharpTimers {
    pub(crate) fn new() -> Self {
        // Where it is refused, naps take longer.
        let _ = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
        SharpTimers(())
    }
}

impl Drop for SharpTimers {
    fn drop(&mut self) {
        let _ = rustix::thread::set_current_timer_slack(None); // the default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_do_not_grow_while_work_flows() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(1), start);
        assert!((0..9).all(|_| pace.next_nap(false, start + FLOW / 2) == SHORTEST));
    }

    #[test]
    fn naps_grow_to_the_back_off_and_on_when_it_is_quiet() {
        let before = Instant::now();
        let start = before + FLOW;
        let mut pace = Pace::new(Duration::from_millis(1), before);
        let naps: Vec<_> = (0..8).map(|_| pace.next_nap(false, start).as_micros()).collect();
        assert_eq!(naps, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(pace.next_nap(true, start), LONGEST_BUSY);
        let later = start + Duration::from_secs(4);
        let naps: Vec<_> = (0..8).map(|_| pace.next_nap(false, later).as_micros()).collect();
        assert_eq!(naps[7], 10_000);
        pace.traffic(later);
        assert_eq!(pace.next_nap(false, later), SHORTEST);
        let mut slow = Pace::new(Duration::from_secs(9), start);
        assert!((0..30).all(|_| slow.next_nap(false, later) <= LONGEST));
    }
}
