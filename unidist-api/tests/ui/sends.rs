//! Sent calls have no ref, and take what calls take.
use unidist::prelude::*;

#[remote]
fn square(x: i64) -> i64 {
    x * x
}

#[remote(num_returns = 2)]
fn send(x: i64) -> (i64, i64) {
    (x, x)
}

fn main() {
    let _: ObjectRef<i64> = square.send(1);
    square.send("x");
    square.send();
}
