//! What is forgotten is pointed out.
#![deny(unused_must_use)]
use unidist::prelude::*;

#[remote]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {
    square.remote(1);
    square.options().num_cpus(1);
    unidist::init().unwrap();
}
