//! How long an idle thread spins before it sleeps.
//!
//! Spinning occupies a core and saves a wake-up, which takes longer than a small task. So it pays while no more
//! processes are awake than there are cores; otherwise the core has better uses. The engine sees which processes sleep
//! and tells all of them the limit through shared memory.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The longest limit in microseconds.
const MAX_MICROS: u32 = 20;
/// Spin at most this long before a sleep, if the thread has a core of its own.
pub const MAX_SPIN: Duration = duration(MAX_MICROS);
/// The limit in microseconds while more processes are awake than there are cores.
const CONTENDED_MICROS: u32 = 5;

/// The spin limit of a host's processes, in shared memory: the engine writes it and its processes read it.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct SpinLimit(AtomicU32);

impl SpinLimit {
    /// Sets the limit for `awake` awake processes on `cores` cores and returns it.
    pub fn set(&self, awake: usize, cores: usize) -> Duration {
        self.store(if awake <= cores { MAX_MICROS } else { CONTENDED_MICROS })
    }

    /// The same on a host where one thread also polls the network and decides itself how long it spins. That thread
    /// occupies a core; if no core is left for other spinning threads, they leave theirs at once.
    pub fn set_beside_network(&self, awake: usize, cores: usize) {
        // A process that reads the limit is awake, even if the engine has not seen it yet.
        self.store(if awake.max(2) < cores { MAX_MICROS } else { 0 });
    }

    fn store(&self, micros: u32) -> Duration {
        if self.0.load(Ordering::Relaxed) != micros {
            self.0.store(micros, Ordering::Relaxed);
        }
        duration(micros)
    }

    /// How long to spin; whatever another process wrote there, at most 20 µs.
    #[inline]
    pub fn get(&self) -> Duration {
        duration(self.0.load(Ordering::Relaxed).min(MAX_MICROS))
    }
}

const fn duration(micros: u32) -> Duration {
    Duration::from_micros(micros as u64)
}

/// One round of a spin loop: pauses for a moment between two looks, so that spinning does not flood the memory bus and
/// leaves the core's other hyper-thread its share.
#[inline]
pub fn spin_briefly() {
    (0..32).for_each(|_| std::hint::spin_loop());
}

/// Spins until `done`, at most for `limit`; true if it is done. It looks in each round, unlike a loop around
/// [`spin_briefly`]: for a word that takes no longer to read than the round itself.
#[inline]
pub fn spin_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if done() {
            return true;
        }
        std::hint::spin_loop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_beside_network_leaves_it_a_core() {
        let limit = SpinLimit::default();
        limit.set_beside_network(1, 2);
        assert!(limit.get().is_zero());
        limit.set_beside_network(2, 3);
        assert_eq!(limit.get(), duration(MAX_MICROS));
        limit.set_beside_network(3, 3);
        assert!(limit.get().is_zero());
    }

    #[test]
    fn spin_until_ends_when_done_or_after_the_limit() {
        assert!(spin_until(Duration::from_secs(60), || true));
        assert!(!spin_until(MAX_SPIN, || false));
    }

    #[test]
    fn limit_is_shorter_without_free_cores_and_never_long() {
        let limit = SpinLimit::default();
        assert!(limit.set(3, 2) < limit.set(2, 2));
        assert_eq!(limit.get(), limit.set(2, 2));
        limit.0.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(limit.get(), duration(MAX_MICROS));
    }
}
