//! The executor: `map` and `starmap`.

use super::executor::{MOMENT, behind, gate, open, refuse_odd, says, square};
use crate::case::{Case, PYMP, Result, cases};
use crate::support::{Log, Refusal, Signal, blocked_on};
use std::time::{Duration, Instant};
use unidist::executor::{Error, Executor};
use unidist::prelude::{ActorHandle, get};
use unidist::{Dep, fallible};

pub(super) const CASES: &[Case] = cases!["executor_maps" on_one_host:
    map_keeps_order, map_in_chunks, starmap_takes_tuples, invalid_options_are_errors,
    map_failure_concerns_one_item, panic_fails_its_chunk, map_times_out, map_timeout_counts_from_the_call,
    unordered_map, buffersize_bounds_endless_items, dropped_results_cancel, left_loop_cancels,
    dropped_map_leaves_running_calls.only(PYMP), map_after_a_shutdown,
];

/// The results of a map are in order; an empty map has none.
fn map_keeps_order() -> Result {
    let executor = Executor::new()?;
    let results: Vec<i64> = executor.map(square, 0..1000)?.collect::<Result<_, _>>()?;
    assert_eq!(results, (0..1000).map(square).collect::<Vec<_>>());
    assert_eq!(executor.map(square, [])?.count(), 0);
    let words = vec!["a".to_owned(), "b".to_owned()];
    let upper = executor.map(|word: String| word.to_uppercase(), words)?;
    assert_eq!(upper.collect::<Result<Vec<_>, _>>()?, ["A", "B"]);
    Ok(())
}

/// Chunks of any size give the same.
fn map_in_chunks() -> Result {
    let executor = Executor::new()?;
    for chunksize in [1, 2, 7, 99, 100, 101, usize::MAX] {
        for unordered in [false, true] {
            let options = executor.options().chunksize(chunksize);
            let options = if unordered { options.unordered() } else { options };
            let mut results: Vec<i64> = options.map(square, 0..100)?.collect::<Result<_, _>>()?;
            if unordered {
                results.sort_unstable();
            }
            assert_eq!(results, (0..100).map(square).collect::<Vec<_>>(), "{chunksize}");
        }
    }
    assert_eq!(executor.options().chunksize(5).map(square, [])?.count(), 0);
    Ok(())
}

/// `starmap` takes tuples.
fn starmap_takes_tuples() -> Result {
    let executor = Executor::new()?;
    let pairs = (1..30_i64).zip(2..);
    let expected: Vec<_> = pairs.clone().map(|(a, b)| a * b).collect();
    let product = |a: i64, b: i64| a * b;
    assert_eq!(executor.starmap(product, pairs.clone())?.collect::<Result<Vec<_>, _>>()?, expected);
    let chunks = executor.options().chunksize(4).starmap(product, pairs)?;
    assert_eq!(chunks.collect::<Result<Vec<_>, _>>()?, expected);
    Ok(())
}

/// A chunk size or buffer size of zero is an error.
fn invalid_options_are_errors() -> Result {
    let executor = Executor::new()?;
    let error = executor.options().chunksize(0).map(square, 0..3).unwrap_err();
    assert!(error.to_string().contains("chunksize must be at least 1"), "{error}");
    let error = executor.options().buffersize(0).starmap(square, [(1,)]).unwrap_err();
    assert!(error.to_string().contains("buffersize must be at least 1"), "{error}");
    Ok(())
}

/// A failure concerns one item, also in a chunk; it names the function and the worker.
fn map_failure_concerns_one_item() -> Result {
    let executor = Executor::new()?;
    for chunksize in [1, 4] {
        let results: Vec<_> =
            executor.options().chunksize(chunksize).map(fallible(refuse_odd), 0..10)?.collect();
        assert_eq!(results.len(), 10);
        for (x, result) in (0..).zip(results) {
            match result {
                Ok(value) => assert!(x % 2 == 0 && value == x),
                Err(error) => {
                    assert_eq!(error.downcast(), Some(Refusal { with: x }));
                    let error = error.as_task().unwrap();
                    assert!(error.function.contains("refuse_odd") && !error.worker.is_empty(), "{error:?}");
                }
            }
        }
    }
    let first: Result<Vec<i64>, Error> = executor.map(fallible(refuse_odd), 0..10)?.collect();
    assert_eq!(first.unwrap_err().downcast(), Some(Refusal { with: 1 }));
    Ok(())
}

/// A panic fails only its own chunk.
fn panic_fails_its_chunk() -> Result {
    let executor = Executor::new()?;
    let divided = executor.options().chunksize(3).map(|x: i64| 12 / x, -4..5)?;
    let failed: Vec<bool> = divided.map(|result| result.is_err()).collect();
    assert_eq!(failed, [false, false, false, true, true, true, false, false, false]);
    Ok(())
}

/// A map that times out gives one error, and cancels the rest.
fn map_times_out() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let opened = Signal::remote();
    open(&opened)?;
    let items = || [(gate(&opened), 1), (gate(&signal), 2), (gate(&signal), 3)];
    get(opened.wait.remote())?;
    let mut ordered = executor.options().timeout(5 * MOMENT).starmap(behind, items())?;
    assert_eq!(ordered.next(), Some(Ok(1)));
    assert_eq!(
        ordered.next(),
        Some(Err(Error::TimedOut { what: "the results of the map", limit: 5 * MOMENT }))
    );
    assert_eq!(ordered.next(), None);
    let mut unordered = executor.options().timeout(5 * MOMENT).unordered().starmap(behind, items())?;
    assert_eq!(unordered.next(), Some(Ok(1)));
    assert!(matches!(unordered.next(), Some(Err(Error::TimedOut { .. }))));
    assert_eq!(unordered.next(), None);
    drop(executor); // nothing is left that it waits for
    open(&signal)
}

