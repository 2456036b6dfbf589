//! Options that do not exist or are impossible.
use unidist::prelude::*;

#[remote(cpus = 2, name = 3, num_cpus = -1)]
fn several(x: i64) -> i64 {
    x
}

#[remote(resources = "gpu")]
fn resources(x: i64) -> i64 {
    x
}

#[remote(num_cpus = 2)]
fn generic<T>(x: T) -> T {
    x
}

fn main() {
    let _ = several(1) + resources(2) + generic(3);
    let _ = several.options().retries(3);
}
