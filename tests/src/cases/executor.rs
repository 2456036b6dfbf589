//! The executor: mpi4py.futures' promises.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{BOUND, Counter, Log, Refusal, Signal, blocked_on, kind, say};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use unidist::executor::{
    self, Error, Executor, Future, ReturnWhen, as_completed, collect, compose, compose_with, wait,
};
use unidist::prelude::{ActorHandle, get, put};
use unidist::{Dep, ErrorKind, current_worker, fallible, num_cpus, workers};

/// Long enough for a call to start, and no longer than a test may wait.
const MOMENT: Duration = Duration::from_millis(50);

pub(super) const CASES: &[Case] = cases!["executor":
    a_result, a_failure, an_error_of_the_function, a_time_limit, cancelled_before_it_starts,
    what_runs_is_not_cancelled.only(PYMP), callbacks, a_future_is_awaited, an_object_ref_goes_on,
    no_workers_are_an_error, as_many_as_the_session_has, the_setting.settings(&[("UNIDIST_MAX_WORKERS", "1")]),
    the_limit_is_kept.only(PYMP), nothing_happens_before_the_first_call, without_a_session.bare(),
    nothing_after_the_shutdown, a_shutdown_waits, a_shutdown_that_does_not_wait, a_shutdown_that_cancels,
    the_drop_waits, the_drop_waits_after_a_shutdown, the_session_may_end_first.bare(),
    a_map, a_map_in_chunks, a_starmap, impossible_options, a_failure_in_a_map, a_panic_in_a_chunk, a_map_out_of_time,
    the_time_of_a_map_counts_from_its_call, an_unordered_map, endless_items, dropping_the_results_cancels,
    leaving_a_loop_cancels, what_a_dropped_map_left_running.only(PYMP), a_map_after_the_shutdown,
    waiting_for_all, waiting_for_the_first, waiting_for_a_failure, as_they_complete, as_they_complete_in_time,
    collected, collected_with_a_failure, nothing_collected, a_collection_is_cancelled, composed, composed_of_failures,
    composed_of_cancelled, a_composition_is_cancelled,
    an_initializer, once_in_each_worker, again_in_a_new_worker.only(PYMP).one_host(), a_failed_initializer,
    an_initializer_that_panics, a_failed_initializer_at_bootup, another_executor_goes_on, an_environment,
    what_cannot_be_sent, inside_a_task, waiting_inside_a_task, deeper_than_there_are_workers, several_share_one_pool,
    a_flood_starves_nobody.only(PYMP).one_host(), many_of_many,
];

/// A call that waits for this argument does not start before the signal is opened.
fn gate(signal: &ActorHandle<Signal>) -> Dep<()> {
    signal.wait.remote().into()
}

fn behind(gate: Dep<()>, x: i64) -> i64 {
    let () = *gate;
    x
}

fn open(signal: &ActorHandle<Signal>) -> Result {
    get(signal.open.remote())
}

fn square(x: i64) -> i64 {
    x * x
}

fn refuse_odd(x: i64) -> Result<i64, Refusal> {
    if x % 2 == 0 { Ok(x) } else { Err(Refusal { with: x }) }
}

fn squares(executor: &Executor, of: std::ops::Range<i64>) -> Result<Vec<Future<i64>>> {
    Ok(of.map(|x| executor.submit(square, (x,))).collect::<Result<_, Error>>()?)
}

/// `submit` gives a future, whose result can be had as often as one likes.
fn a_result() -> Result {
    let executor = Executor::new()?;
    let future = executor.submit(|a: i64, b: String| format!("{a}{b}"), (4, "2".to_owned()))?;
    assert_eq!(future.result(None)?, "42");
    assert_eq!(future.result(Some(BOUND))?, "42");
    assert_eq!(future.exception(None)?, None);
    assert!(future.done() && !future.running() && !future.cancelled() && !future.cancel());
    assert_eq!(executor.submit(|| 5, ())?.result(None)?, 5);
    Ok(())
}

/// A failed call: the error names the function and the worker.
fn a_failure() -> Result {
    let executor = Executor::new()?;
    let future = executor.submit(|x: i64| 1 / x, (0,))?;
    let error = future.result(None).unwrap_err();
    assert_eq!(future.exception(None)?.as_ref(), Some(&error));
    let task = error.as_task().unwrap();
    assert_eq!(task.kind, ErrorKind::Panicked);
    assert!(task.function.contains("a_failure"), "{task:?}");
    assert!(!task.worker.is_empty() && error.to_string().contains(&task.worker), "{error}");
    assert!(future.done() && !future.cancelled());
    Ok(())
}

