//! Work on all cores, compared with rayon on the same number of threads, and with threads without scheduling.

use super::{Samples, Scale, cores, start_session};
use crate::Result;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};
use unidist::get;

/// A kind of task, with its name in the report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) name: &'static str,
    /// How long it computes on an idle machine.
    duration: Duration,
    /// The number of tasks per core.
    count: usize,
}

/// The kinds of tasks.
pub(super) const TASKS: [Task; 2] = [
    Task { name: "100 µs", duration: Duration::from_micros(100), count: 1_000 },
    Task { name: "1 ms", duration: Duration::from_millis(1), count: 200 },
];

/// Runs the same tasks in three ways.
pub(super) fn map(task: Task, scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(cores())?;
    let pool = ThreadPoolBuilder::new().num_threads(cores()).build()?;
    let steps = steps_in(task.duration);
    let items = vec![steps; task.count * cores()];
    let name = task.name;
    get(&unidist::map(compute, items[..cores() * 20].iter().copied()))?;
    for _ in 0..scale.of(3, 6) {
        let map = || Ok(get(&unidist::map(compute, items.iter().copied()))?);
        let measure = format!("map {name}");
        let took = samples.cpu(&measure, items.len() as u32, || timed(map))?;
        samples.add(measure, took.as_secs_f64());
        samples.time(&format!("rayon {name}"), 1, || {
            Ok(pool.install(|| items.par_iter().map(|&steps| compute(steps)).collect::<Vec<u64>>()))
        })?;
        samples.time(&format!("ideal {name}"), 1, || equal_shares(&items))?;
    }
    Ok(())
}

/// The duration of a function, in which its result is dropped.
fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let start = Instant::now();
    run().map(drop)?;
    Ok(start.elapsed())
}

/// One thread per core, each with a fixed share of the items.
fn equal_shares(items: &[u64]) -> Result {
    std::thread::scope(|scope| {
        for share in items.chunks(items.len().div_ceil(cores())) {
            scope.spawn(|| {
                share.iter().for_each(|&steps| {
                    black_box(compute(steps));
                })
            });
        }
    });
    Ok(())
}

/// Dependent steps, so that the duration depends only on the CPU's clock.
fn compute(steps: u64) -> u64 {
    (0..steps).fold(1, |x: u64, step| black_box(x.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ step))
}

/// The number of steps that take this long, from the fastest of several attempts.
fn steps_in(duration: Duration) -> u64 {
    const STEPS: u64 = 200_000;
    let attempt = |_| {
        let start = Instant::now();
        black_box(compute(black_box(STEPS)));
        start.elapsed()
    };
    let fastest = (0..20).map(attempt).min().unwrap_or(duration);
    (STEPS as f64 * duration.as_secs_f64() / fastest.as_secs_f64()).ceil() as u64
}
