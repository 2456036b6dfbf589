//! The whole API in one program: `cargo run -p unidist-examples --bin tour`, with any `UNIDIST_BACKEND`.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "code as it stands in a library or a test")]
#![cfg_attr(rustfmt, rustfmt_skip)]

use serde::{Deserialize, Serialize};
use unidist::prelude::*;
use unidist::{closure, map};

#[remote(num_cpus = 1)] fn square(x: i64) -> i64 { x * x }
#[remote] fn divmod(a: i64, b: i64) -> (i64, i64) { (a / b, a % b) }
#[remote] async fn later(x: u64) -> std::io::Result<u64> { Ok(x) }
#[derive(Debug, PartialEq, Serialize, Deserialize)] enum Bank { Overdrawn(i64) }
#[remote] fn withdraw(have: i64, want: i64) -> Result<i64, Bank> {
    if want > have { Err(Bank::Overdrawn(want - have)) } else { Ok(have - want) }
}
#[remote] fn fib(n: u64) -> unidist::Result<u64> {
    if n < 2 { return Ok(n) }
    let (a, b) = get((fib.remote(n - 1), fib.remote(n - 2)))?;   // nested tasks
    Ok(a + b)
}
struct Counter { n: i64 }
#[remote] impl Counter {
    #[new] pub fn new(n: i64) -> Self { Counter { n } }
    pub fn inc(&mut self, by: i64) -> i64 { self.n += by; self.n }
    pub async fn peek(&self) -> i64 { self.n }
}
#[remote] fn bump(c: ActorHandle<Counter>, k: i64) -> unidist::Result<i64> { get(c.inc.remote(k)) }

fn main() -> unidist::Result<()> {
    let _session = unidist::init()?;                             // workers never return from here
    assert_eq!(square(4), 16);                                   // still a plain function
    let r = square.remote(4);
    let s = square.options().num_cpus(2).remote(&r);             // a ref as the argument
    assert_eq!(get((&r, &s, later.remote(1)))?, (16, 256, 1));
    let (q, m) = divmod.options().num_returns::<2>().remote(17, 5);
    assert_eq!(get([&q, &m])?, [3, 2]);
    assert_eq!(get(fib.remote(7))?, 13);
    let refs = map(|x: i64| x + 1, 0..8);                        // a closure, no attribute
    let w = wait(&refs, 3, None)?; assert_eq!((w.ready.len(), w.pending.len()), (3, 5));
    assert_eq!(get((|v: Vec<i64>| v.iter().sum::<i64>()).remote(&refs))?, 36);
    let k = 10; assert_eq!(get(closure!([k] |x: i64| x * k).remote(&r))?, 160);
    let c = Counter::remote(5);                                  // an actor
    assert_eq!((get(c.inc.remote(3))?, get(bump.remote(&c, &q))?, get(c.peek.remote())?), (8, 11, 11));
    let e = get(square.remote(withdraw.remote(10, 30))).unwrap_err();
    assert_eq!(e.downcast::<Bank>(), Some(Bank::Overdrawn(20))); // the user's own error came back
    Ok(())                                                       // drop of the session shuts down
}
