//! Random numbers that depend on the seed alone, whichever worker is faster.

use fastrand::Rng;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The seed of a pool that was given none.
pub(super) const DEFAULT_SEED: u64 = 42;

/// Gives each call of a pool seeds of its own.
#[derive(Debug)]
pub(super) struct Spawner {
    seed: u64,
    calls: AtomicU64,
}

impl Spawner {
    pub(super) fn new(seed: u64) -> Self {
        Spawner { seed, calls: AtomicU64::new(0) }
    }

    /// The seed of the next call of `apply` or `map`, from which each worker or item has its own: see [`spawn`].
    pub(super) fn next(&self) -> u64 {
        spawn(self.seed, self.calls.fetch_add(1, Ordering::Relaxed))
    }
}

/// The `index`-th seed made of another.
pub(super) fn spawn(seed: u64, index: u64) -> u64 {
    mixed(mixed(seed) ^ index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014): neighbouring numbers become unrelated ones.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

thread_local! {
    /// The seed of the pool's call that this thread runs, and what it has still to give.
    static CURRENT: RefCell<Option<(u64, Rng)>> = const { RefCell::new(None) };
}

/// Runs code with this seed.
pub(super) fn within<R>(seed: u64, code: impl FnOnce() -> R) -> R {
    struct Restore(Option<(u64, Rng)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.replace(self.0.take());
        }
    }
    let _outer = Restore(CURRENT.replace(Some((seed, Rng::with_seed(seed)))));
    code()
}

/// The seed of the pool's call that this code is part of; none elsewhere.
///
/// It is made of the pool's seed, of how many calls the pool has made before, and of the index of the worker (in
/// `apply`) or of the item (in `map`): nothing else matters, so a program gives the same numbers whenever it is run, on
/// any backend with as many workers.
pub fn seed() -> Option<u64> {
    CURRENT.with_borrow(|current| current.as_ref().map(|(seed, _)| *seed))
}

/// A generator of random numbers, made from [`seed`]: each that a call asks for is another one. Outside a pool's calls
/// it is seeded by chance.
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
    fn seeds_differ() {
        let seeds = (0..100).flat_map(|seed| (0..100).map(move |index| spawn(seed, index)));
        assert_eq!(seeds.collect::<BTreeSet<_>>().len(), 10_000);
    }

    #[test]
    fn a_call_within_a_call_leaves_its_numbers_alone() {
        let numbers = |nested: bool| {
            within(1, || {
                let first = rng().u64(..);
                if nested {
                    within(2, rng);
                }
                (first, rng().u64(..))
            })
        };
        assert_eq!(numbers(true), numbers(false));
        assert_eq!(seed(), None);
    }
}