/// The error that a function returns is there as it was.
fn an_error_of_the_function() -> Result {
    let executor = Executor::new()?;
    let error = executor.submit(fallible(refuse_odd), (3,))?.result(None).unwrap_err();
    assert_eq!(error.downcast(), Some(Refusal { with: 3 }));
    assert_eq!(executor.submit(refuse_odd, (3,))?.result(None)?, Err(Refusal { with: 3 }));
    Ok(())
}

/// A result that is not there in time is an error of its own, and comes later.
fn a_time_limit() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let future = executor.submit(behind, (gate(&signal), 3))?;
    assert!(matches!(future.result(Some(MOMENT)), Err(Error::TimedOut { limit: MOMENT, .. })));
    assert!(matches!(future.exception(Some(Duration::ZERO)), Err(Error::TimedOut { .. })));
    assert!(!future.done() && !future.running());
    open(&signal)?;
    assert_eq!(future.result(Some(BOUND))?, 3);
    Ok(())
}

/// A call that has not started is cancelled, and never runs.
fn cancelled_before_it_starts() -> Result {
    let (executor, signal, log) = (Executor::new()?, Signal::remote(), Log::remote());
    let runs = |_: Dep<()>, log: ActorHandle<Log>| say(&log, "it runs");
    let future = executor.submit(runs, (gate(&signal), log.clone()))?;
    assert!(!future.cancelled());
    assert!(future.cancel() && future.cancelled() && future.done() && future.cancel());
    assert_eq!(future.result(None).unwrap_err(), Error::Cancelled);
    assert_eq!(future.exception(None).unwrap_err(), Error::Cancelled);
    open(&signal)?;
    executor.submit(runs, (gate(&signal), log.clone()))?.result(None)?;
    assert_eq!(get(log.said.remote(1_usize))?, ["it runs"]);
    Ok(())
}

/// A call that runs says so, and is not cancelled.
fn what_runs_is_not_cancelled() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let blocked = |signal: ActorHandle<Signal>| blocked_on(signal).is_ok();
    let future = executor.submit(blocked, (signal.clone(),))?;
    get(signal.waiting.remote(1_usize))?;
    assert!(future.running() && !future.cancel() && !future.cancelled() && !future.done());
    open(&signal)?;
    assert!(future.result(None)?);
    assert!(!future.running());
    Ok(())
}

/// Callbacks get the future, once, also if they are added late; a panic of one hurts nobody; the drop waits for them.
fn callbacks() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let (sender, told) = mpsc::channel();
    let future = executor.submit(behind, (gate(&signal), 7))?;
    future.add_done_callback(|_| panic!("a callback's panic"));
    for _ in 0..2 {
        let sender = sender.clone();
        future.add_done_callback(move |future| sender.send(future.result(None)).unwrap());
    }
    assert!(told.try_recv().is_err());
    open(&signal)?;
    assert_eq!((told.recv().unwrap(), told.recv().unwrap()), (Ok(7), Ok(7)));

    let late = sender.clone();
    future.add_done_callback(move |future| late.send(future.result(None)).unwrap());
    let failed = executor.submit(|x: i64| 1 / x, (0,))?;
    failed.add_done_callback(move |future| sender.send(future.result(None)).unwrap());
    drop(executor);
    let told: Vec<_> = told.try_iter().collect();
    assert_eq!((told.len(), told.iter().filter(|result| result.is_ok()).count()), (2, 1), "{told:?}");
    Ok(())
}

/// A future can be awaited.
fn a_future_is_awaited() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (waits, fails) =
        (executor.submit(behind, (gate(&signal), 2))?, executor.submit(|x: i64| 1 / x, (0,))?);
    let opened = signal.open.remote();
    let awaited = runtime.block_on(async { (waits.clone().await, (&waits).await, fails.await.is_err()) });
    assert_eq!(awaited, (Ok(2), Ok(2), true));
    get(opened)
}

