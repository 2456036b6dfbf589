//! Worker pools, as in pyMOR: calls.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{Log, Refusal, kind, say, square};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use unidist::pool::{
    self, FailurePlace, Local, LocalMut, PoolError, RemoteObjectManager, WorkerPool, each, new_pool,
};
use unidist::prelude::*;
use unidist::{Dep, ErrorKind, current_worker, fallible, workers};

pub(super) const CASES: &[Case] = cases!["pool":
    pool_has_the_sessions_workers, results_come_in_the_order_of_workers, apply_only_calls_one_worker,
    arguments_are_sent_once, unsendable_value_is_an_error, ref_arrives_as_its_value, map_keeps_the_order,
    map_takes_lists_of_one_length, map_takes_constants, map_of_empty_lists,
    failing_worker_is_reported_after_all_calls, every_failing_worker_is_named, failing_items_are_named,
    user_error_is_downcast, worker_death_in_a_call.only(PYMP), worker_death_between_calls.only(PYMP),
    worker_death_in_map.only(PYMP), seed_determines_random_numbers, random_numbers_do_not_depend_on_timing,
    pool_with_plain_calls, pool_with_an_executor, pool_in_a_task, pools_on_threads,
    sequential_pool_needs_no_session.bare().not_spmd(), sequential_pool_does_the_same,
    new_pool_chooses_the_kind.bare().not_spmd(), pool_outlives_its_session.bare().not_spmd(),
];

/// The worker of a call.
fn me() -> u32 {
    current_worker().map_or(0, |worker| worker.number())
}

/// A pool has the workers of the session.
fn pool_has_the_sessions_workers() -> Result {
    let pool = WorkerPool::over_session()?;
    assert_eq!((pool.len(), pool.is_sequential()), (workers()?.len(), false));
    assert!(pool.len() >= 2, "{pool:?}");
    Ok(())
}

/// `apply` calls each worker once and gives the results in their order.
fn results_come_in_the_order_of_workers() -> Result {
    let pool = WorkerPool::over_session()?;
    let expected: Vec<_> = workers()?.iter().map(|worker| worker.id.number()).collect();
    for _ in 0..20 {
        assert_eq!(pool.apply(me, ())?, expected);
    }
    Ok(())
}

/// `apply_only` calls one of them; an index beyond the last one is an error.
fn apply_only_calls_one_worker() -> Result {
    let pool = WorkerPool::over_session()?;
    for (index, worker) in workers()?.iter().enumerate() {
        let called = pool.apply_only(|x: i64| (me(), x + 1), index, (4,))?;
        assert_eq!(called, (worker.id.number(), 5));
    }
    let len = pool.len();
    assert_eq!(pool.apply_only(me, len, ()), Err(PoolError::NoSuchWorker { index: len, len }));
    Ok(())
}

static ENCODED: AtomicUsize = AtomicUsize::new(0);

/// Counts how often it is encoded in this process.
#[derive(Deserialize)]
#[serde(from = "u64")]
struct Counted(u64);

impl From<u64> for Counted {
    fn from(value: u64) -> Self {
        Counted(value)
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        self.0.serialize(serializer)
    }
}

/// An argument that was not pushed is encoded once for all workers.
fn arguments_are_sent_once() -> Result {
    let pool = WorkerPool::over_session()?;
    ENCODED.store(0, Ordering::Relaxed);
    let results = pool.apply(
        |counted: Counted, large: Vec<u64>| counted.0 + large[99_999],
        (Counted(3), vec![4; 100_000]),
    )?;
    assert_eq!((results, ENCODED.load(Ordering::Relaxed)), (vec![7; pool.len()], 1));
    Ok(())
}

/// A value that cannot be encoded if it is odd.
#[derive(Clone, Deserialize)]
#[serde(from = "u64")]
struct Even(u64);

