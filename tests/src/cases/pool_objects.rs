//! Worker pools: copies of pushed objects, and parts of scattered ones.

use crate::case::{Case, Result, cases};
use crate::support::{Log, kind, say};
use ndarray::{Array2, ArrayView2, Axis, array};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use unidist::ErrorKind;
use unidist::pool::{Local, LocalError, LocalMut, PoolError, RemoteObjectManager, WorkerPool, each};
use unidist::prelude::*;
use unidist::{current_worker, workers};

pub(super) const CASES: &[Case] = cases!["pool_objects":
    argument_is_dropped_after_the_call, pushed_objects_are_copied_once, object_pushed_twice_is_one_copy,
    last_handle_drops_the_copies, second_remove_has_no_effect, removed_handle_is_an_error,
    manager_removes_its_objects, dropped_handle_removes_the_object, equal_objects_are_distinct,
    lists_are_scattered_evenly, arrays_are_scattered_evenly, drain_array_empties_the_array,
    parts_can_be_changed, map_uses_the_workers_parts, object_in_use_is_an_error,
    part_is_free_while_others_are_fetched, object_can_be_read_twice_in_a_call,
    panicking_function_keeps_the_part, pushed_object_cannot_be_changed, parts_belong_to_their_pool,
];

/// Logs when it is copied to a worker and when the copy is dropped.
#[derive(Serialize, Deserialize)]
#[serde(from = "Original")]
struct Witness {
    log: ActorHandle<Log>,
    #[serde(skip)]
    is_copy: bool,
}

#[derive(Deserialize)]
struct Original {
    log: ActorHandle<Log>,
}

impl From<Original> for Witness {
    fn from(original: Original) -> Self {
        say(&original.log, "copied");
        Witness { log: original.log, is_copy: true }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if self.is_copy {
            say(&self.log, "dropped");
        }
    }
}

impl Witness {
    fn new(log: &ActorHandle<Log>) -> Self {
        Witness { log: log.clone(), is_copy: false }
    }
}

fn uses(witness: Local<Witness>) -> bool {
    witness.is_copy
}

/// The counts of the messages in the log, once there are that many.
fn told(log: &ActorHandle<Log>, words: usize) -> Result<(usize, usize)> {
    let said = get(log.said.remote(words))?;
    let count = |word: &str| said.iter().filter(|said| *said == word).count();
    Ok((count("copied"), count("dropped")))
}

/// An argument that was not pushed is dropped on the workers after the call.
fn argument_is_dropped_after_the_call() -> Result {
    let (pool, log) = (WorkerPool::over_session()?, Log::remote());
    pool.apply(|witness: Witness| witness.is_copy, (Witness::new(&log),))?;
    assert_eq!(told(&log, 2 * pool.len())?, (pool.len(), pool.len()));
    Ok(())
}

/// A pushed object is sent to each worker once, regardless of the number of uses.
fn pushed_objects_are_copied_once() -> Result {
    let (pool, log) = (WorkerPool::over_session()?, Log::remote());
    let pushed = pool.push(&Arc::new(Witness::new(&log)))?;
    for _ in 0..3 {
        assert!(pool.apply(uses, (&pushed,))?.into_iter().all(|is_copy| is_copy));
    }
    let more = pool.map(|witness: Local<Witness>, _: u32| witness.is_copy, (&pushed, each(0..20)))?;
    assert_eq!(more, [true; 20]);
    pushed.remove();
    assert_eq!(told(&log, 2 * pool.len())?, (pool.len(), pool.len()));
    Ok(())
}