/// A future's ref is an argument of other calls, of this executor or not.
fn an_object_ref_goes_on() -> Result {
    let executor = Executor::new()?;
    let three = executor.submit(|| 3, ())?;
    let next = executor.submit(|x: Dep<i64>| *x + 1, (three.object_ref().unwrap().into(),))?;
    assert_eq!(next.result(None)?, 4);
    Ok(())
}

/// No workers are an error, which says what is allowed.
fn no_workers_are_an_error() -> Result {
    let error = Executor::builder().max_workers(0).build().unwrap_err();
    assert!(error.to_string().contains("max_workers must be at least 1"), "{error}");
    Ok(())
}

/// Without a limit there are as many as the session has; a higher limit changes nothing.
fn as_many_as_the_session_has() -> Result {
    assert_eq!(Executor::new()?.num_workers()?, num_cpus()?);
    assert_eq!(Executor::builder().max_workers(1000).build()?.num_workers()?, num_cpus()?);
    assert_eq!(Executor::builder().max_workers(1).build()?.num_workers()?, 1);
    Ok(())
}

/// `UNIDIST_MAX_WORKERS` is the limit where the program gives none.
fn the_setting() -> Result {
    assert_eq!(Executor::new()?.num_workers()?, 1);
    assert_eq!(Executor::builder().max_workers(2).build()?.num_workers()?, 2.min(num_cpus()?));
    Ok(())
}

/// No more calls run at once than the limit says.
fn the_limit_is_kept() -> Result {
    let counter = Counter::remote(0);
    let counted = |counter: ActorHandle<Counter>, _: i64| {
        let within = get(counter.add.remote(1)).unwrap();
        get(counter.add.remote(-1)).unwrap();
        within
    };
    let executor = Executor::builder().max_workers(1).build()?;
    let counts = executor.starmap(counted, (0..200).map(|n| (counter.clone(), n)))?;
    assert_eq!(counts.collect::<Result<Vec<_>, _>>()?, [1; 200]);
    Ok(())
}

fn says(log: ActorHandle<Log>) {
    let worker = current_worker().map(|worker| worker.to_string()).unwrap_or_default();
    say(&log, worker); // nothing is waited for: no further worker has to take this one's place
}

/// Making an executor does nothing: the initializer runs for the first call, or for `bootup`.
fn nothing_happens_before_the_first_call() -> Result {
    let log = Log::remote();
    let executor = Executor::builder().initializer(says, (log.clone(),)).build()?;
    get(log.say.remote("made"))?;
    assert_eq!(executor.submit(square, (3,))?.result(None)?, 9);
    assert_eq!(get(log.said.remote(2_usize))?[0], "made");
    Ok(())
}

/// An executor can be made before there is a session; its calls cannot.
fn without_a_session() -> Result {
    let executor = Executor::new()?;
    let error = executor.submit(square, (3,)).unwrap_err();
    assert!(matches!(error, Error::Other(unidist::Error::NotInitialized { .. })), "{error}");
    assert!(executor.map(square, 0..3).is_err() && executor.num_workers().is_err());
    let session = unidist::init()?;
    assert_eq!(executor.submit(square, (3,))?.result(None)?, 9);
    drop(executor);
    drop(session);
    Ok(())
}

/// After the shutdown everything that makes calls is an error; what was submitted is not touched.
fn nothing_after_the_shutdown() -> Result {
    let executor = Executor::new()?;
    let future = executor.submit(square, (3,))?;
    executor.shutdown(true, false);
    executor.shutdown(true, true);
    assert_eq!(executor.submit(square, (3,)).unwrap_err(), Error::ShutDown { call: "submit" });
    assert_eq!(executor.map(square, 0..3).unwrap_err(), Error::ShutDown { call: "map" });
    assert_eq!(executor.starmap(square, [(1,)]).unwrap_err(), Error::ShutDown { call: "starmap" });
    assert_eq!(executor.bootup(true).unwrap_err(), Error::ShutDown { call: "bootup" });
    assert_eq!(future.result(None)?, 9);
    let message = unidist::Error::from(executor.submit(square, (3,)).unwrap_err()).to_string();
    assert!(message.contains("make a new executor"), "{message}");
    Ok(())
}

fn waiting(executor: &Executor, signal: &ActorHandle<Signal>) -> Result<Vec<Future<i64>>> {
    Ok((0..5).map(|x| executor.submit(behind, (gate(signal), x))).collect::<Result<_, Error>>()?)
}

