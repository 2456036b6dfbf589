//! A number of returns that does not fit, or at the wrong place.
use unidist::prelude::*;

#[remote]
fn divmod(a: i64, b: i64) -> (i64, i64) {
    (a / b, a % b)
}

#[remote(num_returns = 2)]
fn both(a: i64) -> (i64, i64) {
    (a, a)
}

fn main() {
    let (_a, _b, _c) = divmod.options().num_returns::<3>().remote(1, 2);
}
