//! The executor: calls, start and shutdown. This file and `executor_*` cover the promises of mpi4py.futures.

use super::options::{is_alone, scratch};
use crate::case::{Case, PYMP, Result, cases};
use crate::support::{BOUND, Log, Refusal, Signal, blocked_on, say};
use std::sync::mpsc;
use std::time::Duration;
use unidist::executor::{Error, Executor, Future};
use unidist::prelude::{ActorHandle, get};
use unidist::{Dep, ErrorKind, current_worker, fallible, num_cpus};

/// Long enough for a call to start, and short enough for a test.
pub(super) const MOMENT: Duration = Duration::from_millis(50);

pub(super) const CASES: &[Case] = cases!["executor":
    submit_gives_a_future, failure_names_function_and_worker, user_error_is_downcast, result_times_out,
    unstarted_call_is_cancelled, running_call_is_not_cancelled.only(PYMP), callbacks_run_once,
    future_can_be_awaited, object_ref_of_a_future, max_workers_of_zero_is_an_error, workers_are_the_sessions,
    max_workers_setting.settings(&[("UNIDIST_MAX_WORKERS", "1")]), max_workers_is_kept.only(PYMP).one_host(),
    executor_starts_with_the_first_call, call_without_a_session_is_an_error.bare(),
    call_after_shutdown_is_an_error, shutdown_waits, shutdown_without_wait, shutdown_cancels_futures,
    drop_waits, drop_waits_after_a_shutdown, session_may_end_first.bare(), drop_in_a_panic_cancels,
];

/// A call that waits for this argument does not start before the signal is opened.
pub(super) fn gate(signal: &ActorHandle<Signal>) -> Dep<()> {
    signal.wait.remote().into()
}

pub(super) fn behind(gate: Dep<()>, x: i64) -> i64 {
    let () = *gate;
    x
}

pub(super) fn open(signal: &ActorHandle<Signal>) -> Result {
    get(signal.open.remote())
}

pub(super) fn square(x: i64) -> i64 {
    x * x
}

pub(super) fn refuse_odd(x: i64) -> Result<i64, Refusal> {
    if x % 2 == 0 { Ok(x) } else { Err(Refusal { with: x }) }
}

pub(super) fn squares(executor: &Executor, of: std::ops::Range<i64>) -> Result<Vec<Future<i64>>> {
    Ok(of.map(|x| executor.submit(square, (x,))).collect::<Result<_, Error>>()?)
}

