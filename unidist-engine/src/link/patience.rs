//! What the engine tells its processes about waiting, through shared memory.
//!
//! [`Patience`] is how long a thread with nothing to do looks at the links before it sleeps. Looking costs a core and
//! saves a wake-up, which takes longer than a small task. So it pays while no more processes are awake than there are
//! cores, and next to nothing is worth it otherwise. The engine sees which processes sleep, and tells all of them
//! through shared memory.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

/// The longest that anybody looks, in microseconds.
const LONG: u32 = 20;
/// For when others have better use for the core.
const SHORT: u32 = 5;

/// In shared memory, set by the engine and read by its processes.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Patience(AtomicU32);

impl Patience {
    /// So many processes are awake on so many cores. Returns what it means.
    pub(crate) fn set(&self, awake: usize, cores: usize) -> Duration {
        self.store(if awake <= cores { LONG } else { SHORT })
    }

    /// The same where one thread looks at the network besides, for as long as it sees fit: what carries the network has a
    /// core, and where there is none for who waits, that thread gets its core at once.
    pub(crate) fn set_beside_network(&self, awake: usize, cores: usize) {
        // Who reads this is awake then, whether it was seen to be or not.
        self.store(if awake.max(2) < cores { LONG } else { 0 });
    }

    fn store(&self, time: u32) -> Duration {
        if self.0.load(Ordering::Relaxed) != time {
            self.0.store(time, Ordering::Relaxed);
        }
        micros(time)
    }

    /// How long to look. Whatever stands in the memory, it is not long.
    pub(crate) fn get(&self) -> Duration {
        micros(self.0.load(Ordering::Relaxed).min(LONG))
    }
}

/// How many results a busy worker may let lie in its link before it wakes the engine for them. In shared memory, as
/// [`Patience`] is.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Batch(AtomicU32);

impl Batch {
    /// To be said before the engine announces that it sleeps.
    pub(crate) fn set(&self, results: usize) {
        let results = u32::try_from(results).unwrap_or(u32::MAX);
        if self.0.load(Ordering::Relaxed) != results {
            self.0.store(results, Ordering::Relaxed);
        }
    }

    /// To be asked after a result was written: with the fences here and in the announcement, either this is what the
    /// engine said last, or the engine sees the result before it sleeps.
    pub(crate) fn get(&self) -> u32 {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
    }
}

fn micros(time: u32) -> Duration {
    Duration::from_micros(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_left_to_who_looks_at_the_network() {
        let patience = Patience::default();
        patience.set_beside_network(1, 2);
        assert!(patience.get().is_zero());
        patience.set_beside_network(2, 3);
        assert_eq!(patience.get(), micros(LONG));
        patience.set_beside_network(3, 3);
        assert!(patience.get().is_zero());
    }

    #[test]
    fn it_is_short_where_cores_are_and_never_long() {
        let patience = Patience::default();
        assert!(patience.set(3, 2) < patience.set(2, 2));
        assert_eq!(patience.get(), patience.set(2, 2));
        patience.0.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(patience.get(), micros(LONG));
    }
}
