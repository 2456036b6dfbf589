//! Definitions with a number of returns that does not fit, or with none that could.
use unidist::prelude::*;

#[remote(num_returns = "two")]
fn word(a: i64) -> (i64, i64) {
    (a, a)
}

#[remote(num_returns = 7)]
fn seven(a: i64) -> (i64, i64) {
    (a, a)
}

#[remote(num_returns = 3)]
fn three(a: i64) -> (i64, i64) {
    (a, a)
}

#[remote(num_returns = 2)]
fn one(a: i64) -> Result<i64, String> {
    Ok(a)
}

#[remote(num_returns = 2)]
fn generic<T>(a: T, b: T) -> (T, T) {
    (a, b)
}

#[remote(num_returns = 2)]
fn later(a: i64) -> impl Future<Output = (i64, i64)> {
    async move { (a, a) }
}

#[remote(num_returns = 2)]
fn options(a: i64) -> (i64, i64) {
    (a, a)
}

fn main() {}