/// `shutdown(true, false)` ends when all futures have.
fn a_shutdown_waits() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = waiting(&executor, &signal)?;
    let opened = signal.open.remote();
    executor.shutdown(true, false);
    assert!(futures.iter().all(Future::done));
    assert_eq!(futures[4].result(None)?, 4);
    get(opened)
}

/// `shutdown(false, false)` ends at once, and what is pending goes on.
fn a_shutdown_that_does_not_wait() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = waiting(&executor, &signal)?;
    executor.shutdown(false, false);
    assert!(!futures.iter().any(Future::done));
    open(&signal)?;
    assert_eq!(futures[4].result(None)?, 4);
    Ok(())
}

/// `cancel_futures` cancels what has not started.
fn a_shutdown_that_cancels() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let ended = executor.submit(square, (2,))?;
    assert_eq!(ended.result(None)?, 4);
    let futures = waiting(&executor, &signal)?;
    executor.shutdown(true, true);
    assert!(futures.iter().all(Future::cancelled));
    assert_eq!(ended.result(None)?, 4);
    open(&signal)
}

/// The drop of an executor waits for its futures.
fn the_drop_waits() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = waiting(&executor, &signal)?;
    let dropped = executor.submit(behind, (gate(&signal), 1))?;
    drop(dropped); // the call goes on
    let opened = signal.open.remote();
    drop(executor);
    assert!(futures.iter().all(Future::done));
    get(opened)
}

/// It does so after a shutdown that did not, too.
fn the_drop_waits_after_a_shutdown() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = waiting(&executor, &signal)?;
    executor.shutdown(false, false);
    let opened = signal.open.remote();
    drop(executor);
    assert!(futures.iter().all(Future::done));
    get(opened)
}

/// A session that ends first leaves an executor whose calls fail, and nobody waiting.
fn the_session_may_end_first() -> Result {
    let session = unidist::init()?;
    let executor = Executor::new()?;
    let (ended, results) = (executor.submit(square, (3,))?, executor.map(square, 0..3)?);
    assert_eq!(ended.result(None)?, 9);
    drop(session);
    assert!(ended.done());
    assert!(executor.submit(square, (3,)).and_then(|future| future.result(None)).is_err());
    drop(results);
    drop(executor);
    Ok(())
}

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
        Some(Err(Error::TimedOut { what: "the results of the map are", limit: 5 * MOMENT }))
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

/// `wait` for all futures, until they are done or the time is over.
fn waiting_for_all() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let mut futures = squares(&executor, 0..4)?;
    assert_eq!(wait(&futures, ReturnWhen::AllCompleted, None)?.done, futures);
    assert!(futures.iter().all(Future::done));
    futures.insert(1, executor.submit(behind, (gate(&signal), 3))?);
    let waited = wait(&futures, ReturnWhen::AllCompleted, Some(MOMENT))?;
    assert_eq!(waited.not_done, futures[1..2]);
    assert_eq!(waited.done.len(), 4);
    open(&signal)?;
    assert!(wait(&futures, ReturnWhen::AllCompleted, Some(BOUND))?.not_done.is_empty());
    assert!(wait::<i64>([], ReturnWhen::AllCompleted, None)?.done.is_empty());
    Ok(())
}

/// `wait` for the first that is done, failed or not.
fn waiting_for_the_first() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = [executor.submit(behind, (gate(&signal), 1))?, executor.submit(|x: i64| 1 / x, (0,))?];
    let waited = wait(&futures, ReturnWhen::FirstCompleted, None)?;
    assert_eq!((waited.done, waited.not_done), (futures[1..].to_vec(), futures[..1].to_vec()));
    assert!(wait(&futures[0], ReturnWhen::FirstCompleted, Some(MOMENT))?.done.is_empty());
    open(&signal)
}

/// `wait` for the first failure; if there is none, for all.
fn waiting_for_a_failure() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let mut futures = squares(&executor, 0..3)?;
    assert_eq!(wait(&futures, ReturnWhen::FirstException, None)?.done.len(), 3);
    futures.push(executor.submit(behind, (gate(&signal), 1))?);
    assert_eq!(wait(&futures, ReturnWhen::FirstException, Some(MOMENT))?.done.len(), 3);
    futures.push(executor.submit(|x: i64| 1 / x, (0,))?);
    let waited = wait(&futures, ReturnWhen::FirstException, None)?;
    assert_eq!(waited.not_done, futures[3..4]);
    open(&signal)
}

