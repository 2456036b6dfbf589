//! The executor: waiting for several futures, and combining futures.

use super::executor::{MOMENT, behind, gate, open, square, squares, waiting};
use crate::case::{Case, Result, cases};
use crate::support::{BOUND, Signal};
use std::sync::mpsc;
use unidist::ErrorKind;
use unidist::executor::{
    Error, Executor, Future, ReturnWhen, as_completed, collect, compose, compose_with, wait,
};
use unidist::prelude::{get, put};

pub(super) const CASES: &[Case] = cases!["executor_futures" on_one_host:
    wait_for_all, wait_for_the_first, wait_for_a_failure, as_completed_in_order,
    as_completed_times_out, collect_keeps_order, collect_fails_with_the_first_failure, collect_of_nothing,
    collect_is_cancelled, compose_with_a_closure, compose_of_failures, compose_of_a_cancelled_future,
    compose_cancels_its_source, callback_deadlock_is_an_error, many_futures,
];

/// `wait` for all futures, until they are done or the time-out has passed.
fn wait_for_all() -> Result {
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
fn wait_for_the_first() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = [executor.submit(behind, (gate(&signal), 1))?, executor.submit(|x: i64| 1 / x, (0,))?];
    let waited = wait(&futures, ReturnWhen::FirstCompleted, None)?;
    assert_eq!((waited.done, waited.not_done), (futures[1..].to_vec(), futures[..1].to_vec()));
    assert!(wait(&futures[0], ReturnWhen::FirstCompleted, Some(MOMENT))?.done.is_empty());
    open(&signal)
}

/// `wait` for the first failure; if there is none, for all.
fn wait_for_a_failure() -> Result {
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
fn as_completed_in_order() -> Result {
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

/// After its time-out the iterator gives an error and ends.
fn as_completed_times_out() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let futures = [executor.submit(behind, (gate(&signal), 1))?, executor.submit(square, (2,))?];
    let mut completed = as_completed(&futures, Some(5 * MOMENT));
    assert_eq!(completed.next().unwrap()?, futures[1]);
    assert!(matches!(completed.next(), Some(Err(Error::TimedOut { .. }))));
    assert!(completed.next().is_none());
    open(&signal)
}

/// `collect` makes one future of many, in order.
fn collect_keeps_order() -> Result {
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

/// `collect` fails with the first failure, and cancels the others.
fn collect_fails_with_the_first_failure() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let waits = executor.submit(behind, (gate(&signal), 1))?;
    let collected = collect([waits.clone(), executor.submit(|x: i64| 1 / x, (0,))?]);
    let error = collected.result(None).unwrap_err();
    assert_eq!(error.as_task().unwrap().kind, ErrorKind::Panicked);
    assert_eq!(waits.result(None).unwrap_err(), Error::Cancelled);
    open(&signal)
}

/// `collect` of no futures is done at once.
fn collect_of_nothing() -> Result {
    let nothing = collect::<i64>([]);
    assert!(nothing.done());
    assert_eq!(nothing.result(None)?, []);
    Ok(())
}

/// Cancelling the collected future cancels all sources; a cancelled source cancels it.
fn collect_is_cancelled() -> Result {
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

/// `compose` gives a future of a closure's result.
fn compose_with_a_closure() -> Result {
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

/// Failures are passed on or handled; a failure of the closure fails the new future.
fn compose_of_failures() -> Result {
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

/// A cancelled source cancels the composed future without calling a function.
fn compose_of_a_cancelled_future() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let source = executor.submit(behind, (gate(&signal), 6))?;
    let composed: Future<i64> = compose_with(&source, |_| unreachable!(), |_| unreachable!());
    assert!(source.cancel());
    assert_eq!(composed.result(None).unwrap_err(), Error::Cancelled);
    assert!(composed.cancelled());
    open(&signal)
}

/// Cancelling a composed future cancels its source.
fn compose_cancels_its_source() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let source = executor.submit(behind, (gate(&signal), 6))?;
    let composed = compose(&source, |x| Ok(x + 1));
    assert!(composed.cancel() && composed.cancelled() && source.cancelled());
    open(&signal)
}

/// Deadlock detection: a function that waits for a later function on the same thread gets an error.
fn callback_deadlock_is_an_error() -> Result {
    let (executor, signal) = (Executor::new()?, Signal::remote());
    let source = executor.submit(behind, (gate(&signal), 6))?;
    let (sender, receiver) = mpsc::channel::<Future<i64>>();
    let first = compose(&source, move |_| {
        let second = receiver.recv().unwrap();
        let waited = wait(&second, ReturnWhen::AllCompleted, None).map(|_| ());
        let completed = as_completed(&second, None).next().unwrap().map(|_| ());
        let collected = collect([second.clone()]).result(None).map(|_| ());
        Ok([second.result(None).map(|_| ()), waited, completed, collected])
    });
    let second = compose(&source, |x| Ok(x + 1));
    sender.send(second.clone()).unwrap();
    open(&signal)?;
    for waited in first.result(None)? {
        assert_eq!(waited.unwrap_err().as_task().unwrap().kind, ErrorKind::Deadlock);
    }
    assert_eq!(second.result(None)?, 7);
    Ok(())
}

/// The cost per future does not depend on their number, in any order of waiting.
fn many_futures() -> Result {
    let executor = Executor::new()?;
    let futures = squares(&executor, 0..5000)?;
    assert_eq!(as_completed(&futures, None).count(), 5000);
    assert_eq!(wait(&futures, ReturnWhen::AllCompleted, None)?.done.len(), 5000);
    assert_eq!(collect(futures).result(None)?.len(), 5000);
    Ok(())
}