/// An object that is pushed again is not copied again, and its handles are counted.
fn object_pushed_twice_is_one_copy() -> Result {
    let (pool, log) = (WorkerPool::over_session()?, Log::remote());
    let object = Arc::new(Witness::new(&log));
    let first = pool.push(&object)?;
    pool.apply(uses, (&first,))?;
    let second = pool.push(&object.clone())?;
    assert_eq!((first.count(), second.count()), (2, 2));
    pool.apply(uses, (&second,))?;
    drop((first, second));
    assert_eq!(told(&log, 2 * pool.len())?, (pool.len(), pool.len()));
    let again = pool.push(&object)?;
    assert_eq!(again.count(), 1);
    pool.apply(uses, (&again,))?;
    drop(again);
    assert_eq!(told(&log, 4 * pool.len())?, (2 * pool.len(), 2 * pool.len()));
    Ok(())
}

/// The workers drop their copies when all handles are removed, and not before.
fn last_handle_drops_the_copies() -> Result {
    let (pool, log) = (WorkerPool::over_session()?, Log::remote());
    let object = Arc::new(Witness::new(&log));
    let (first, second) = (pool.push(&object)?, pool.push(&object)?);
    let third = second.clone();
    pool.apply(uses, (&first,))?;
    first.remove();
    drop(second);
    assert_eq!((third.count(), third.removed()), (1, false));
    pool.apply(uses, (&third,))?;
    say(&log, "not yet");
    let before = get(log.said.remote(pool.len() + 1))?;
    assert!(!before.contains(&"dropped".to_owned()), "{before:?}");
    third.remove();
    assert_eq!(told(&log, 2 * pool.len() + 1)?, (pool.len(), pool.len()));
    Ok(())
}

/// The second removal has no effect.
fn second_remove_has_no_effect() -> Result {
    let pool = WorkerPool::over_session()?;
    let object = Arc::new(5);
    let (first, second) = (pool.push(&object)?, pool.push(&object)?);
    first.remove();
    first.remove();
    assert_eq!((first.removed(), second.removed(), second.count()), (true, false, 1));
    assert!(first.clone().removed());
    drop(first);
    assert_eq!(second.count(), 1);
    assert_eq!(pool.apply_only(|five: Local<i32>| *five, 0, (&second,))?, 5);
    Ok(())
}

/// A removed handle cannot be passed to calls.
fn removed_handle_is_an_error() -> Result {
    let pool = WorkerPool::over_session()?;
    let list = pool.scatter_list(vec![1, 2, 3])?;
    list.remove();
    let error = pool.apply(|part: Local<Vec<i32>>| part.len(), (&list,)).unwrap_err();
    assert!(matches!(error, PoolError::Removed { .. }), "{error}");
    Ok(())
}

/// A manager removes what it manages when it is dropped.
fn manager_removes_its_objects() -> Result {
    let (pool, log) = (WorkerPool::over_session()?, Log::remote());
    let manager = RemoteObjectManager::new();
    let witness = manager.manage(pool.push(&Arc::new(Witness::new(&log)))?);
    let list = manager.manage(pool.scatter_list(vec![1, 2])?);
    pool.apply(uses, (&witness,))?;
    assert!(!witness.removed() && !list.removed());
    drop(manager);
    assert!(witness.removed() && list.removed());
    assert_eq!(told(&log, 2 * pool.len())?, (pool.len(), pool.len()));
    Ok(())
}

/// The drop of a handle removes it, too.
fn dropped_handle_removes_the_object() -> Result {
    let (pool, log) = (WorkerPool::over_session()?, Log::remote());
    let witnesses = (0..pool.len()).map(|_| Witness::new(&log)).collect();
    let list = pool.scatter_list(witnesses)?;
    drop(list);
    // In a session, the program's own object is not a copy.
    assert_eq!(told(&log, 2 * pool.len())?, (pool.len(), pool.len()));
    Ok(())
}

/// Equal objects in different `Arc`s are pushed separately.
fn equal_objects_are_distinct() -> Result {
    let pool = WorkerPool::over_session()?;
    let (first, second) = (pool.push(&Arc::new(vec![1, 2]))?, pool.push(&Arc::new(vec![1, 2]))?);
    assert_eq!((first.count(), second.count()), (1, 1));
    Ok(())
}

