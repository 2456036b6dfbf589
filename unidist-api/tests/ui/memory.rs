//! Amounts of memory that are none.
use unidist::prelude::*;

#[remote(memory = "4 Gigs")]
fn unit(x: i64) -> i64 {
    x
}

#[remote(memory = 1.5)]
fn fraction(x: i64) -> i64 {
    x
}

#[remote(memory(ram = 1))]
fn list(x: i64) -> i64 {
    x
}

struct Counter;

#[remote(memory = "-1GiB")]
impl Counter {
    #[new]
    pub fn new() -> Self {
        Counter
    }
    #[remote(memory = "1GiB")]
    pub fn value(&self) -> i64 {
        1
    }
}

fn main() {
    let _ = unit(1) + fraction(2) + list(3);
    let _ = unit.options().memory(1.5).remote(1);
}
