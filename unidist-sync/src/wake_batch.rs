//! Wake coalescing: several results of a busy worker cost the engine one wake-up.

use crate::atomic::{AtomicU32, Ordering, fence};

/// How many results a busy worker leaves in its link before it wakes the engine. The engine writes it and its processes
/// read it, through shared memory.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct WakeBatch(AtomicU32);

impl WakeBatch {
    /// Sets the number of results. Call it before the engine announces that it sleeps.
    pub fn set(&self, results: usize) {
        let results = u32::try_from(results).unwrap_or(u32::MAX);
        if self.0.load(Ordering::Relaxed) != results {
            self.0.store(results, Ordering::Relaxed);
        }
    }

    /// The number of results. Call it after a result was written: by the fence here and the one in the announcement,
    /// either this returns the value that the engine set last, or the engine sees the result before it sleeps.
    #[inline]
    pub fn get(&self) -> u32 {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
    }
}
