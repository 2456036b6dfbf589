//! How long to look at the network, which cannot ring a bell, and how long to sleep between two looks.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Who waits is to look for so long before it naps, while waits are shorter: about a round trip to another host and
/// back. The system's virtual processors wait in the same way, and with less to lose (`halt_poll_ns` in Linux).
const PATIENCE: Duration = Duration::from_micros(100);
/// And for so long while they are not.
const IMPATIENCE: Duration = Duration::from_micros(5);
/// The first nap after something happened.
const SHORTEST: Duration = Duration::from_micros(20);
/// No longer nap while something goes on only if it is looked after.
const LONGEST_BUSY: Duration = Duration::from_micros(50);
/// After so much time without traffic, naps grow on,
const QUIET: Duration = Duration::from_millis(1250);
/// twice as long each time so much more has passed,
const STEP: Duration = Duration::from_millis(250);
/// until they are so many times as long as before, which is next to nothing for the processor.
const MOST: u32 = 50;
/// For so long after traffic naps do not grow: an answer takes no longer, if somebody is about to give it.
const FLOW: Duration = Duration::from_micros(200);
/// They never grow longer than this.
const LONGEST: Duration = Duration::from_millis(100);

/// The naps of one thread that looks after the network: short after traffic, longer the longer there was none.
#[derive(Debug)]
pub(crate) struct Pace {
    backoff: Duration,
    nap: Duration,
    last_traffic: Instant,
    /// When there was nothing more to do.
    waits_since: Option<Instant>,
    patience: Duration,
}

impl Pace {
    /// Naps of up to `backoff` while there is work, longer ones after a while without any.
    pub(crate) fn new(backoff: Duration, now: Instant) -> Self {
        Pace {
            backoff: backoff.clamp(SHORTEST, LONGEST),
            nap: SHORTEST,
            last_traffic: now,
            waits_since: None,
            patience: PATIENCE,
        }
    }

    /// Something has happened on this host.
    pub(crate) fn happened(&mut self, now: Instant) {
        self.nap = SHORTEST;
        if let Some(since) = self.waits_since.take() {
            let was_short = now.saturating_duration_since(since) < PATIENCE;
            self.patience = if was_short { PATIENCE } else { IMPATIENCE };
        }
    }

    /// There is nothing to do: for how long to look on before a nap.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        let since = *self.waits_since.get_or_insert(now);
        self.patience.saturating_sub(now.saturating_duration_since(since))
    }

    /// Something has come or gone over the network.
    pub(crate) fn traffic(&mut self, now: Instant) {
        self.happened(now);
        self.last_traffic = now;
    }

    /// Nobody waits any more, whatever came of it.
    pub(crate) fn leave(&mut self) {
        self.waits_since = None;
    }

    /// How long to sleep now.
    pub(crate) fn next_nap(&mut self, busy: bool, now: Instant) -> Duration {
        let quiet = now.saturating_duration_since(self.last_traffic).saturating_sub(QUIET);
        let steps = u32::try_from(quiet.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
        let longest = (self.backoff * MOST.min(1 << steps.min(16))).min(LONGEST);
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
    fn it_looks_on_while_waits_are_short() {
        let start = Instant::now();
        let after = |us| start + Duration::from_micros(us);
        let mut pace = Pace::new(Duration::from_millis(1), start);
        assert_eq!(pace.wait(after(10)), PATIENCE);
        assert_eq!(pace.wait(after(30)), PATIENCE - Duration::from_micros(20));
        pace.happened(after(40));
        assert_eq!(pace.wait(after(50)), PATIENCE);
        assert_eq!(pace.wait(after(250)), Duration::ZERO);
        pace.happened(after(250));
        assert_eq!(pace.wait(after(300)), IMPATIENCE);
        pace.happened(after(350));
        assert_eq!(pace.wait(after(400)), PATIENCE);
        pace.leave();
        assert_eq!(pace.wait(after(900)), PATIENCE);
    }

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
        let longest = |pace: &mut Pace, at| (0..30).map(|_| pace.next_nap(false, at).as_micros()).max();
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(longest(&mut pace, after(1_400)), Some(1_000));
        assert_eq!(longest(&mut pace, after(2_000)), Some(8_000));
        let later = after(9_000);
        assert_eq!(longest(&mut pace, later), Some(50_000));
        pace.traffic(later);
        assert_eq!(pace.next_nap(false, later), SHORTEST);
        let mut slow = Pace::new(Duration::from_secs(9), start);
        assert!((0..30).all(|_| slow.next_nap(false, later) <= LONGEST));
    }
}