impl From<u64> for Even {
    fn from(value: u64) -> Self {
        Even(value)
    }
}

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 2 {
            0 => self.0.serialize(serializer),
            _ => Err(serde::ser::Error::custom("odd")),
        }
    }
}

/// An argument, a result or an object that cannot be encoded is an error, and affects nothing else.
fn unsendable_value_is_an_error() -> Result {
    let pool = WorkerPool::over_session()?;
    let is_encode = |error: &unidist::Error| {
        assert!(error.to_string().contains("odd"), "{error}");
        error.as_task().is_none_or(|error| error.kind == ErrorKind::Encode)
    };
    let error: unidist::Error = pool.apply(|even: Even| even.0, (Even(1),)).unwrap_err().into();
    assert!(is_encode(&error), "{error:?}");
    let error: unidist::Error = pool.push(&Arc::new(Even(1))).unwrap_err().into();
    assert!(is_encode(&error), "{error:?}");
    for error in [
        pool.map(|even: Even| even.0, (each([Even(2), Even(3), Even(4)]),)).unwrap_err(),
        pool.map(|even: u64| Even(even), (each([2, 3, 4]),)).map(drop).unwrap_err(),
    ] {
        let [failure] = error.failures() else { panic!("{error}") };
        assert!(failure.place == FailurePlace::Item(1) && is_encode(&failure.error), "{failure:?}");
    }
    let error = pool.scatter_list(vec![Even(2), Even(3)]).unwrap_err();
    assert_eq!(error.failures().len(), 1, "{error}");
    assert_eq!(pool.apply_only(|even: Even| even.0, 0, (Even(4),))?, 4);
    Ok(())
}

/// A ref arrives as its value where the function takes a `Dep`.
fn ref_arrives_as_its_value() -> Result {
    let pool = WorkerPool::over_session()?;
    let nine = square.remote(3);
    let results = pool.apply(
        |nine: Dep<i64>, reference: ObjectRef<i64>| Ok::<_, unidist::Error>(*nine + get(reference)?),
        (&nine, nine.clone()),
    )?;
    assert!(results.into_iter().all(|result| result == Ok(18)));
    Ok(())
}

/// `map` gives its results in the order of the items, in any order of their ends.
fn map_keeps_the_order() -> Result {
    let (pool, log) = (WorkerPool::over_session()?, Log::remote());
    let last_first = |item: usize, log: ActorHandle<Log>| {
        if item == 0 && crate::support::is_parallel() {
            get(log.said.remote(9_usize)).unwrap(); // all the others have been there
        }
        say(&log, item);
        item * item
    };
    let results = pool.map(last_first, (each(0..10), log))?;
    assert!(results.into_iter().eq((0..10).map(|item| item * item)));
    Ok(())
}

/// `map` needs at least one list, and lists of the same length.
fn map_takes_lists_of_one_length() -> Result {
    for pool in [WorkerPool::over_session()?, WorkerPool::sequential()] {
        let add = |a: i32, b: i32, c: i32| a + b + c;
        assert_eq!(pool.map(add, (each([1, 2]), each(vec![10, 20]), each(1..3)))?, [12, 24]);
        let error = pool.map(add, (each([1, 2]), 0, each([1, 2, 3]))).unwrap_err();
        assert_eq!(error, PoolError::UnequalLists { lengths: vec![2, 3] });
        assert!(error.to_string().contains("[2, 3]"), "{error}");
        assert_eq!(pool.map(add, (1, 2, 3)), Err(PoolError::NoList));
    }
    Ok(())
}

/// Other arguments of `map` are the same in each call.
fn map_takes_constants() -> Result {
    for pool in [WorkerPool::over_session()?, WorkerPool::sequential()] {
        let table = pool.push(&Arc::new(vec![0, 10, 20]))?;
        let look_up = |place: usize, table: Local<Vec<i64>>, add: i64, unit: String| {
            format!("{} {unit}", table[place] + add)
        };
        let found = pool.map(look_up, (each([2, 1, 2]), &table, 1, "m"))?;
        assert_eq!(found, ["21 m", "11 m", "21 m"]);
    }
    Ok(())
}