/// The time of a map counts from its call, not from that of `next`.
fn map_timeout_counts_from_the_call() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let limit = Duration::from_secs(2);
    let start = Instant::now();
    let mut results = executor.options().timeout(limit).starmap(behind, [(gate(&signal), 1)])?;
    assert!(unidist::wait(signal.wait.remote(), 1, Some(limit))?.ready.is_empty());
    assert!(matches!(results.next(), Some(Err(Error::TimedOut { .. }))));
    assert!(start.elapsed() < 2 * limit);
    drop(results);
    open(&signal)
}

/// An unordered map gives ready results first.
fn unordered_map() -> Result {
    let (executor, signal, opened) = (Executor::new()?, Signal::remote(), Signal::remote());
    open(&opened)?;
    let items = (0..10).map(|x| (gate(if x == 0 { &signal } else { &opened }), x));
    let mut results = executor.options().unordered().starmap(behind, items)?;
    let mut first: Vec<i64> = results.by_ref().take(9).collect::<Result<_, _>>()?;
    first.sort_unstable();
    assert_eq!(first, (1..10).collect::<Vec<_>>());
    open(&signal)?;
    assert_eq!(results.next(), Some(Ok(0)));
    assert_eq!(results.next(), None);
    Ok(())
}

/// Endless items: no more are taken than the buffer size allows.
fn buffersize_bounds_endless_items() -> Result {
    let executor = Executor::new()?;
    for (chunksize, unordered) in [(1, false), (1, true), (3, false), (3, true)] {
        let taken = std::cell::Cell::new(0);
        let items = (0..).inspect(|_| taken.set(taken.get() + 1));
        let options = executor.options().chunksize(chunksize).buffersize(4);
        let mut results = if unordered { options.unordered() } else { options }.map(square, items)?;
        assert_eq!(taken.get(), 4 * chunksize);
        for n in 1..=30 {
            assert!(results.next().unwrap()? >= 0);
            assert!(taken.get() <= n + 4 * chunksize, "{} of {n}", taken.get());
        }
        assert!(taken.get() >= 30);
    }
    Ok(())
}

/// Dropping the results cancels calls that have not started.
fn dropped_results_cancel() -> Result {
    let (executor, signal, log) = (Executor::new()?, Signal::remote(), Log::remote());
    let runs = |gate: Dep<()>, log: ActorHandle<Log>| {
        let () = *gate;
        says(log);
    };
    let items = || (0..5).map(|_| (gate(&signal), log.clone()));
    drop(executor.starmap(runs, items())?);
    drop(executor.options().unordered().starmap(runs, items())?);
    drop(executor.options().chunksize(2).starmap(runs, items())?);
    open(&signal)?;
    executor.shutdown(true, false);
    get(log.say.remote("the end"))?;
    assert_eq!(get(log.said.remote(1_usize))?, ["the end"]);
    Ok(())
}

/// Leaving the loop with `?` does the same.
fn left_loop_cancels() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let opened = Signal::remote();
    open(&opened)?;
    let checked = |gate: Dep<()>, x: i64| refuse_odd(behind(gate, x));
    let sum = || -> Result<i64, Error> {
        let mut sum = 0;
        let items = (0..5).map(|x| (gate(if x < 3 { &opened } else { &signal }), x));
        for result in executor.starmap(fallible(checked), items)? {
            sum += result?;
        }
        Ok(sum)
    };
    assert_eq!(sum().unwrap_err().downcast(), Some(Refusal { with: 1 }));
    drop(executor); // waits for none of the others
    open(&signal)
}

/// Calls that run when the results are dropped continue, and the executor waits for them.
fn dropped_map_leaves_running_calls() -> Result {
    let (executor, signal, log) = (Executor::new()?, Signal::remote(), Log::remote());
    let runs = |signal: ActorHandle<Signal>, log: ActorHandle<Log>| {
        blocked_on(signal).unwrap();
        says(log);
    };
    let results = executor.starmap(runs, [(signal.clone(), log.clone())])?;
    get(signal.waiting.remote(1_usize))?;
    drop(results);
    let opened = signal.open.remote();
    drop(executor);
    get(log.say.remote("the end"))?;
    assert_eq!(get(log.said.remote(2_usize))?[1], "the end");
    get(opened)
}

/// A map that started before the shutdown gives the submitted results, and then an error.
fn map_after_a_shutdown() -> Result {
    let executor = Executor::new()?;
    let mut results = executor.options().buffersize(3).map(square, 0..10)?;
    let all = executor.map(square, 0..10)?;
    assert_eq!(results.next(), Some(Ok(0)));
    executor.shutdown(true, false);
    assert_eq!(results.next(), Some(Ok(1)));
    assert_eq!(results.next(), Some(Ok(4)));
    assert_eq!(results.next(), Some(Err(Error::ShutDown { call: "map" })));
    assert_eq!(results.next(), None);
    assert_eq!(all.count(), 10);
    Ok(())
}
