//! What must compile; that it is built, not only checked, lets the other programs be built too.
use unidist::prelude::*;

fn main() {
    let twice = |x: i64| 2 * x;
    assert!(get(twice.remote(2)).is_err()); // there is no session
}
