//! The cost of a call: empty tasks and actor methods.

use super::{Samples, Scale, start_echo, start_session};
use crate::Result;
use std::time::{Duration, Instant};
use unidist::prelude::*;
use unidist::{Portable, SharedSlice};
use unidist_engine::bench::{MESSAGE, Waiting};

const PAUSE: Duration = Duration::from_millis(50);
/// Longer than an echo process spins.
const REST: Duration = Duration::from_millis(15);
const CHAIN: u32 = 1_000;
const FAN_IN: u64 = 10_000;
const ARGUMENT: usize = 64 << 20;

#[remote]
pub(super) fn empty() {}

#[remote]
pub(super) fn increment(x: u64) -> u64 {
    x + 1
}

#[remote]
fn next_vector(items: Vec<u64>) -> Vec<u64> {
    vec![items[1], items[0].wrapping_add(items[1])]
}

#[remote]
fn next_slice(items: SharedSlice<u64>) -> unidist::Result<SharedSlice<u64>> {
    SharedSlice::build(2, |out: &mut [u64]| out.copy_from_slice(&[items[1], items[0].wrapping_add(items[1])]))
}

#[remote]
fn total(items: Vec<u64>) -> u64 {
    items.iter().sum()
}

#[remote]
pub(super) fn first(items: SharedSlice<u8>) -> u8 {
    items[0]
}

pub(super) struct Counter {
    count: u64,
}

#[remote]
impl Counter {
    #[new]
    pub(super) fn new() -> Self {
        Counter { count: 0 }
    }

    pub(super) fn add(&mut self, more: u64) -> u64 {
        self.count += more;
        self.count
    }
}

fn call() -> Result {
    Ok(get(empty.remote())?)
}

/// The name of the samples of [`throughput`].
pub(crate) fn tasks_name(workers: usize) -> String {
    format!("empty tasks, workers: {workers}")
}

/// Empty tasks per second, all submitted at once.
pub(super) fn throughput(workers: usize, scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(workers)?;
    let run = |count: u32| -> Result<f64> {
        let start = Instant::now();
        let refs: Vec<_> = (0..count).map(|_| empty.remote()).collect();
        get(&refs)?;
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    };
    run(2_000)?;
    for _ in 0..scale.of(3, 5) {
        let count = scale.of(20_000, 100_000);
        let rate = samples.cpu(&tasks_name(workers), count, || run(count))?;
        samples.add(tasks_name(workers), rate);
    }
    Ok(())
}

/// Measures several times, each time just after several bursts, so that both sides are awake.
pub(super) fn while_work_flows(burst: impl Fn() -> Result, mut measure: impl FnMut() -> Result) -> Result {
    for _ in 0..4 {
        (0..20).try_for_each(|_| burst())?;
        measure()?;
    }
    Ok(())
}

pub(super) fn burst() -> Result {
    let refs: [_; 16] = std::array::from_fn(|_| empty.remote());
    Ok(get(&refs).map(drop)?)
}

/// Calls one after the other, and bare messages between processes that spin, and between processes that wait as workers
/// do.
pub(super) fn round_trip(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(1)?;
    let (mut spinning, mut waiting) = (start_echo(Waiting::Spinning)?, start_echo(Waiting::AsWorkers)?);
    for _ in 0..scale.of(40, 100) {
        // After the pause below both sides sleep; single calls keep them in the same state.
        (0..50).try_for_each(|_| call())?;
        samples.time("round trip", 100, call)?;
        while_work_flows(burst, || samples.time("round trip, awake", 25, call))?;
        for (name, echo) in
            [("raw round trip, spinning", &mut spinning), ("raw round trip, same waiting", &mut waiting)]
        {
            let mut send = || Ok(echo.round_trip(&[7; MESSAGE])?);
            (0..50).try_for_each(|_| send())?;
            samples.time(name, 200, send)?;
            // An echo spins for a while after the last message; this must not disturb the next measurement.
            std::thread::sleep(REST);
        }
    }
    for _ in 0..scale.of(2, 5) {
        samples.cpu("round trip", 2_000, || (0..2_000).try_for_each(|_| call()))?;
    }
    Ok(())
}