/// `submit` gives a future, whose result can be read repeatedly.
fn submit_gives_a_future() -> Result {
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
fn failure_names_function_and_worker() -> Result {
    let executor = Executor::new()?;
    let future = executor.submit(|x: i64| 1 / x, (0,))?;
    let error = future.result(None).unwrap_err();
    assert_eq!(future.exception(None)?.as_ref(), Some(&error));
    let task = error.as_task().unwrap();
    assert_eq!(task.kind, ErrorKind::Panicked);
    assert!(task.function.contains("failure_names_function_and_worker"), "{task:?}");
    assert!(!task.worker.is_empty() && error.to_string().contains(&task.worker), "{error}");
    assert!(future.done() && !future.cancelled());
    Ok(())
}

/// The error that a function returns keeps its type.
fn user_error_is_downcast() -> Result {
    let executor = Executor::new()?;
    let error = executor.submit(fallible(refuse_odd), (3,))?.result(None).unwrap_err();
    assert_eq!(error.downcast(), Some(Refusal { with: 3 }));
    assert_eq!(executor.submit(refuse_odd, (3,))?.result(None)?, Err(Refusal { with: 3 }));
    Ok(())
}

/// A time-out of a result is an error; the result is available later.
fn result_times_out() -> Result {
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
fn unstarted_call_is_cancelled() -> Result {
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

/// A running call is reported as running, and is not cancelled.
fn running_call_is_not_cancelled() -> Result {
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

/// Callbacks get the future once, also if they are added late; a panic affects nothing else; the drop waits for them.
fn callbacks_run_once() -> Result {
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
fn future_can_be_awaited() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (waits, fails) =
        (executor.submit(behind, (gate(&signal), 2))?, executor.submit(|x: i64| 1 / x, (0,))?);
    let opened = signal.open.remote();
    let awaited = runtime.block_on(async { (waits.clone().await, (&waits).await, fails.await.is_err()) });
    assert_eq!(awaited, (Ok(2), Ok(2), true));
    get(opened)
}

/// A future's ref can be an argument of any call.
fn object_ref_of_a_future() -> Result {
    let executor = Executor::new()?;
    let three = executor.submit(|| 3, ())?;
    let next = executor.submit(|x: Dep<i64>| *x + 1, (three.object_ref().unwrap().into(),))?;
    assert_eq!(next.result(None)?, 4);
    Ok(())
}

/// `max_workers` of zero is an error that names the allowed values.
fn max_workers_of_zero_is_an_error() -> Result {
    let error = Executor::builder().max_workers(0).build().unwrap_err();
    assert!(error.to_string().contains("max_workers must be at least 1"), "{error}");
    Ok(())
}

/// Without a limit, or with a higher one, the number of workers is that of the session.
fn workers_are_the_sessions() -> Result {
    assert_eq!(Executor::new()?.num_workers()?, num_cpus()?);
    assert_eq!(Executor::builder().max_workers(1000).build()?.num_workers()?, num_cpus()?);
    assert_eq!(Executor::builder().max_workers(1).build()?.num_workers()?, 1);
    Ok(())
}

/// `UNIDIST_MAX_WORKERS` is the default limit.
fn max_workers_setting() -> Result {
    assert_eq!(Executor::new()?.num_workers()?, 1);
    assert_eq!(Executor::builder().max_workers(2).build()?.num_workers()?, 2.min(num_cpus()?));
    Ok(())
}

/// The limit bounds the calls that run at once.
fn max_workers_is_kept() -> Result {
    let path = scratch("one-at-a-time");
    let executor = Executor::builder().max_workers(1).build()?;
    let alone = |path: String| is_alone(&path);
    assert_eq!(executor.map(alone, vec![path; 50])?.collect::<Result<Vec<_>, _>>()?, [true; 50]);
    Ok(())
}

pub(super) fn says(log: ActorHandle<Log>) {
    let worker = current_worker().map(|worker| worker.to_string()).unwrap_or_default();
    say(&log, worker); // nothing is waited for: no further worker has to take this one's place
}

/// Making an executor starts nothing: the initializer runs for the first call, or for `bootup`.
fn executor_starts_with_the_first_call() -> Result {
    let log = Log::remote();
    let executor = Executor::builder().initializer(says, (log.clone(),)).build()?;
    get(log.say.remote("made"))?;
    assert_eq!(executor.submit(square, (3,))?.result(None)?, 9);
    assert_eq!(get(log.said.remote(2_usize))?[0], "made");
    Ok(())
}

/// An executor can be made without a session, but its calls fail.
fn call_without_a_session_is_an_error() -> Result {
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

/// After the shutdown, new calls are errors; submitted calls are not affected.
fn call_after_shutdown_is_an_error() -> Result {
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

pub(super) fn waiting(executor: &Executor, signal: &ActorHandle<Signal>) -> Result<Vec<Future<i64>>> {
    Ok((0..5).map(|x| executor.submit(behind, (gate(signal), x))).collect::<Result<_, Error>>()?)
}

/// `shutdown(true, false)` returns when all futures have ended.
fn shutdown_waits() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = waiting(&executor, &signal)?;
    let opened = signal.open.remote();
    executor.shutdown(true, false);
    assert!(futures.iter().all(Future::done));
    assert_eq!(futures[4].result(None)?, 4);
    get(opened)
}

/// `shutdown(false, false)` returns at once, and pending calls continue.
fn shutdown_without_wait() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = waiting(&executor, &signal)?;
    executor.shutdown(false, false);
    assert!(!futures.iter().any(Future::done));
    open(&signal)?;
    assert_eq!(futures[4].result(None)?, 4);
    Ok(())
}

/// `cancel_futures` cancels calls that have not started.
fn shutdown_cancels_futures() -> Result {
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
fn drop_waits() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = waiting(&executor, &signal)?;
    let dropped = executor.submit(behind, (gate(&signal), 1))?;
    drop(dropped); // the call continues
    let opened = signal.open.remote();
    drop(executor);
    assert!(futures.iter().all(Future::done));
    get(opened)
}

/// The drop also waits after a shutdown without waiting.
fn drop_waits_after_a_shutdown() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = waiting(&executor, &signal)?;
    executor.shutdown(false, false);
    let opened = signal.open.remote();
    drop(executor);
    assert!(futures.iter().all(Future::done));
    get(opened)
}

/// The drop in a panicking thread cancels calls that have not started.
fn drop_in_a_panic_cancels() -> Result {
    let signal = Signal::remote();
    let (sender, futures) = mpsc::channel();
    let panicking = {
        let signal = signal.clone();
        std::thread::spawn(move || {
            let executor = Executor::new().unwrap();
            sender.send(waiting(&executor, &signal).unwrap()).unwrap();
            panic!("with an executor");
        })
    };
    assert!(panicking.join().is_err());
    assert!(futures.recv().unwrap().iter().all(Future::cancelled));
    open(&signal)
}

/// If the session ends first, the executor's calls fail, and no drop waits.
fn session_may_end_first() -> Result {
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
