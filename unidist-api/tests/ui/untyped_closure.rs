//! A closure without the types of its parameters, and a generic function without a turbofish.
use unidist::prelude::*;

fn same<T>(x: T) -> T {
    x
}

fn main() {
    let _ = (|x| x).remote(3);
    let _ = same.remote(3);
}