/// `map` of empty lists calls nothing.
fn map_of_empty_lists() -> Result {
    let pool = WorkerPool::over_session()?;
    assert_eq!(
        pool.map(|_: i64| -> i64 { panic!("called") }, (each(Vec::<i64>::new()),))?,
        Vec::<i64>::new()
    );
    Ok(())
}

fn refuses_on(worker: u32, log: ActorHandle<Log>) -> Result<u32, Refusal> {
    if me() == worker {
        return Err(Refusal { with: worker.into() });
    }
    say(&log, "ended well");
    Ok(me())
}

/// If one worker fails, all other calls have ended, and the error names the worker.
fn failing_worker_is_reported_after_all_calls() -> Result {
    let (pool, log) = (WorkerPool::over_session()?, Log::remote());
    let failing = workers()?[1].id;
    let error = pool.apply(fallible(refuses_on), (failing.number(), log.clone())).unwrap_err();
    assert_eq!(get(log.said.remote(pool.len() - 1))?.len(), pool.len() - 1);
    let [failure] = error.failures() else { panic!("{error}") };
    assert_eq!(failure.place, FailurePlace::Worker { index: 1, id: Some(failing) });
    assert_eq!(failure.error.downcast(), Some(Refusal { with: failing.number().into() }));
    let text = error.to_string();
    assert!(text.contains(&failing.to_string()) && text.contains("refuses_on"), "{text}");
    assert_eq!(pool.apply(me, ())?.len(), pool.len(), "the pool still works");
    Ok(())
}

/// Each worker that failed is named.
fn every_failing_worker_is_named() -> Result {
    let pool = WorkerPool::over_session()?;
    let error = pool.apply(|| -> u32 { panic!("oh no") }, ()).unwrap_err();
    let named: Vec<_> = error.failures().iter().map(|failure| failure.place).collect();
    let all = workers()?.into_iter().map(|worker| Some(worker.id)).enumerate();
    assert_eq!(named, all.map(|(index, id)| FailurePlace::Worker { index, id }).collect::<Vec<_>>());
    let error = unidist::Error::from(error);
    assert_eq!(kind(&error), ErrorKind::Panicked);
    assert_eq!(error.to_string().matches("oh no").count(), workers()?.len(), "{error}");
    Ok(())
}

/// The error of `map` names the failed items; the others have ended.
fn failing_items_are_named() -> Result {
    for pool in [WorkerPool::over_session()?, WorkerPool::sequential()] {
        let odd = |item: i64| if item % 2 == 0 { Ok(item) } else { Err(format!("{item} is odd")) };
        let error = pool.map(fallible(odd), (each(0..6),)).unwrap_err();
        let places: Vec<_> = error.failures().iter().map(|failure| failure.place).collect();
        assert_eq!(places, [1, 3, 5].map(FailurePlace::Item));
        assert!(error.to_string().contains("3 of 6") && error.to_string().contains("3 is odd"), "{error}");
    }
    Ok(())
}

/// The function's own error is kept, also in a sequential pool; without `fallible`, a `Result` is a value.
fn user_error_is_downcast() -> Result {
    let refuse = |with: i64| Err::<i64, _>(Refusal { with });
    for pool in [WorkerPool::over_session()?, WorkerPool::sequential()] {
        let error = pool.apply_only(fallible(refuse), 0, (5,)).unwrap_err();
        assert_eq!(error.failures()[0].error.downcast(), Some(Refusal { with: 5 }));
        assert_eq!(pool.apply_only(refuse, 0, (5,))?, Err(Refusal { with: 5 }));
    }
    Ok(())
}

fn exits() {
    std::process::exit(3);
}