/// `as_completed` gives futures in the order in which they end.
fn as_they_complete() -> Result {
    let executor = Executor::new()?;
    let signals: Vec<_> = (0..3).map(|_| Signal::remote()).collect();
    let futures = (0..3).map(|x| executor.submit(behind, (gate(&signals[x as usize]), x)));
    let futures = futures.collect::<Result<Vec<_>, Error>>()?;
    let mut completed = as_completed(&futures, None);
    for place in [2, 0, 1] {
        open(&signals[place])?;
        assert_eq!(completed.next().unwrap()?, futures[place]);
    }
    assert!(completed.next().is_none());
    let values = as_completed(&futures, None).map(|future| future?.result(None));
    assert_eq!(values.sum::<Result<i64, _>>()?, 3);
    Ok(())
}

/// Once its time is over it says so, and ends.
fn as_they_complete_in_time() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = [executor.submit(behind, (gate(&signal), 1))?, executor.submit(square, (2,))?];
    let mut completed = as_completed(&futures, Some(5 * MOMENT));
    assert_eq!(completed.next().unwrap()?, futures[1]);
    assert!(matches!(completed.next(), Some(Err(Error::TimedOut { .. }))));
    assert!(completed.next().is_none());
    open(&signal)
}

/// `collect` makes one future of many, in order.
fn collected() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let mut futures = vec![executor.submit(behind, (gate(&signal), -1))?];
    futures.extend(squares(&executor, 0..4)?);
    let collected = collect(futures);
    assert!(!collected.done());
    assert!(matches!(collected.result(Some(MOMENT)), Err(Error::TimedOut { .. })));
    open(&signal)?;
    for _ in 0..2 {
        assert_eq!(collected.result(None)?, [-1, 0, 1, 4, 9]);
    }
    assert!(collected.done() && collected.exception(None)?.is_none() && !collected.cancel());
    Ok(())
}

/// It fails with the first failure, and cancels the others.
fn collected_with_a_failure() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let waits = executor.submit(behind, (gate(&signal), 1))?;
    let collected = collect([waits.clone(), executor.submit(|x: i64| 1 / x, (0,))?]);
    let error = collected.result(None).unwrap_err();
    assert_eq!(error.as_task().unwrap().kind, ErrorKind::Panicked);
    assert_eq!(waits.result(None).unwrap_err(), Error::Cancelled);
    open(&signal)
}

/// Of none it is done at once.
fn nothing_collected() -> Result {
    let nothing = collect::<i64>([]);
    assert!(nothing.done());
    assert_eq!(nothing.result(None)?, []);
    Ok(())
}

/// Cancelling it cancels all; one that is cancelled cancels it.
fn a_collection_is_cancelled() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = waiting(&executor, &signal)?;
    let collected = collect(futures.clone());
    assert!(collected.cancel() && collected.cancelled());
    assert!(futures.iter().all(Future::cancelled));
    let futures = waiting(&executor, &signal)?;
    let collected = collect(futures.clone());
    assert!(futures[2].cancel());
    assert_eq!(collected.result(None).unwrap_err(), Error::Cancelled);
    assert!(collected.cancelled());
    open(&signal)
}

/// `compose` makes a future of what a closure makes of the value.
fn composed() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let source = executor.submit(behind, (gate(&signal), 6))?;
    let seven = put(7)?;
    let product = compose(&source, move |six| Ok(six * get(&seven)?));
    let text = compose(&product, |product| Ok(format!("it is {product}")));
    assert!(!text.done());
    let (sender, told) = mpsc::channel();
    text.add_done_callback(move |text| sender.send(text.result(None)).unwrap());
    open(&signal)?;
    assert_eq!(text.result(None)?, "it is 42");
    assert_eq!(product.result(None)?, 42);
    assert_eq!(told.recv().unwrap()?, "it is 42");
    assert_eq!(as_completed(&text, None).count(), 1);
    drop(executor);
    Ok(())
}

