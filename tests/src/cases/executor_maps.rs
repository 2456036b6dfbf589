//! The executor: `map` and `starmap`.

use super::executor::{MOMENT, behind, gate, open, refuse_odd, says, square};
use crate::case::{Case, PYMP, Result, cases};
use crate::support::{Log, Refusal, Signal, blocked_on};
use std::time::{Duration, Instant};
use unidist::executor::{Error, Executor};
use unidist::prelude::{ActorHandle, get};
use unidist::{Dep, fallible};

pub(super) const CASES: &[Case] = cases!["executor_maps" on_one_host:
    a_map, a_map_in_chunks, a_starmap, impossible_options, a_failure_in_a_map, a_panic_in_a_chunk,
    a_map_out_of_time, the_time_of_a_map_counts_from_its_call, an_unordered_map, endless_items,
    dropping_the_results_cancels, leaving_a_loop_cancels, what_a_dropped_map_left_running.only(PYMP),
    a_map_after_the_shutdown,
];

/// The results of a map, in order; of none, none.
fn a_map() -> Result {
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
fn a_map_in_chunks() -> Result {
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
fn a_starmap() -> Result {
    let executor = Executor::new()?;
    let pairs = (1..30_i64).zip(2..);
    let expected: Vec<_> = pairs.clone().map(|(a, b)| a * b).collect();
    let product = |a: i64, b: i64| a * b;
    assert_eq!(executor.starmap(product, pairs.clone())?.collect::<Result<Vec<_>, _>>()?, expected);
    let chunks = executor.options().chunksize(4).starmap(product, pairs)?;
    assert_eq!(chunks.collect::<Result<Vec<_>, _>>()?, expected);
    Ok(())
}

/// Chunks of nothing and a look-ahead of nothing are errors.
fn impossible_options() -> Result {
    let executor = Executor::new()?;
    let error = executor.options().chunksize(0).map(square, 0..3).unwrap_err();
    assert!(error.to_string().contains("chunksize must be at least 1"), "{error}");
    let error = executor.options().buffersize(0).starmap(square, [(1,)]).unwrap_err();
    assert!(error.to_string().contains("buffersize must be at least 1"), "{error}");
    Ok(())
}

/// A failure is that of one item, in a chunk as well; it names function and worker.
fn a_failure_in_a_map() -> Result {
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

/// A panic fails its whole chunk, and no other.
fn a_panic_in_a_chunk() -> Result {
    let executor = Executor::new()?;
    let divided = executor.options().chunksize(3).map(|x: i64| 12 / x, -4..5)?;
    let failed: Vec<bool> = divided.map(|result| result.is_err()).collect();
    assert_eq!(failed, [false, false, false, true, true, true, false, false, false]);
    Ok(())
}

/// A map whose results are not there in time says so, once, and cancels the rest.
fn a_map_out_of_time() -> Result {
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
fn the_time_of_a_map_counts_from_its_call() -> Result {
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

/// Unordered, what is ready comes first.
fn an_unordered_map() -> Result {
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

/// Items without end: no more of them are taken than the look-ahead allows.
fn endless_items() -> Result {
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

/// Dropping the results cancels what has not started.
fn dropping_the_results_cancels() -> Result {
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

/// So does leaving the loop with `?`.
fn leaving_a_loop_cancels() -> Result {
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

/// What runs when the results are dropped goes on, and the executor waits for it.
fn what_a_dropped_map_left_running() -> Result {
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

/// A map that was begun before the shutdown gives what was submitted, and then says why there is no more.
fn a_map_after_the_shutdown() -> Result {
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