fn is_lost(error: &PoolError, lost: unidist::ProcessId) -> bool {
    matches!(error, PoolError::WorkersLost { workers } if workers[..] == [lost])
}

/// A worker that dies in a call is named; later calls of the pool fail, and a new pool works.
fn worker_death_in_a_call() -> Result {
    let pool = WorkerPool::over_session()?;
    let list = pool.scatter_list(vec![1, 2, 3, 4])?;
    let pushed = pool.push(&Arc::new(5))?;
    let dies = workers()?[1].id;
    let error = pool.apply_only(exits, 1, ()).unwrap_err();
    let [failure] = error.failures() else { panic!("{error}") };
    assert_eq!(
        (failure.place, kind(&failure.error)),
        (FailurePlace::Worker { index: 1, id: Some(dies) }, ErrorKind::WorkerDied)
    );
    assert!(error.to_string().contains(&dies.to_string()), "{error}");
    let size = |part: Local<Vec<i32>>| part.len();
    assert!(is_lost(&pool.apply(size, (&list,)).unwrap_err(), dies));
    assert!(is_lost(&pool.apply_only(size, 0, (&list,)).unwrap_err(), dies));
    assert!(is_lost(&pool.map(|five: Local<i32>, _: i32| *five, (&pushed, each([1]))).unwrap_err(), dies));
    assert!(is_lost(&pool.scatter_list(vec![1]).unwrap_err(), dies));
    let error = pool.push(&Arc::new(1)).unwrap_err();
    assert!(is_lost(&error, dies) && error.to_string().contains("make a new pool"), "{error}");
    assert_eq!(kind(&error.into()), ErrorKind::WorkerDied);
    unidist::wait_for_workers(pool.len(), Some(crate::support::BOUND))?;
    let pool = WorkerPool::over_session()?;
    let list = pool.scatter_list(vec![1, 2, 3, 4])?;
    assert_eq!(pool.apply(size, (&list,))?.into_iter().sum::<usize>(), 4);
    Ok(())
}

/// The same if it died between two calls; the calls of the other workers have ended.
fn worker_death_between_calls() -> Result {
    let (pool, log) = (WorkerPool::over_session()?, Log::remote());
    let dies = workers()?[0].id;
    let killed = unidist::prepare(exits, &unidist::CallSettings::new().on_worker(dies)).remote(());
    assert_eq!(kind(&get(killed).unwrap_err()), ErrorKind::WorkerDied);
    let error = pool.apply(|log: ActorHandle<Log>| say(&log, "there"), (log.clone(),)).unwrap_err();
    assert_eq!(get(log.said.remote(pool.len() - 1))?.len(), pool.len() - 1);
    let [failure] = error.failures() else { panic!("{error}") };
    assert_eq!(
        (failure.place, kind(&failure.error)),
        (FailurePlace::Worker { index: 0, id: Some(dies) }, ErrorKind::WorkerGone)
    );
    assert!(is_lost(&pool.apply(me, ()).unwrap_err(), dies));
    Ok(())
}

/// A worker that dies in `map` fails its items, and later calls of the pool name it.
fn worker_death_in_map() -> Result {
    let pool = WorkerPool::over_session()?;
    let dies = |item: i64| {
        if item == 3 {
            std::process::exit(4);
        }
        item
    };
    let error = pool.map(dies, (each(0..8),)).unwrap_err();
    let at_3 = error.failures().iter().find(|failure| failure.place == FailurePlace::Item(3));
    assert_eq!(kind(&at_3.unwrap().error), ErrorKind::WorkerDied, "{error}");
    let error = pool.apply(me, ()).unwrap_err();
    assert!(matches!(&error, PoolError::WorkersLost { workers } if workers.len() == 1), "{error}");
    Ok(())
}

