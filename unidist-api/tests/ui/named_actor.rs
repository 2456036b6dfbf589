//! `get_actor` of what is no actor.
use unidist::get_actor;
use unidist::prelude::*;

struct Counter;

#[remote]
impl Counter {
    #[new]
    pub fn new() -> Self {
        Counter
    }
    pub fn value(&self) -> i64 {
        1
    }
}

fn main() -> unidist::Result<()> {
    let _ = get_actor::<i64>("numbers")?;
    let counter: ActorHandle<Counter> = get_actor(1)?;
    let _ = counter.count.remote();
    Ok(())
}
