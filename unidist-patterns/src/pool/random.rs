//! Random numbers that depend only on the seed, not on the timing of workers.

use fastrand::Rng;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The default seed of a pool.
pub(super) const DEFAULT_SEED: u64 = 42;

/// Derives a seed for each call of a pool.
#[derive(Debug)]
pub(super) struct SeedSequence {
    seed: u64,
    calls: AtomicU64,
}

impl SeedSequence {
    pub(super) fn new(seed: u64) -> Self {
        SeedSequence { seed, calls: AtomicU64::new(0) }
    }

    /// The seed of the next call of `apply` or `map`, from which the seeds of its workers or items are derived.
    pub(super) fn next(&self) -> u64 {
        derive_seed(self.seed, self.calls.fetch_add(1, Ordering::Relaxed))
    }
}

/// The seed with this index, derived from another seed.
pub(super) fn derive_seed(seed: u64, index: u64) -> u64 {
    mix(mix(seed) ^ index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014): neighbouring inputs give unrelated outputs.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

thread_local! {
    /// The seed of the pool's call that this thread runs, and its generator.
    static CURRENT: RefCell<Option<(u64, Rng)>> = const { RefCell::new(None) };
}

/// Runs code with this seed.
pub(super) fn with_seed<R>(seed: u64, code: impl FnOnce() -> R) -> R {
    struct Restore(Option<(u64, Rng)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.replace(self.0.take());
        }
    }
    let _outer = Restore(CURRENT.replace(Some((seed, Rng::with_seed(seed)))));
    code()
}

/// The seed of the current call of a pool; `None` elsewhere.
///
/// It depends only on the pool's seed, the number of calls that the pool has made before, and the index of the worker
/// (in `apply`) or of the item (in `map`). So a program gives the same numbers in every run, on any backend with the
/// same number of workers.
pub fn seed() -> Option<u64> {
    CURRENT.with_borrow(|current| current.as_ref().map(|(seed, _)| *seed))
}

/// A random number generator, seeded from [`seed`]; each one that a call makes is different. Outside of a pool's calls
/// it has a random seed.
///
/// ```
/// use unidist::pool::{self, WorkerPool};
///
/// # fn main() -> unidist::Result<()> {
/// let numbers = |seed| {
///     let pool = WorkerPool::sequential().with_seed(seed);
///     pool.apply(|| pool::rng().f64(), ())
/// };
/// assert_eq!(numbers(1)?, numbers(1)?);
/// assert_ne!(numbers(1)?, numbers(2)?);
/// # Ok(())
/// # }
/// ```
pub fn rng() -> Rng {
    CURRENT.with_borrow_mut(|current| match current {
        Some((_, numbers)) => numbers.fork(),
        None => Rng::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn derived_seeds_differ() {
        let seeds = (0..100).flat_map(|seed| (0..100).map(move |index| derive_seed(seed, index)));
        assert_eq!(seeds.collect::<BTreeSet<_>>().len(), 10_000);
    }

    #[test]
    fn nested_call_does_not_change_random_numbers() {
        let numbers = |nested: bool| {
            with_seed(1, || {
                let first = rng().u64(..);
                if nested {
                    with_seed(2, rng);
                }
                (first, rng().u64(..))
            })
        };
        assert_eq!(numbers(true), numbers(false));
        assert_eq!(seed(), None);
    }
}
