//! Actors used in wrong ways.
use unidist::prelude::*;

struct Counter(i64);

#[remote]
impl Counter {
    #[new]
    pub fn new(n: i64) -> Self {
        Counter(n)
    }

    pub fn bump(&mut self, by: i64) -> i64 {
        self.0 += by;
        self.0
    }
}

fn main() {
    let _ = Counter::remote("x");
    let counter = Counter::remote(1);
    let _ = counter.bump.remote("x");
    let _ = counter.bump.remote();
    let _ = counter.bump(3);
    let _ = counter.dec.remote(3);
    let _: ActorHandle<String>;
}
