//! The executor's `map` with one task per item: the full cost of a task, and of results in order.

use super::{Samples, Scale, start_session};
use crate::Result;
use std::time::Instant;
use unidist::executor::Executor;

/// The number of workers, as in the comparison with mpi4py.futures.
pub(crate) const WORKERS: usize = 2;
/// The name of the samples.
pub(crate) const MAP: &str = "executor's map, one by one";

fn increment(x: u64) -> u64 {
    x + 1
}

/// Items per second.
pub(super) fn map(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(WORKERS)?;
    let executor = Executor::new()?;
    once(&executor, 5_000)?;
    for _ in 0..scale.of(3, 7) {
        let rate = samples.cpu(MAP, 100_000, || once(&executor, 100_000))?;
        samples.add(MAP, rate);
    }
    Ok(())
}

/// Maps `count` items, one task each. Returns the rate per second.
pub(super) fn once(executor: &Executor, count: u64) -> Result<f64> {
    let start = Instant::now();
    let mut next = 1;
    for result in executor.map(increment, 0..count)? {
        if result? != next {
            return Err("a result is wrong or out of order".into());
        }
        next += 1;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    if next == count + 1 { Ok(rate) } else { Err("results are missing".into()) }
}
