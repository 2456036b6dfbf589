//! Only an actor as a whole can be started again; a limit of time is a positive number.
use unidist::prelude::*;

#[remote(max_restarts = 3)]
fn function(x: i64) -> i64 {
    x
}

#[remote(timeout = -1.5)]
fn backwards(x: i64) -> i64 {
    x
}

struct Actor;

#[remote(max_retries = 3)]
impl Actor {
    #[new]
    fn new() -> Self {
        Actor
    }

    #[remote(max_restarts = 3)]
    fn method(&self) -> i64 {
        1
    }
}

fn main() {
    let _ = function.options().max_restarts(3);
    let _ = Actor::remote().method.options().max_restarts(3);
    let _ = backwards(1);
}
