//! The prelude was forgotten.
use unidist::remote;

#[remote]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {
    let _ = square.remote(4);
}