/// The same with a pause before each call, so that both sides sleep.
pub(super) fn round_trip_asleep(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(1)?;
    let mut echo = start_echo(Waiting::AsWorkers)?;
    call()?;
    for _ in 0..scale.of(10, 20) {
        std::thread::sleep(PAUSE);
        samples.time("round trip, asleep", 1, call)?;
        std::thread::sleep(PAUSE);
        samples.time("raw round trip, asleep", 1, || Ok(echo.round_trip(&[7; MESSAGE])?))?;
    }
    Ok(())
}

/// Calls of one actor: all at once, and one after the other.
pub(super) fn actor(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(1)?;
    let counter = Counter::remote();
    let count: u32 = scale.of(20_000, 100_000);
    let one = || Ok(get(counter.add.remote(1)).map(drop)?);
    (0..200).try_for_each(|_| one())?;
    for _ in 0..scale.of(3, 5) {
        let rate = samples.cpu("calls of an actor", count, || {
            let start = Instant::now();
            let refs: Vec<_> = (0..count).map(|_| counter.add.remote(1)).collect();
            get(&refs)?;
            Ok(f64::from(count) / start.elapsed().as_secs_f64())
        })?;
        samples.add("calls of an actor", rate);
        samples.time("round trip to an actor", 500, one)?;
        samples.cpu("round trip to an actor", 1_000, || (0..1_000).try_for_each(|_| one()))?;
    }
    Ok(())
}

/// Tasks that each take the result of the previous one: a number, a vector of 16 bytes, a shared slice of 16 bytes.
pub(super) fn chain(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(1)?;
    let numbers = || steps(increment.remote(0_u64), |before| increment.remote(before));
    let vectors = || steps(next_vector.remote(vec![0_u64, 1]), |before| next_vector.remote(before));
    let slices = || {
        let first = SharedSlice::build(2, |out: &mut [u64]| out.copy_from_slice(&[0, 1]))?;
        steps(next_slice.remote(first), |before| next_slice.remote(before))
    };
    numbers()?;
    vectors()?;
    slices()?;
    for _ in 0..scale.of(5, 10) {
        for (name, run) in [
            ("step in a chain of 1,000", &numbers as &dyn Fn() -> Result<Duration>),
            ("step in a chain of 1,000, 16-byte vectors", &vectors),
            ("step in a chain of 1,000, 16-byte slices", &slices),
        ] {
            let took = samples.cpu(name, CHAIN, run)?;
            samples.add(name, took.as_secs_f64() / f64::from(CHAIN));
        }
    }
    Ok(())
}

/// How long a chain takes that begins with this ref.
fn steps<T: Portable>(first: ObjectRef<T>, step: impl Fn(&ObjectRef<T>) -> ObjectRef<T>) -> Result<Duration> {
    let start = Instant::now();
    let end = (0..CHAIN).fold(first, |before, _| step(&before));
    get(end)?;
    Ok(start.elapsed())
}

/// One task that takes the results of 10,000 others.
pub(super) fn fan_in(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(1)?;
    let refs: Vec<_> = (0..FAN_IN).map(|x| increment.remote(x)).collect();
    get(&refs)?;
    for _ in 0..scale.of(5, 10) {
        samples.time("fan-in of 10,000 refs", 1, || Ok(get(total.remote(&refs)).map(drop)?))?;
    }
    Ok(())
}

/// A task with a large shared slice as its argument, and an empty task.
pub(super) fn large_argument(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(1)?;
    let data = put_slice(ARGUMENT)?;
    let large = || Ok(get(first.remote(&data)).map(drop)?);
    for _ in 0..scale.of(5, 20) {
        (0..50).try_for_each(|_| call())?;
        samples.time("empty task", 500, call)?;
        (0..50).try_for_each(|_| large())?;
        samples.time("task on 64 MiB", 500, large)?;
        samples.cpu("task on 64 MiB", 500, || (0..500).try_for_each(|_| large()))?;
    }
    Ok(())
}

fn put_slice(len: usize) -> Result<ObjectRef<SharedSlice<u8>>> {
    Ok(put(SharedSlice::build(len, |items| items.fill(7))?)?)
}
