//! `get` of what is no ref, and the wrong type of the value.
use unidist::prelude::*;

#[remote]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {
    let _ = get(16);
    let _: String = get(&square.remote(3)).unwrap();
}
