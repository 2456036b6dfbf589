//! The executor: initializers, and sharing of workers.

use super::executor::{behind, gate, open, says, square, squares};
use crate::case::{Case, PYMP, Result, cases};
use crate::support::{BOUND, Log, Refusal, Signal, kind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::mpsc;
use unidist::executor::{self, Error, Executor, ReturnWhen, as_completed, collect, compose, wait};
use unidist::prelude::{ActorHandle, get};
use unidist::{ErrorKind, current_worker, fallible, num_cpus, workers};

pub(super) const CASES: &[Case] = cases!["executor_workers" on_one_host:
    initializer_runs_before_the_first_task, initializer_runs_once_per_worker,
    initializer_runs_in_another_session.bare().not_spmd(),
    initializer_runs_in_a_replacement.only(PYMP).one_host(), failed_initializer_breaks_the_executor,
    panicking_initializer_breaks_the_executor, bootup_reports_a_failed_initializer,
    broken_executor_breaks_no_other, environment_of_tasks, unsendable_value_fails_one_call,
    executor_inside_a_task, waiting_in_a_task_releases_the_slot, executors_nested_deeper_than_workers,
    executors_share_the_workers, large_executor_starves_no_other.only(PYMP).one_host(),
];

/// The effect of initializers in this process.
static PREPARED: std::sync::Mutex<i64> = std::sync::Mutex::new(0);

/// The initializer runs before the first task of a worker.
fn initializer_runs_before_the_first_task() -> Result {
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

/// The initializer runs once per worker; `bootup(true)` runs it on all of them.
fn initializer_runs_once_per_worker() -> Result {
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

/// The replacement of a dead worker runs it again.
fn initializer_runs_in_a_replacement() -> Result {
    let log = Log::remote();
    let executor = Executor::builder().initializer(says, (log.clone(),)).build()?;
    executor.bootup(true)?;
    let before = workers()?.len();
    let error = executor.submit(|| -> () { std::process::abort() }, ())?.result(None).unwrap_err();
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

/// It runs again in another session of this process, also if the executor outlived the first one.
fn initializer_runs_in_another_session() -> Result {
    for x in 1..4 {
        let session = unidist::init()?;
        let prepares = |x: i64| *PREPARED.lock().unwrap() = x;
        let executor = Executor::builder().initializer(prepares, (x,)).build()?;
        assert_eq!(executor.submit(|| *PREPARED.lock().unwrap(), ())?.result(None)?, x);
        drop(session);
    }
    Ok(())
}

/// A failed initializer breaks the executor: pending and later calls fail with that cause.
fn failed_initializer_breaks_the_executor() -> Result {
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

/// A panicking initializer does the same, seen by a map.
fn panicking_initializer_breaks_the_executor() -> Result {
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

/// `bootup(true)` reports a failed initializer.
fn bootup_reports_a_failed_initializer() -> Result {
    let executor = Executor::builder().initializer(|| panic!("an initializer's panic"), ()).build()?;
    is_broken(executor.bootup(true), "an initializer's panic");
    is_broken(executor.submit(square, (1,)), "an initializer's panic");
    Ok(())
}

/// A broken executor does not affect others, even one in whose task it was made.
fn broken_executor_breaks_no_other() -> Result {
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

/// Tasks and the initializer see the environment and the directory of their executor.
fn environment_of_tasks() -> Result {
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

/// A value that cannot be encoded or decoded.
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

/// An argument or a result that cannot be encoded fails only its own future.
fn unsendable_value_fails_one_call() -> Result {
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

/// An executor made inside a task shares the session.
fn executor_inside_a_task() -> Result {
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

/// Waiting inside a task releases its CPU slot: all tasks wait at once.
fn waiting_in_a_task_releases_the_slot() -> Result {
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

/// Executors can be nested deeper than the number of workers.
fn executors_nested_deeper_than_workers() -> Result {
    assert_eq!(Executor::new()?.submit(depth, (5,))?.result(None)?, 5);
    Ok(())
}

/// All executors of a program run on the workers of its session.
fn executors_share_the_workers() -> Result {
    let executors = (0..4).map(|_| Executor::new()).collect::<Result<Vec<_>, _>>()?;
    let workers: Vec<_> = workers()?.into_iter().map(|worker| worker.id).collect();
    for executor in &executors {
        for worker in executor.map(|_: i64| current_worker(), 0..20)? {
            assert!(workers.contains(&worker?.unwrap()));
        }
    }
    Ok(())
}

/// An executor with many calls does not starve others: ten calls end before half of the many.
fn large_executor_starves_no_other() -> Result {
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
