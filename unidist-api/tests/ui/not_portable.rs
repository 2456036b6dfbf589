//! Types that cannot be sent, found where they are called.
use unidist::prelude::*;

struct Opaque;

fn takes(_: Opaque) -> i64 {
    0
}

fn gives(_: i64) -> Opaque {
    Opaque
}

fn main() {
    let _ = takes.remote(Opaque);
    let _ = gives.remote(1);
}
