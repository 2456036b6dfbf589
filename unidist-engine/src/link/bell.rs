//! The doorbell of a process: how others wake it, and only when it sleeps.
//!
//! A process has two threads that may sleep on its bell. The *driver* reads the links; it sleeps when it has nothing
//! to do. The *standby* sleeps while the driver is away (running a task, or out in the user's code) and takes the
//! driver's place when it is rung.
//!
//! Who is to sleep announces it, looks once more at what it waits for, and only then sleeps; who has written
//! something looks at the announcement afterwards. Both sides have a sequentially consistent fence between the two
//! steps, so at least one of them sees the other.

use super::sync::{AtomicU32, Ordering, Word, fence};
use std::time::Duration;

/// Which thread of a process sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleeper {
    /// The thread that reads the links.
    Driver = 1,
    /// The thread that takes over while the driver is away.
    Standby = 2,
}

/// In shared memory: rung by any process that maps it.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Bell {
    /// Who is to be woken: 0 nobody, else a `Sleeper`.
    announced: AtomicU32,
    /// What the sleepers sleep on; each wake-up changes the word.
    words: [Word; 2],
}

impl Bell {
    /// Wakes whoever has announced to sleep. Call it after what it is to see has been written.
    pub(crate) fn ring(&self) {
        self.ring_if(|_| true);
    }

    /// Wakes the driver if it sleeps; leaves a standby alone, whose driver will look by itself in time.
    pub(crate) fn ring_softly(&self) {
        self.ring_if(|announced| announced == Sleeper::Driver as u32);
    }

    fn ring_if(&self, wanted: impl Fn(u32) -> bool) {
        fence(Ordering::SeqCst);
        let announced = self.announced.load(Ordering::Relaxed);
        if announced == 0 || !wanted(announced) {
            return;
        }
        if self.announced.compare_exchange(announced, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            let word = if announced == Sleeper::Driver as u32 { &self.words[0] } else { &self.words[1] };
            word.wake();
        }
    }

    /// Says that `who` is about to sleep and is to be rung for. Look again at what you wait for after this.
    pub(crate) fn announce(&self, who: Sleeper) -> Announced {
        let word = self.word(who).load();
        self.announced.store(who as u32, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Announced { who, word }
    }

    /// Announces `who` unless another announcement stands; true if it was made.
    pub(crate) fn announce_if_nobody(&self, who: Sleeper) -> bool {
        let made =
            self.announced.compare_exchange(0, who as u32, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        fence(Ordering::SeqCst);
        made
    }

    /// Takes an announcement back: whoever looks at the links now needs no ring.
    pub(crate) fn awake(&self) {
        if self.announced.load(Ordering::Relaxed) != 0 {
            self.announced.store(0, Ordering::SeqCst);
        }
    }

    /// Whether the driver has announced to sleep, and nobody has rung since.
    pub(crate) fn driver_sleeps(&self) -> bool {
        self.announced.load(Ordering::Relaxed) == Sleeper::Driver as u32
    }

    /// What a later [`sleep`](Bell::sleep) of `who` compares with; for a standby that sleeps while others announce it.
    pub(crate) fn token(&self, who: Sleeper) -> Announced {
        Announced { who, word: self.word(who).load() }
    }

    /// Sleeps until rung or until the time is over; returns at once if it was rung since the announcement.
    pub(crate) fn sleep(&self, announced: Announced, timeout: Duration) {
        self.word(announced.who).sleep(announced.word, timeout);
    }

    fn word(&self, who: Sleeper) -> &Word {
        &self.words[who as usize - 1]
    }
}

/// The state of the bell when a sleep was announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced {
    who: Sleeper,
    word: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_ring_after_the_announcement_is_not_lost() {
        let bell = Bell::default();
        for who in [Sleeper::Driver, Sleeper::Standby] {
            let announced = bell.announce(who);
            bell.ring();
            bell.sleep(announced, LONG); // returns at once, or the test runner's limit ends the test
        }
    }

    #[test]
    fn a_soft_ring_leaves_the_standby_alone() {
        let bell = Bell::default();
        let before = bell.announce(Sleeper::Standby);
        bell.ring_softly();
        assert_eq!(bell.token(Sleeper::Standby).word, before.word);
        bell.ring();
        assert_ne!(bell.token(Sleeper::Standby).word, before.word);
    }

    #[test]
    fn two_threads_count_to_a_thousand_by_turns() {
        let (ping, pong, turns) =
            (Arc::new(Bell::default()), Arc::new(Bell::default()), Arc::new(AtomicUsize::new(0)));
        let play = |mine: Arc<Bell>, other: Arc<Bell>, turns: Arc<AtomicUsize>, parity: usize| {
            loop {
                let announced = mine.announce(Sleeper::Driver);
                let now = turns.load(Ordering::Acquire);
                if now >= 1000 {
                    other.ring();
                    return;
                }
                if now % 2 == parity {
                    mine.awake();
                    turns.store(now + 1, Ordering::Release);
                    other.ring();
                } else {
                    mine.sleep(announced, LONG);
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
