//! A closure that captures, found when the program is built (`closure!` finds it in `cargo check`).
use unidist::prelude::*;

fn main() {
    let k = 3i64;
    let _ = (move |x: i64| x + k).remote(1);
}