/// The random numbers of each worker and item depend on the seed, and differ.
fn seed_determines_random_numbers() -> Result {
    let draw = || vec![pool::seed().unwrap(), pool::rng().u64(..), pool::rng().u64(..)];
    let numbers = |seed| {
        let pool = WorkerPool::over_session()?.with_seed(seed);
        let mut numbers = [pool.apply(draw, ())?, pool.apply(draw, ())?].concat();
        numbers.push(pool.map(|_: i32| pool::rng().u64(..), (each(0..10),))?);
        Ok::<_, PoolError>(numbers.concat())
    };
    let (first, again, other) = (numbers(1)?, numbers(1)?, numbers(2)?);
    assert_eq!(first, again);
    let different: BTreeSet<_> = first.iter().chain(&other).collect();
    assert_eq!(different.len(), first.len() + other.len(), "each is drawn once");
    assert_eq!(pool::seed(), None, "not in the program");
    Ok(())
}

/// An item's random numbers do not depend on its worker or on timing, also in a sequential pool.
fn random_numbers_do_not_depend_on_timing() -> Result {
    let sequential = WorkerPool::sequential().with_seed(7);
    let expected = sequential.map(|_: u32| pool::rng().u64(..), (each(0..50),))?;
    let mixed = |item: u32| {
        // Some items take longer, so that the order of ends changes.
        let work: u64 = (0..u64::from(item % 7) * 10_000).sum();
        std::hint::black_box(work);
        pool::rng().u64(..)
    };
    let second = sequential.apply(|| pool::rng().u64(..), ())?;
    for _ in 0..3 {
        let pool = WorkerPool::over_session()?.with_seed(7);
        assert_eq!(pool.map(mixed, (each(0..50),))?, expected);
        assert_eq!(pool.apply(|| pool::rng().u64(..), ())?[..1], second);
    }
    Ok(())
}

/// Plain calls and another pool run at the same time.
fn pool_with_plain_calls() -> Result {
    let (first, second) = (WorkerPool::over_session()?, WorkerPool::over_session()?);
    let plain: Vec<_> = (0..100).map(|x| square.remote(x)).collect();
    let list = first.scatter_list((0..100).collect::<Vec<i64>>())?;
    let squares = second.map(|x: i64| x * x, (each(0..100),))?;
    let sums = first.apply(|part: Local<Vec<i64>>| part.iter().map(|x| x * x).sum::<i64>(), (&list,))?;
    assert_eq!(get(plain)?, squares);
    assert_eq!(sums.into_iter().sum::<i64>(), squares.into_iter().sum());
    Ok(())
}

/// An executor's calls run at the same time.
fn pool_with_an_executor() -> Result {
    let (pool, executor) = (WorkerPool::over_session()?, unidist::executor::Executor::new()?);
    let squares = executor.map(|x: i64| x * x, 0..100)?;
    let pushed = pool.push(&Arc::new(2))?;
    let doubled = pool.map(|x: i64, two: Local<i64>| x * *two, (each(0..100), &pushed))?;
    assert!(doubled.into_iter().eq((0..100).map(|x| 2 * x)));
    let squares: Vec<_> = squares.collect::<Result<_, _>>()?;
    assert!(squares.into_iter().eq((0..100).map(|x| x * x)));
    Ok(())
}

#[remote]
fn with_a_pool(count: u64) -> Result<(usize, u64)> {
    let pool = new_pool()?;
    let list = pool.scatter_list((0..count).collect::<Vec<u64>>())?;
    let sums = pool.apply(|part: Local<Vec<u64>>| part.iter().sum::<u64>(), (&list,))?;
    Ok((pool.len(), sums.into_iter().sum()))
}

/// A task may make its own pool of the same workers.
fn pool_in_a_task() -> Result {
    assert_eq!(get(with_a_pool.remote(10))?, (workers()?.len(), 45));
    Ok(())
}

