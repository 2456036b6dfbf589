//! Wrong calls of a function that was defined with a number of returns.
use unidist::prelude::*;

#[remote(num_returns = 2)]
fn divmod(a: i64, b: i64) -> (i64, i64) {
    (a / b, a % b)
}

fn main() {
    let (_a, _b) = divmod.remote("one", 2);
    let (_a, _b) = divmod.remote(1);
    let (_a, _b, _c) = divmod.options().num_returns::<3>().remote(1, 2);
    let _ = divmod(1);
}
