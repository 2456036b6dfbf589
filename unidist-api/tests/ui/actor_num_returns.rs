//! A method whose number of returns does not fit its result.
use unidist::prelude::*;

struct Pair;

#[remote]
impl Pair {
    #[new]
    pub fn new() -> Self {
        Pair
    }
    #[remote(num_returns = 3)]
    pub fn both(&self) -> (i64, i64) {
        (1, 2)
    }
    #[remote(num_returns = "two", num_cpus = 1)]
    pub fn other(&self) {}
}

fn main() {
    let pair = Pair::remote();
    let (_a, _b, _c) = pair.both.remote();
}
