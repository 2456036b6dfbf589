//! Types that cannot be sent, found where they are defined, even without a call.
use unidist::prelude::*;

struct Opaque;

#[remote]
fn takes(_opaque: Opaque) -> i64 {
    0
}

#[remote]
fn gives(_x: i64) -> Opaque {
    Opaque
}

#[remote]
fn may_give(_x: i64) -> Result<Opaque, String> {
    Ok(Opaque)
}

fn main() {}
