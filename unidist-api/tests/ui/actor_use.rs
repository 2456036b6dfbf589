//! Actors used in wrong ways.
use unidist::prelude::*;

struct Counter(i64);

#[remote]
impl Counter {
    #[new]
    pub fn new(n: i64) -> Self {
        Counter(n)
    }

    pub fn inc(&mut self, by: i64) -> i64 {
        self.0 += by;
        self.0
    }
}

fn main() {
    let _ = Counter::remote("x");
    let counter = Counter::remote(1);
    let _ = counter.inc.remote("x");
    let _ = counter.inc.remote();
    let _ = counter.inc(3);
    let _ = counter.dec.remote(3);
    let _: ActorHandle<String>;
}
