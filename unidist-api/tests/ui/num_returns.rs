//! A number of returns that does not fit, chosen for a call.
use unidist::prelude::*;

#[remote]
fn divmod(a: i64, b: i64) -> (i64, i64) {
    (a / b, a % b)
}

fn main() {
    let (_a, _b, _c) = divmod.options().num_returns::<3>().remote(1, 2);
}
