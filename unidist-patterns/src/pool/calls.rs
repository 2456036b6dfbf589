//! Calls of the user's functions: on workers, or in this process.

use super::arguments::{AtPlace, PoolParameters};
use super::random;
use super::store::Place;
use crate::functions::{name_of, panicked};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use unidist_core::{
    CallSettings, Error, ObjectRef, Portable, ProcessId, RemoteFn, TaskError, current_worker, fallible, get,
    prepare, put, wait,
};

/// How one call ended.
pub(super) type Ended<R> = Result<R, Error>;

/// What is sent to each worker alike, and so once.
#[derive(Serialize, Deserialize)]
struct ForWorkers<S> {
    /// Those of the pool: which of them a worker is says which random numbers it has.
    workers: Vec<ProcessId>,
    seed: u64,
    args: S,
}

/// Runs the function with what has arrived.
fn run<F: RemoteFn<P>, P: PoolParameters>(
    function: F,
    args: P::Sent,
    place: Place,
    seed: u64,
) -> Result<F::Value, TaskError> {
    let args = P::__arrive(args, &AtPlace(place))?;
    random::within(seed, || function.call(args))
}

/// Calls the function once on each worker of the pool that is chosen, and waits until all calls have ended.
pub(super) fn on_workers<F: RemoteFn<P>, P: PoolParameters>(
    function: F,
    workers: &[ProcessId],
    chosen: &[ProcessId],
    args: P::Sent,
    seed: u64,
) -> Result<Vec<Ended<F::Value>>, Error> {
    let here = move |call: ForWorkers<P::Sent>| {
        let me = current_worker();
        let index = call.workers.iter().position(|worker| Some(*worker) == me).unwrap_or(call.workers.len());
        run::<F, P>(function, call.args, Place::current(), random::spawn(call.seed, index as u64))
    };
    let args = put((ForWorkers { workers: workers.to_vec(), seed, args },))?;
    let calls = chosen.iter().map(|worker| {
        let settings = CallSettings::new().name(name_of::<F>()).on_worker(*worker);
        prepare(fallible(here), &settings).remote(&args)
    });
    Ok(gathered(calls.collect()))
}

/// Calls the function with each of the arguments, wherever there is room, and waits until all calls have ended.
pub(super) fn anywhere<F: RemoteFn<P>, P: PoolParameters>(
    function: F,
    calls: Vec<P::Sent>,
    seed: u64,
) -> Vec<Ended<F::Value>> {
    let here = move |args: P::Sent, seed: u64| run::<F, P>(function, args, Place::current(), seed);
    let prepared = prepare(fallible(here), &CallSettings::new().name(name_of::<F>()));
    let calls = (0..).zip(calls).map(|(item, args)| prepared.remote((args, random::spawn(seed, item))));
    gathered(calls.collect())
}

/// How many calls each worker has at a time, so that it need not wait for the next.
const AHEAD: usize = 2;

/// The same on the pool's own workers alone, each of which gets another call when it has ended one.
pub(super) fn on_own_workers<F: RemoteFn<P>, P: PoolParameters>(
    function: F,
    workers: &[ProcessId],
    calls: Vec<P::Sent>,
    seed: u64,
) -> Result<Vec<Ended<F::Value>>, Error> {
    let here = move |args: P::Sent, seed: u64| run::<F, P>(function, args, Place::current(), seed);
    let on = |worker: &ProcessId| {
        prepare(fallible(here), &CallSettings::new().name(name_of::<F>()).on_worker(*worker))
    };
    let own: Vec<_> = workers.iter().map(on).collect();
    let mut made: Vec<ObjectRef<F::Value>> = Vec::with_capacity(calls.len());
    let mut left = (0..).zip(calls).peekable();
    // The calls that have not ended, each with its worker.
    let mut open: Vec<(ObjectRef<F::Value>, usize)> = Vec::new();
    let mut free: VecDeque<usize> = (0..AHEAD).flat_map(|_| 0..own.len()).collect();
    loop {
        while let Some(worker) = free.pop_front() {
            let Some((item, args)) = left.next() else { break };
            let call = own[worker].remote((args, random::spawn(seed, item)));
            made.push(call.clone());
            open.push((call, worker));
        }
        if left.peek().is_none() {
            return Ok(gathered(made));
        }
        let calls: Vec<_> = open.iter().map(|(call, _)| call.clone()).collect();
        let ended = wait(&calls, 1, None)?.ready;
        open.retain(|(call, worker)| {
            let has_ended = ended.contains(call);
            if has_ended {
                free.push_back(*worker);
            }
            !has_ended
        });
    }
}

/// Calls the function in this process, with the copies of a sequential pool.
pub(super) fn in_this_process<F: RemoteFn<P>, P: PoolParameters>(
    function: F,
    calls: impl IntoIterator<Item = P::Sent>,
    seed: u64,
) -> Vec<Ended<F::Value>> {
    let calls = (0..).zip(calls).map(|(index, args)| {
        let run = || run::<F, P>(function, args, Place::Here, random::spawn(seed, index));
        // As on workers, where a panic fails its call and nothing else.
        let ended = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(&*panic)));
        ended.map_err(|error| error.of_function(name_of::<F>()).into())
    });
    calls.collect()
}

/// Waits for all calls.
pub(super) fn gathered<T: Portable>(calls: Vec<ObjectRef<T>>) -> Vec<Ended<T>> {
    match get(&calls) {
        Ok(values) => values.into_iter().map(Ok).collect(),
        Err(_) => calls.iter().map(get).collect(), // which of them failed?
    }
}
