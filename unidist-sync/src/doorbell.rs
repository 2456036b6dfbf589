//! The doorbell of a process: other processes wake it, at the cost of a system call only when it sleeps.
//!
//! Two threads of a process may sleep on its bell. The *driver* reads the links; it sleeps when it has nothing to do.
//! The *standby* sleeps while the driver is away (running a task, or in the user's code) and takes over when it is
//! rung. The protocol is described in the README.

use crate::atomic::{AtomicU32, Ordering, WakeCounter, fence};
use std::time::Duration;

/// Which thread of a process sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleeper {
    /// The thread that reads the links.
    Driver = 1,
    /// The thread that takes over while the driver is away.
    Standby = 2,
}

/// A doorbell, in shared memory: any process that maps it may ring.
///
/// Its layout is explicit, and not that of a `CachePadded`, because every process that maps it has to agree on it.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Doorbell {
    /// The thread to wake: 0 for none, else a `Sleeper`.
    announced: AtomicU32,
    /// Where the driver and the standby sleep.
    counters: [WakeCounter; 2],
}

impl Doorbell {
    /// Wakes the thread that has announced that it sleeps, if any. Call it after writing what that thread waits for.
    #[inline]
    pub fn ring(&self) {
        self.ring_if(|_| true);
    }

    /// Wakes the driver if it sleeps. A standby sleeps on: its driver will look without being rung.
    #[inline]
    pub fn ring_driver(&self) {
        self.ring_if(|announced| announced == Sleeper::Driver as u32);
    }

    #[inline]
    fn ring_if(&self, is_wanted: impl Fn(u32) -> bool) {
        fence(Ordering::SeqCst);
        let announced = self.announced.load(Ordering::Relaxed);
        if announced == 0 || !is_wanted(announced) {
            return;
        }
        if self.announced.compare_exchange(announced, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            let is_driver = announced == Sleeper::Driver as u32;
            let counter = if is_driver { &self.counters[0] } else { &self.counters[1] };
            counter.wake();
        }
    }

    /// Announces that `sleeper` is about to sleep. The caller has to check its condition once more before it sleeps.
    #[inline]
    pub fn announce(&self, sleeper: Sleeper) -> SleepToken {
        let seen = self.counter(sleeper).load();
        self.announced.store(sleeper as u32, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        SleepToken { sleeper, seen }
    }

    /// Announces `sleeper` unless an announcement is in force; true if it was made.
    #[inline]
    pub fn try_announce(&self, sleeper: Sleeper) -> bool {
        let made =
            self.announced.compare_exchange(0, sleeper as u32, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        fence(Ordering::SeqCst);
        made
    }

    /// Withdraws an announcement: a thread looks at the links now and needs no ring.
    #[inline]
    pub fn withdraw(&self) {
        if self.announced.load(Ordering::Relaxed) != 0 {
            self.announced.store(0, Ordering::SeqCst);
        }
    }

    /// Whether the driver has announced that it sleeps and was not rung since.
    #[inline]
    pub fn is_driver_asleep(&self) -> bool {
        self.announced.load(Ordering::Relaxed) == Sleeper::Driver as u32
    }

    /// The token for a later [`sleep`](Doorbell::sleep), for a standby that other threads announce.
    #[inline]
    pub fn token(&self, sleeper: Sleeper) -> SleepToken {
        SleepToken { sleeper, seen: self.counter(sleeper).load() }
    }

    /// Sleeps until rung or until the time-out; returns at once if the thread was rung since it took the token.
    #[inline]
    pub fn sleep(&self, token: SleepToken, timeout: Duration) {
        self.counter(token.sleeper).sleep(token.seen, timeout);
    }

    /// The sleep of the driver: announces it, has the caller look once more, sleeps, and withdraws the announcement.
    /// `look` returns how long to sleep at most, or `None` if there is something to do. True if the thread has slept.
    #[inline]
    pub fn sleep_as_driver(&self, look: impl FnOnce() -> Option<Duration>) -> bool {
        let token = self.announce(Sleeper::Driver);
        let timeout = look();
        if let Some(timeout) = timeout {
            self.sleep(token, timeout);
        }
        self.withdraw();
        timeout.is_some()
    }

    #[inline]
    fn counter(&self, sleeper: Sleeper) -> &WakeCounter {
        &self.counters[sleeper as usize - 1]
    }
}

/// The state of a doorbell when a thread announced that it sleeps: a ring since then ends the sleep.
#[derive(Clone, Copy, Debug)]
pub struct SleepToken {
    sleeper: Sleeper,
    seen: u32,
}

#[cfg(all(test, not(unidist_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn ring_after_the_announcement_is_not_lost() {
        let bell = Doorbell::default();
        for sleeper in [Sleeper::Driver, Sleeper::Standby] {
            let token = bell.announce(sleeper);
            bell.ring();
            bell.sleep(token, LONG); // returns at once, or the test runner's time limit ends the test
        }
    }

    #[test]
    fn ring_driver_leaves_the_standby_asleep() {
        let bell = Doorbell::default();
        let before = bell.announce(Sleeper::Standby);
        bell.ring_driver();
        assert_eq!(bell.token(Sleeper::Standby).seen, before.seen);
        bell.ring();
        assert_ne!(bell.token(Sleeper::Standby).seen, before.seen);
    }

    #[test]
    fn two_threads_count_to_a_thousand_in_turns() {
        let (ping, pong, turns) =
            (Arc::new(Doorbell::default()), Arc::new(Doorbell::default()), Arc::new(AtomicUsize::new(0)));
        let play = |mine: Arc<Doorbell>, other: Arc<Doorbell>, turns: Arc<AtomicUsize>, parity: usize| {
            loop {
                let token = mine.announce(Sleeper::Driver);
                let now = turns.load(Ordering::Acquire);
                if now >= 1000 {
                    other.ring();
                    return;
                }
                if now % 2 == parity {
                    mine.withdraw();
                    turns.store(now + 1, Ordering::Release);
                    other.ring();
                } else {
                    mine.sleep(token, LONG);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| play(ping.clone(), pong.clone(), turns.clone(), 0));
            scope.spawn(|| play(pong.clone(), ping.clone(), turns.clone(), 1));
        });
        assert_eq!(turns.load(Ordering::SeqCst), 1000);
    }
}