/// Failures are passed on, or handled; one of the closure's own is that of the new future.
fn composed_of_failures() -> Result {
    let executor = Executor::new()?;
    let fails = executor.submit(|x: i64| 1 / x, (0,))?;
    let passed_on = compose(&fails, |x| Ok(x + 1)).result(None).unwrap_err();
    assert_eq!(passed_on, fails.result(None).unwrap_err());
    assert_eq!(compose_with(&fails, Ok, |_| Ok(-1)).result(None)?, -1);
    let replaced = compose_with(&fails, Ok, |_| Err(Error::ShutDown { call: "of another kind" }));
    assert_eq!(replaced.exception(None)?, Some(Error::ShutDown { call: "of another kind" }));
    let fine = executor.submit(square, (2,))?;
    let panics: Future<i64> = compose(&fine, |_| panic!("a closure's panic"));
    let error = panics.result(None).unwrap_err();
    assert!(error.to_string().contains("a closure's panic"), "{error}");
    Ok(())
}

/// A cancelled future cancels what is made of it, and no function is called.
fn composed_of_cancelled() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let source = executor.submit(behind, (gate(&signal), 6))?;
    let composed: Future<i64> = compose_with(&source, |_| unreachable!(), |_| unreachable!());
    assert!(source.cancel());
    assert_eq!(composed.result(None).unwrap_err(), Error::Cancelled);
    assert!(composed.cancelled());
    open(&signal)
}

/// Cancelling what was made of a future cancels that.
fn a_composition_is_cancelled() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let source = executor.submit(behind, (gate(&signal), 6))?;
    let composed = compose(&source, |x| Ok(x + 1));
    assert!(composed.cancel() && composed.cancelled() && source.cancelled());
    open(&signal)
}

/// What an initializer in this process has left: on `pyseq` there is one process.
static PREPARED: std::sync::Mutex<i64> = std::sync::Mutex::new(0);

/// The initializer runs before the first task of a worker.
fn an_initializer() -> Result {
    let prepares = |x: i64, y: i64| *PREPARED.lock().unwrap() = x * y;
    let executor = Executor::builder().initializer(prepares, (6, 7)).build()?;
    let prepared = |x: i64| *PREPARED.lock().unwrap() + x;
    assert_eq!(executor.submit(prepared, (0,))?.result(None)?, 42);
    let results: Vec<i64> = executor.map(prepared, 0..20)?.collect::<Result<_, _>>()?;
    assert_eq!(results, (42..62).collect::<Vec<_>>());
    let chunks: Vec<i64> = executor.options().chunksize(6).map(prepared, 0..20)?.collect::<Result<_, _>>()?;
    assert_eq!(chunks, results);
    Ok(())
}

/// It runs once in each; `bootup(true)` has it run everywhere.
fn once_in_each_worker() -> Result {
    let log = Log::remote();
    let executor = Executor::builder().initializer(says, (log.clone(),)).build()?;
    executor.bootup(false)?;
    executor.bootup(true)?;
    let there: Vec<_> = workers()?.iter().map(|worker| worker.id.to_string()).collect();
    let mut said = get(log.said.remote(there.len()))?;
    assert_eq!(executor.map(square, 0..100)?.count(), 100);
    assert_eq!(get(log.said.remote(there.len()))?, said);
    said.sort_unstable();
    let mut there = there;
    there.sort_unstable();
    assert_eq!(said, there);
    Ok(())
}

/// A worker that takes the place of one that died runs it again.
fn again_in_a_new_worker() -> Result {
    let log = Log::remote();
    let executor = Executor::builder().initializer(says, (log.clone(),)).build()?;
    executor.bootup(true)?;
    let before = workers()?.len();
    let error = executor.submit(|| std::process::abort(), ())?.result(None).map(|()| ()).unwrap_err();
    assert_eq!(error.as_task().unwrap().kind, ErrorKind::WorkerDied);
    unidist::wait_for_workers(before, Some(BOUND))?;
    executor.bootup(true)?;
    let mut said = get(log.said.remote(before + 1))?;
    said.sort_unstable();
    said.dedup();
    assert_eq!(said.len(), before + 1);
    Ok(())
}

fn is_broken<T: std::fmt::Debug>(result: Result<T, Error>, by: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert!(error.to_string().contains(by), "{error} does not name {by}");
}

