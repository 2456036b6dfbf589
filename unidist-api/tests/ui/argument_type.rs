//! Arguments of the wrong type, and the wrong number of them.
use unidist::prelude::*;

#[remote]
fn square(x: i64) -> i64 {
    x * x
}

#[remote]
fn half(x: f64) -> f64 {
    x / 2.0
}

fn main() {
    let _ = square.remote("x");
    let _ = square.remote(half.remote(1.0));
    let _ = square.remote(1, 2);
    let _ = square.remote();
}
