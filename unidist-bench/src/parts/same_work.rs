//! The work that is also measured on other systems, done in the same way: see the folder `peers` of this package.

use super::calls::{Counter, burst, empty, first, increment, while_work_flows};
use super::executor;
use super::{Samples, Scale, settle, start_session};
use crate::Result;
use crate::peers::ours;
use std::time::Instant;
use unidist::executor::Executor;
use unidist::prelude::*;
use unidist::{SharedSlice, put_slice};

const CHAIN: u32 = 1_000;
const SIZE: usize = 64 << 20;

#[remote]
fn make(len: usize) -> SharedSlice<u8> {
    match SharedSlice::build(len, |items| items.fill(7)) {
        Ok(slice) => slice,
        Err(error) => panic!("{error}"), // fails the call
    }
}

/// Everything in [`crate::peers::WORK`].
pub(super) fn all(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(scale.workers)?;
    let count: u32 = scale.of(20_000, 100_000);
    let rate = |start: Instant| f64::from(count) / start.elapsed().as_secs_f64();
    let call = || Ok(get(empty.remote())?);
    let counter = Counter::remote();
    let actor_call = || Ok(get(counter.add.remote(1)).map(drop)?);
    (0..1_000).try_for_each(|_| call().and_then(|()| actor_call()))?;
    for _ in 0..scale.of(3, 5) {
        let start = Instant::now();
        let refs: Vec<_> = (0..count).map(|_| empty.remote()).collect();
        get(&refs)?;
        samples.add(ours("empty tasks"), rate(start));
        drop(refs);
        while_work_flows(burst, || samples.time(&ours("round trip"), 100, call))?;
        let start = Instant::now();
        let refs: Vec<_> = (0..count).map(|_| counter.add.remote(1)).collect();
        get(&refs)?;
        samples.add(ours("calls of an actor"), rate(start));
        drop(refs);
        let actor_burst = || {
            let refs: [_; 16] = std::array::from_fn(|_| counter.add.remote(1));
            Ok(get(&refs).map(drop)?)
        };
        while_work_flows(actor_burst, || samples.time(&ours("round trip to an actor"), 100, actor_call))?;
        let start = Instant::now();
        get((0..CHAIN).fold(increment.remote(0_u64), |before, _| increment.remote(&before)))?;
        samples.add(ours("step in a chain of 1,000"), start.elapsed().as_secs_f64() / f64::from(CHAIN));
    }
    drop(counter);
    let executor = Executor::new()?;
    for _ in 0..scale.of(3, 5) {
        samples.add(ours("map, one by one"), executor::once(&executor, count.into())?);
    }
    drop(executor);
    let data = vec![7_u8; SIZE];
    for _ in 0..scale.of(3, 5) {
        settle()?;
        let start = Instant::now();
        let reference = put_slice(&data)?;
        samples.add(ours("put 64 MiB"), start.elapsed().as_secs_f64());
        samples.time(&ours("task on 64 MiB"), 1, || Ok(get(first.remote(&reference))?))?;
        samples.time(&ours("get 64 MiB"), 1, || Ok(get(&reference)?))?;
        drop(reference);
        settle()?;
        samples.time(&ours("64 MiB from a task"), 1, || Ok(get(make.remote(SIZE))?))?;
    }
    Ok(())
}