/// A failed initializer breaks the executor: what is pending and what comes later say so, with the cause.
fn a_failed_initializer() -> Result {
    let signal = Signal::remote();
    let refuses = |with: i64| -> Result<(), Refusal> { Err(Refusal { with }) };
    let executor = Executor::builder().initializer(fallible(refuses), (77,)).build()?;
    let waits = executor.submit(behind, (gate(&signal), 1))?;
    let mut mapped = executor.starmap(behind, [(gate(&signal), 1)])?;
    is_broken(executor.submit(square, (1,)).and_then(|future| future.result(None)), "77");
    is_broken(waits.result(None), "77");
    is_broken(mapped.next().unwrap(), "77");
    assert!(!waits.cancelled());
    is_broken(executor.submit(square, (1,)), "77");
    is_broken(executor.map(square, 0..2), "77");
    is_broken(executor.bootup(true), "77");
    open(&signal)
}

/// So does one that panics, noticed by a map.
fn an_initializer_that_panics() -> Result {
    let executor = Executor::builder().initializer(|| panic!("an initializer's panic"), ()).build()?;
    for chunksize in [1, 2] {
        match executor.options().chunksize(chunksize).map(square, 0..4) {
            Ok(results) => results.for_each(|result| is_broken(result, "an initializer's panic")),
            refused => is_broken(refused, "an initializer's panic"),
        }
    }
    is_broken(executor.submit(square, (1,)), "an initializer's panic");
    Ok(())
}

/// `bootup(true)` tells of it.
fn a_failed_initializer_at_bootup() -> Result {
    let executor = Executor::builder().initializer(|| panic!("an initializer's panic"), ()).build()?;
    is_broken(executor.bootup(true), "an initializer's panic");
    is_broken(executor.submit(square, (1,)), "an initializer's panic");
    Ok(())
}

/// A broken executor breaks no other one, even one whose task it belongs to.
fn another_executor_goes_on() -> Result {
    let executor = Executor::builder().initializer(|| (), ()).build()?;
    let inner = || -> Result<i64, unidist::Error> {
        let broken = Executor::builder().initializer(|| panic!("an initializer's panic"), ()).build()?;
        Ok(broken.submit(square, (1,))?.result(None)?)
    };
    let error = executor.submit(fallible(inner), ())?.result(None).unwrap_err();
    assert!(matches!(error, Error::Task(_)), "{error:?}");
    assert_eq!(executor.submit(square, (3,))?.result(None)?, 9);
    Ok(())
}

/// Tasks and the initializer ask for the environment and the directory of their executor.
fn an_environment() -> Result {
    let asks = || (executor::env("COLOUR"), executor::wdir().unwrap());
    let red = Executor::builder().env("COLOUR", "red").wdir("/red").build()?;
    let logs = |log: ActorHandle<Log>| get(log.say.remote(executor::env("COLOUR").unwrap())).unwrap();
    let log = Log::remote();
    let blue = Executor::builder().env("COLOUR", "blue").initializer(logs, (log.clone(),)).build()?;
    let none = Executor::new()?;
    let (red, blue) = (red.submit(asks, ())?, blue.submit(asks, ())?);
    assert_eq!(red.result(None)?, (Some("red".to_owned()), "/red".into()));
    assert_eq!(blue.result(None)?.0.as_deref(), Some("blue"));
    assert_eq!(none.submit(asks, ())?.result(None)?, (None, std::env::current_dir().unwrap()));
    assert_eq!(get(log.said.remote(1_usize))?, ["blue"]);
    assert_eq!(executor::env("COLOUR"), None);
    Ok(())
}

/// A value that cannot be encoded, or not be decoded.
#[derive(Debug, PartialEq)]
struct Awkward {
    sends: bool,
}

impl Serialize for Awkward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.sends {
            true => serializer.serialize_bool(true),
            false => Err(serde::ser::Error::custom("it does not want to go")),
        }
    }
}

impl<'de> Deserialize<'de> for Awkward {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer).map(|sends| Awkward { sends })
    }
}

/// An argument or a result that cannot be serialised fails its own future alone.
fn what_cannot_be_sent() -> Result {
    let executor = Executor::new()?;
    let takes = |value: Awkward| value.sends;
    let gives = |sends: bool| Awkward { sends };
    let (argument, result) =
        (executor.submit(takes, (Awkward { sends: false },))?, executor.submit(gives, (false,))?);
    for error in [argument.result(None).unwrap_err(), result.result(None).unwrap_err()] {
        assert!(error.to_string().contains("it does not want to go"), "{error}");
        assert_eq!(kind(&error.into()), ErrorKind::Encode);
    }
    assert!(argument.done() && result.done());
    assert!(executor.submit(takes, (Awkward { sends: true },))?.result(None)?);
    let mapped: Vec<_> = executor.map(gives, [true, false, true])?.map(|result| result.is_ok()).collect();
    assert_eq!(mapped, [true, false, true]);
    Ok(())
}

