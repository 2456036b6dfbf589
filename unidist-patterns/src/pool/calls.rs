//! Calls of user functions, on workers or in this process.

use super::arguments::{AtOwner, PoolParameters};
use super::local_copies::CopyOwner;
use super::random;
use crate::functions::{name_of, panic_error};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use unidist_core::{
    CallSettings, Error, ObjectRef, Portable, ProcessId, RemoteFn, TaskError, current_worker, fallible, get,
    prepare, put, wait,
};

/// The outcome of one call.
pub(super) type CallResult<R> = Result<R, Error>;

/// The arguments that all workers get, put into the object store once.
#[derive(Serialize, Deserialize)]
struct BroadcastArgs<S> {
    /// The workers of the pool: a worker's index determines its random numbers.
    workers: Vec<ProcessId>,
    seed: u64,
    args: S,
}

/// Runs the function with the received arguments.
fn run<F: RemoteFn<P>, P: PoolParameters>(
    function: F,
    args: P::Sent,
    place: CopyOwner,
    seed: u64,
) -> Result<F::Value, TaskError> {
    let args = P::__arrive(args, &AtOwner(place))?;
    random::with_seed(seed, || function.call(args))
}

/// Calls the function once on each chosen worker of the pool, and waits for all calls.
pub(super) fn on_workers<F: RemoteFn<P>, P: PoolParameters>(
    function: F,
    workers: &[ProcessId],
    chosen: &[ProcessId],
    args: P::Sent,
    seed: u64,
) -> Result<Vec<CallResult<F::Value>>, Error> {
    let here = move |call: BroadcastArgs<P::Sent>| {
        let me = current_worker();
        let index = call.workers.iter().position(|worker| Some(*worker) == me).unwrap_or(call.workers.len());
        run::<F, P>(function, call.args, CopyOwner::current(), random::derive_seed(call.seed, index as u64))
    };
    let args = put((BroadcastArgs { workers: workers.to_vec(), seed, args },))?;
    let calls = chosen.iter().map(|worker| {
        let settings = CallSettings::new().name(name_of::<F>()).on_worker(*worker);
        prepare(fallible(here), &settings).remote(&args)
    });
    Ok(wait_all(calls.collect()))
}

/// Calls the function with each of the arguments on any worker, and waits for all calls.
pub(super) fn on_any_worker<F: RemoteFn<P>, P: PoolParameters>(
    function: F,
    calls: Vec<P::Sent>,
    seed: u64,
) -> Vec<CallResult<F::Value>> {
    let here = move |args: P::Sent, seed: u64| run::<F, P>(function, args, CopyOwner::current(), seed);
    let prepared = prepare(fallible(here), &CallSettings::new().name(name_of::<F>()));
    let calls = (0..).zip(calls).map(|(item, args)| prepared.remote((args, random::derive_seed(seed, item))));
    wait_all(calls.collect())
}

/// The number of calls that a worker has at once, so that it does not wait for the next one.
const CALLS_PER_WORKER: usize = 2;

/// Like [`on_any_worker`], but only on the pool's own workers; each gets another call when one has ended.
pub(super) fn on_own_workers<F: RemoteFn<P>, P: PoolParameters>(
    function: F,
    workers: &[ProcessId],
    calls: Vec<P::Sent>,
    seed: u64,
) -> Result<Vec<CallResult<F::Value>>, Error> {
    let here = move |args: P::Sent, seed: u64| run::<F, P>(function, args, CopyOwner::current(), seed);
    let on = |worker: &ProcessId| {
        prepare(fallible(here), &CallSettings::new().name(name_of::<F>()).on_worker(*worker))
    };
    let own: Vec<_> = workers.iter().map(on).collect();
    let mut made: Vec<ObjectRef<F::Value>> = Vec::with_capacity(calls.len());
    let mut left = (0..).zip(calls).peekable();
    // The calls that have not ended, with their workers.
    let mut open: Vec<(ObjectRef<F::Value>, usize)> = Vec::new();
    let mut free: VecDeque<usize> = (0..CALLS_PER_WORKER).flat_map(|_| 0..own.len()).collect();
    loop {
        while let Some(worker) = free.pop_front() {
            let Some((item, args)) = left.next() else { break };
            let call = own[worker].remote((args, random::derive_seed(seed, item)));
            made.push(call.clone());
            open.push((call, worker));
        }
        if left.peek().is_none() {
            return Ok(wait_all(made));
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
) -> Vec<CallResult<F::Value>> {
    let calls = (0..).zip(calls).map(|(index, args)| {
        let run = || run::<F, P>(function, args, CopyOwner::SequentialPool, random::derive_seed(seed, index));
        // As on workers, a panic fails only its call.
        let ended = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panic_error(&*panic)));
        ended.map_err(|error| error.of_function(name_of::<F>()).into())
    });
    calls.collect()
}

/// Waits for all calls and gives their outcomes.
pub(super) fn wait_all<T: Portable>(calls: Vec<ObjectRef<T>>) -> Vec<CallResult<T>> {
    match get(&calls) {
        Ok(values) => values.into_iter().map(Ok).collect(),
        Err(_) => calls.iter().map(get).collect(), // to see which of them failed
    }
}
