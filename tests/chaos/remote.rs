//! The functions of the graphs: each result is a pure function of the arguments.

use unidist::SharedSlice;
use unidist::prelude::*;

/// A step of splitmix64, the generator of Steele, Lea and Flood.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Some work, so that a process can be killed during it.
pub(crate) fn grind(x: u64) -> u64 {
    (0..50_000).fold(x, |x, _| mix(x))
}

#[remote(max_retries = 2)]
pub(crate) fn combine(seed: u64, inputs: Vec<u64>) -> u64 {
    grind(inputs.into_iter().fold(seed, |x, input| mix(x ^ input)))
}

/// A call that makes others and waits for them.
#[remote(max_retries = 2)]
pub(crate) fn tree(seed: u64, depth: u32) -> unidist::Result<u64> {
    if depth == 0 {
        return Ok(grind(seed));
    }
    let below = [1, 2].map(|n| tree.remote(mix(seed ^ n), depth - 1));
    Ok(get(below)?.into_iter().fold(seed, |x, y| mix(x ^ y)))
}

/// Large enough for the shared store.
pub(crate) const SPREAD: usize = 16 * 1024;

#[remote(max_retries = 2)]
pub(crate) fn spread(seed: u64) -> unidist::Result<SharedSlice<u64>> {
    SharedSlice::build(SPREAD, |items| write_spread(seed, items))
}

/// The contents of a spread.
pub(crate) fn write_spread(seed: u64, items: &mut [u64]) {
    let mut x = seed;
    for item in items {
        x = mix(x);
        *item = x;
    }
}

#[remote(max_retries = 2)]
pub(crate) fn fold(items: SharedSlice<u64>) -> u64 {
    digest(&items)
}

/// A hash of the items.
pub(crate) fn digest(items: &[u64]) -> u64 {
    items.iter().fold(0, |x, item| mix(x ^ item))
}

/// Answers from a table, which its constructor receives at each restart.
pub(crate) struct Oracle {
    table: SharedSlice<u64>,
}

#[remote(max_restarts = 1_000_000)]
impl Oracle {
    #[new]
    pub(crate) fn new(table: SharedSlice<u64>) -> Self {
        Oracle { table }
    }

    pub(crate) fn answer(&mut self, question: u64) -> u64 {
        self.table[question as usize % self.table.len()]
    }
}
