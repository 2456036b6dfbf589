//! More than six arguments.
use unidist::prelude::*;

#[remote]
fn seven(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8 {
    a + b + c + d + e + f + g
}

fn plain(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8 {
    a + b + c + d + e + f + g
}

fn main() {
    let _ = plain.remote(1, 2, 3, 4, 5, 6, 7);
}