/// Several threads may use a pool at once.
fn pools_on_threads() -> Result {
    let pool = WorkerPool::over_session()?;
    let object = Arc::new(vec![1_u64, 2, 3]);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let (pool, object) = (&pool, &object);
                scope.spawn(move || {
                    for _ in 0..5 {
                        let pushed = pool.push(object)?;
                        let results = pool.apply(
                            |o: Local<Vec<u64>>, by: u64| o.iter().sum::<u64>() * by,
                            (&pushed, thread),
                        )?;
                        assert_eq!(results, vec![6 * thread; pool.len()]);
                    }
                    Ok::<_, PoolError>(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })?;
    assert_eq!(pool.push(&object)?.count(), 1);
    Ok(())
}

/// The behaviour of any pool, with one worker.
fn does_everything(pool: &WorkerPool) -> Result {
    let object = Arc::new(vec![1, 2, 3]);
    let (pushed, again) = (pool.push(&object)?, pool.push(&object)?);
    assert_eq!(again.count(), 2);
    let sum = pool.apply(|list: Local<Vec<i32>>, add: i32| list.iter().sum::<i32>() + add, (&pushed, 1))?;
    assert_eq!(sum[0], 7);
    let list = pool.scatter_list(vec![1, 2])?;
    pool.apply(|mut part: LocalMut<Vec<i32>>| part.push(9), (&list,))?;
    let parts = pool.apply(|part: Local<Vec<i32>>| part.clone(), (&list,))?;
    assert_eq!(parts.concat().len(), 2 + pool.len());
    assert_eq!(pool.map(|x: i32, list: Local<Vec<i32>>| x * list[2], (each(0..3), &pushed))?, [0, 3, 6]);
    assert_eq!(pool.apply_only(|x: i32| x, 0, (8,))?, 8);
    let manager = RemoteObjectManager::new();
    let managed = manager.manage(pushed);
    manager.remove_all();
    assert!(managed.removed() && again.count() == 1);
    Ok(())
}

/// The sequential pool needs no session: the program is its worker, and pushed objects are not copied.
fn sequential_pool_needs_no_session() -> Result {
    let pool = WorkerPool::sequential();
    assert_eq!((pool.len(), pool.is_sequential()), (1, true));
    does_everything(&pool)?;
    assert_eq!(pool.apply(std::process::id, ())?, [std::process::id()]);
    let object = Arc::new(vec![0_u8; 10]);
    let pushed = pool.push(&object)?;
    let address = pool.apply(|bytes: Local<Vec<u8>>| bytes.as_ptr().addr(), (&pushed,))?;
    assert_eq!(address, [object.as_ptr().addr()]);
    drop(pushed);
    assert_eq!(Arc::strong_count(&object), 1, "it was given up");
    assert!(matches!(
        WorkerPool::over_session(),
        Err(PoolError::Session(unidist::Error::NotInitialized { .. }))
    ));
    Ok(())
}

/// Both kinds of pool do the same.
fn sequential_pool_does_the_same() -> Result {
    does_everything(&WorkerPool::sequential())?;
    does_everything(&WorkerPool::over_session()?)
}

/// `new_pool` chooses the kind of pool by the session.
fn new_pool_chooses_the_kind() -> Result {
    assert!(new_pool()?.is_sequential());
    let session = unidist::init()?;
    let pool = new_pool()?;
    assert_eq!((pool.is_sequential(), pool.len()), (false, workers()?.len()));
    drop(session);
    assert!(new_pool()?.is_sequential());
    Ok(())
}

/// Calls of a pool whose session has ended fail; its objects can still be dropped.
fn pool_outlives_its_session() -> Result {
    let session = unidist::init()?;
    let pool = new_pool()?;
    let (list, pushed) = (pool.scatter_list(vec![1, 2, 3])?, pool.push(&Arc::new(1))?);
    pool.apply(|_: Local<Vec<i32>>, _: Local<i32>| (), (&list, &pushed))?;
    drop(session);
    assert!(matches!(pool.apply(me, ()), Err(PoolError::Session(_))));
    drop((list, pushed));
    Ok(())
}
