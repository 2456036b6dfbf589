//! Captures that are not in the list, and one that cannot be sent.
use std::sync::{Arc, Mutex};
use unidist::closure;
use unidist::prelude::*;

fn main() {
    let (a, b) = (1i64, 2i64);
    let _ = closure!(|x: i64| x + a).remote(1);
    let _ = closure!([a] |x: i64| x + a + b).remote(1);
    let shared = Arc::new(Mutex::new(1i64));
    let _ = closure!([shared] |x: i64| x + *shared.lock().unwrap()).remote(1);
}