/// `scatter_list` gives each worker a part; the lengths differ by at most one.
fn lists_are_scattered_evenly() -> Result {
    let pool = WorkerPool::over_session()?;
    for length in [0, 1, pool.len(), 10 * pool.len() + 1] {
        let list = pool.scatter_list((0..length).collect())?;
        let parts = pool.apply(|part: Local<Vec<usize>>| part.clone(), (&list,))?;
        let lengths: BTreeSet<_> = parts.iter().map(Vec::len).collect();
        assert!(lengths.last().unwrap() - lengths.first().unwrap() <= 1, "{lengths:?}");
        assert!(parts.into_iter().flatten().eq(0..length));
    }
    Ok(())
}

/// `scatter_array` does the same along the first axis, and does not change the array.
fn arrays_are_scattered_evenly() -> Result {
    let pool = WorkerPool::over_session()?;
    let array = Array2::from_shape_fn((2 * pool.len() + 1, 3), |(row, column)| (10 * row + column) as f64);
    let scattered = pool.scatter_array(&array)?;
    let columns = pool.scatter_array(&array.t())?; // whatever lies in memory how
    let parts = pool.apply(|part: Local<Array2<f64>>| part.clone(), (&scattered,))?;
    assert!(parts.iter().all(|part| [2, 3].contains(&part.nrows())));
    let views: Vec<ArrayView2<'_, f64>> = parts.iter().map(|part| part.view()).collect();
    assert_eq!(ndarray::concatenate(Axis(0), &views).unwrap(), array);
    let sums = pool.apply(|part: Local<Array2<f64>>| part.sum(), (&columns,))?;
    assert_eq!(sums.into_iter().sum::<f64>(), array.sum());
    Ok(())
}

/// `drain_array` empties it.
fn drain_array_empties_the_array() -> Result {
    for pool in [WorkerPool::over_session()?, WorkerPool::sequential()] {
        let mut array = array![[1, 2], [3, 4], [5, 6]];
        let scattered = pool.drain_array(&mut array)?;
        assert_eq!(array.dim(), (0, 2));
        let sums = pool.apply(|part: Local<Array2<i32>>| part.sum(), (&scattered,))?;
        assert_eq!(sums.into_iter().sum::<i32>(), 21);
    }
    Ok(())
}

/// A worker keeps changes that a function makes to its part.
fn parts_can_be_changed() -> Result {
    let pool = WorkerPool::over_session()?;
    let list = pool.scatter_list(vec![1; 2 * pool.len()])?;
    for _ in 0..3 {
        pool.apply(
            |mut part: LocalMut<Vec<i64>>, by: i64| part.iter_mut().for_each(|item| *item *= by),
            (&list, 2),
        )?;
    }
    pool.apply_only(|mut part: LocalMut<Vec<i64>>| part.push(100), 1, (&list,))?;
    let parts = pool.apply(|part: Local<Vec<i64>>| part.clone(), (&list,))?;
    assert_eq!(parts[..2], [vec![8, 8], vec![8, 8, 100]]);
    Ok(())
}

/// In `map`, a worker uses its own part, too.
fn map_uses_the_workers_parts() -> Result {
    let pool = WorkerPool::over_session()?;
    let list = pool.scatter_list(workers()?.iter().map(|worker| worker.id).collect::<Vec<_>>())?;
    let is_own = |part: Local<Vec<unidist::ProcessId>>, _: u32| Some(part[0]) == current_worker();
    assert_eq!(pool.map(is_own, (&list, each(0..20)))?, [true; 20]);
    Ok(())
}

