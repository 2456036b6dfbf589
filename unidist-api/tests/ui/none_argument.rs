//! An empty option: of values, or of refs?
use unidist::prelude::*;

#[remote]
fn or_zero(value: Option<i64>) -> i64 {
    value.unwrap_or(0)
}

fn main() {
    let _ = or_zero.remote(None);
}
