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
        let time = if awake <= cores { LONG } else { SHORT };
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
    fn it_is_short_where_cores_are_and_never_long() {
        let patience = Patience::default();
        assert!(patience.set(3, 2) < patience.set(2, 2));
        assert_eq!(patience.get(), patience.set(2, 2));
        patience.0.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(patience.get(), micros(LONG));
    }
}