/// An object that is passed mutably and a second time to one call is an error, not a deadlock.
fn object_in_use_is_an_error() -> Result {
    for pool in [WorkerPool::over_session()?, WorkerPool::sequential()] {
        let list = pool.scatter_list(vec![1, 2, 3])?;
        let twice = |_: LocalMut<Vec<i32>>, _: LocalMut<Vec<i32>>| ();
        let read_too = |_: Local<Vec<i32>>, _: LocalMut<Vec<i32>>| ();
        for error in [
            pool.apply(twice, (&list, &list)).unwrap_err(),
            pool.apply(read_too, (&list, &list)).unwrap_err(),
        ] {
            assert_eq!(error.failures().len(), pool.len());
            for failure in error.failures() {
                let error: Option<LocalError> = failure.error.downcast();
                assert!(matches!(error, Some(LocalError::InUse { .. })), "{failure}");
            }
        }
        let total: usize = pool.apply(|part: LocalMut<Vec<i32>>| part.len(), (&list,))?.into_iter().sum();
        assert_eq!(total, 3, "it is free again");
    }
    Ok(())
}

/// While a worker waits for its copy of one object, other calls can use other objects.
fn part_is_free_while_others_are_fetched() -> Result {
    let pool = WorkerPool::over_session()?;
    let counts = pool.scatter_list(vec![0_u64; pool.len()])?;
    for _ in 0..20 {
        let pushed = pool.push(&Arc::new(vec![1_u64; 10_000]))?;
        let count =
            |mut counts: LocalMut<Vec<u64>>, ones: Local<Vec<u64>>, item: usize| counts[0] += ones[item];
        pool.map(count, (&counts, &pushed, each(0..20)))?;
    }
    let counts = pool.apply(|counts: Local<Vec<u64>>| counts[0], (&counts,))?;
    assert_eq!(counts.into_iter().sum::<u64>(), 400);
    Ok(())
}

/// A call may read an object twice.
fn object_can_be_read_twice_in_a_call() -> Result {
    let pool = WorkerPool::over_session()?;
    let pushed = pool.push(&Arc::new(21))?;
    let sums = pool.apply(|a: Local<i32>, b: Local<i32>| *a + *b, (&pushed, &pushed))?;
    assert_eq!(sums, vec![42; pool.len()]);
    Ok(())
}

/// A function that panics while it changes a part does not lose the part.
fn panicking_function_keeps_the_part() -> Result {
    for pool in [WorkerPool::over_session()?, WorkerPool::sequential()] {
        let list = pool.scatter_list(vec![0; pool.len()])?;
        let panics = |mut part: LocalMut<Vec<i32>>| {
            part[0] = 7;
            assert!(part.is_empty(), "in the middle");
        };
        let error = pool.apply(panics, (&list,)).unwrap_err();
        assert!(
            error.failures().iter().all(|failure| kind(&failure.error) == ErrorKind::Panicked),
            "{error}"
        );
        assert!(error.to_string().contains("in the middle"), "{error}");
        assert_eq!(pool.apply(|part: Local<Vec<i32>>| part[0], (&list,))?, vec![7; pool.len()]);
    }
    Ok(())
}

/// Pushed objects cannot be changed.
fn pushed_object_cannot_be_changed() -> Result {
    for pool in [WorkerPool::over_session()?, WorkerPool::sequential()] {
        let pushed = pool.push(&Arc::new(1))?;
        let error = pool.apply(|mut one: LocalMut<i32>| *one = 2, (&pushed,)).unwrap_err();
        assert!(matches!(error, PoolError::Immutable { .. }), "{error}");
    }
    Ok(())
}

/// A pool's parts are not available in a pool of other workers.
fn parts_belong_to_their_pool() -> Result {
    let list = WorkerPool::sequential().scatter_list(vec![1, 2, 3])?;
    let pool = WorkerPool::over_session()?;
    let error = pool.apply(|part: Local<Vec<i32>>| part.len(), (&list,)).unwrap_err();
    assert_eq!(error.failures().len(), pool.len());
    let not_here = |error: &unidist::Error| matches!(error.downcast(), Some(LocalError::NotHere { .. }));
    assert!(error.failures().iter().all(|failure| not_here(&failure.error)), "{error}");
    Ok(())
}