/// An executor that is made inside a task shares the session.
fn inside_a_task() -> Result {
    let nested = |n: i64| -> Result<i64, unidist::Error> {
        let executor = Executor::new()?;
        assert_eq!(executor.num_workers()?, num_cpus()?);
        let first = executor.submit(square, (n,))?;
        let rest = executor.options().unordered().map(square, 0..n)?.sum::<Result<i64, _>>()?;
        Ok(first.result(None)? + rest)
    };
    let executor = Executor::new()?;
    assert_eq!(executor.submit(fallible(nested), (4,))?.result(None)?, 30);
    assert_eq!(executor.map(fallible(nested), 0..8)?.sum::<Result<i64, _>>()?, 336);
    Ok(())
}

/// There, too, whatever waits gives its CPU slot back: all of them wait at once.
fn waiting_inside_a_task() -> Result {
    let nested = |_: i64| -> Result<i64, unidist::Error> {
        let executor = Executor::new()?;
        let futures = squares(&executor, 0..4)?;
        let mut sum =
            as_completed(&futures, None).map(|future| future?.result(None)).sum::<Result<i64, _>>()?;
        for return_when in [ReturnWhen::FirstCompleted, ReturnWhen::FirstException, ReturnWhen::AllCompleted]
        {
            let futures = squares(&executor, 0..4)?;
            sum += wait(&futures, return_when, Some(BOUND))?.done.len().min(1) as i64;
        }
        let collected = collect(squares(&executor, 0..3)?);
        sum += compose(&collected, |values| Ok(values.len() as i64)).result(Some(BOUND))?;
        Ok(sum)
    };
    let executor = Executor::new()?;
    let sums: Vec<i64> = executor.map(fallible(nested), 0..6)?.collect::<Result<_, _>>()?;
    assert_eq!(sums, [20; 6]);
    Ok(())
}

fn depth(left: i64) -> i64 {
    match left {
        0 => 0,
        left => {
            let executor = Executor::new().unwrap();
            executor.map(depth, [left - 1]).unwrap().map(|depth| depth.unwrap() + 1).sum()
        }
    }
}

/// Executors nest deeper than there are workers.
fn deeper_than_there_are_workers() -> Result {
    assert_eq!(Executor::new()?.submit(depth, (5,))?.result(None)?, 5);
    Ok(())
}

/// All executors of a program run on the workers of its session.
fn several_share_one_pool() -> Result {
    let executors = (0..4).map(|_| Executor::new()).collect::<Result<Vec<_>, _>>()?;
    let workers: Vec<_> = workers()?.into_iter().map(|worker| worker.id).collect();
    for executor in &executors {
        for worker in executor.map(|_: i64| current_worker(), 0..20)? {
            assert!(workers.contains(&worker?.unwrap()));
        }
    }
    Ok(())
}

/// An executor with many calls starves none with few: ten calls are done before half of the flood is.
fn a_flood_starves_nobody() -> Result {
    const FLOOD: usize = 20_000;
    let (many, few) = (Executor::new()?, Executor::new()?);
    let (sender, ended) = mpsc::channel();
    let mut flood = many.map(square, 0..FLOOD as i64)?;
    for x in 0..10 {
        let sender = sender.clone();
        let call = few.submit(square, (x,))?;
        call.object_ref().unwrap().when_ready(move |_| {
            let _ = sender.send(());
        });
    }
    drop(sender);
    let mut before = 0;
    while ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
        flood.next().unwrap()?;
        before += 1;
    }
    assert!(before < FLOOD / 2, "{before} of {FLOOD} came first");
    assert_eq!(flood.count(), FLOOD - before);
    Ok(())
}

/// Many futures, and each costs the same: in whatever order they are waited for.
fn many_of_many() -> Result {
    let executor = Executor::new()?;
    let futures = squares(&executor, 0..5000)?;
    assert_eq!(as_completed(&futures, None).count(), 5000);
    assert_eq!(wait(&futures, ReturnWhen::AllCompleted, None)?.done.len(), 5000);
    assert_eq!(collect(futures).result(None)?.len(), 5000);
    Ok(())
}
