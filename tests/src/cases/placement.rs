//! Workers by name, groups, calls in generic code, and what is known of calls.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{Log, Signal, failure, say, square};
use std::sync::mpsc;
use std::time::Duration;
use unidist::prelude::*;
use unidist::{
    CallSettings, CallStatus, Dep, ErrorKind, Group, ProcessId, RemoteFn, TaskError, WorkerInfo,
    cancel_unstarted, current_worker, end_worker, fallible, num_cpus, prepare, put_ref, status,
    wait_for_workers, workers,
};

pub(super) const CASES: &[Case] = cases!["placement":
    one_worker_a_slot, a_call_goes_to_its_worker, so_do_many_calls, a_worker_that_is_not_there,
    a_worker_that_dies_with_its_calls.only(PYMP), workers_come_back.only(PYMP), a_worker_is_ended.bare().not_spmd(),
    the_last_worker_stays.settings(&[("UNIDIST_CPUS", "1")]).not_spmd().one_host(),
    a_worker_calls_itself, a_circle_over_workers.only(PYMP),
    groups_take_turns.only(PYMP), a_group_has_a_limit.only(PYMP), a_group_of_none,
    what_runs_is_known.only(PYMP), what_has_not_started_is_cancelled.only(PYMP), cancelled_before_its_arguments,
    told_when_ready, told_of_a_failure, prepared_once, a_generic_function, fallible_functions, a_task_error_stays,
    arguments_in_tuples,
];

/// All workers, also where one has just died.
fn staff() -> Result<Vec<WorkerInfo>> {
    wait_for_workers(num_cpus()?, None)
}

/// There is a worker for each CPU slot, and each knows itself.
fn one_worker_a_slot() -> Result {
    let found = staff()?;
    assert_eq!(found.len(), num_cpus()?);
    assert_eq!(current_worker(), None);
    for worker in &found {
        assert_eq!(get(current_worker.options().on_worker(worker.id).remote())?, Some(worker.id));
    }
    assert_eq!(wait_for_workers(found.len(), None)?, found);
    assert_eq!(wait_for_workers(found.len() + 1, Some(Duration::ZERO))?, found);
    Ok(())
}

/// A call for a worker runs there, also if others have nothing to do.
fn a_call_goes_to_its_worker() -> Result {
    let last = staff()?.last().cloned().ok_or(nobody())?;
    for _ in 0..5 {
        assert_eq!(get(current_worker.options().on_worker(last.id).remote())?, Some(last.id));
    }
    Ok(())
}

/// Hundreds of calls for each worker stay there, in between calls for all.
fn so_do_many_calls() -> Result {
    let found = staff()?;
    let mut calls = Vec::new();
    for n in 0..300_i64 {
        let worker = found[n as usize % found.len()].id;
        calls.push((worker, current_worker.options().on_worker(worker).remote()));
        drop(square.remote(n));
    }
    for (worker, call) in calls {
        assert_eq!(get(call)?, Some(worker));
    }
    Ok(())
}

/// A call for a worker that there is not fails and says so.
fn a_worker_that_is_not_there() -> Result {
    let nobody = ProcessId::new(4_000).ok_or(nobody())?;
    let error = get(square.options().on_worker(nobody).remote(2)).unwrap_err();
    let error = error.as_task().ok_or(self::nobody())?;
    assert_eq!((error.kind, error.worker.as_str()), (ErrorKind::WorkerGone, nobody.to_string().as_str()));
    Ok(())
}

fn dies((): ()) {
    std::process::abort()
}

/// When a worker dies, so do the calls that are for it alone, and no others.
fn a_worker_that_dies_with_its_calls() -> Result {
    let found = staff()?;
    let [first, second] = [found[0].id, found[1].id];
    let signal = Signal::remote();
    let dies = dies.options().on_worker(first);
    let dies = dies.remote(signal.wait.remote());
    let behind = square.options().on_worker(first).max_retries(3).remote(2);
    let elsewhere = square.options().on_worker(second).remote(3);
    let needs_it = square.options().on_worker(first).remote((|(): ()| 5_i64).remote(signal.wait.remote()));
    get(signal.open.remote())?;
    assert_eq!(failure(&dies), ErrorKind::WorkerDied);
    let is_over =
        |call: &ObjectRef<i64>| matches!(failure(call), ErrorKind::WorkerDied | ErrorKind::WorkerGone);
    assert_eq!(get(elsewhere)?, 9);
    // It may have been done before the end.
    assert!(matches!(get(&behind), Ok(4)) || is_over(&behind));
    // So may this one, which had to wait for its argument.
    assert!(matches!(get(&needs_it), Ok(25)) || is_over(&needs_it));
    Ok(())
}

/// A worker that has died is replaced by one of another name.
fn workers_come_back() -> Result {
    let before = staff()?;
    let dies = dies.options().on_worker(before[0].id).remote(());
    assert_eq!(failure(&dies), ErrorKind::WorkerDied);
    let after = wait_for_workers(before.len(), None)?;
    assert_eq!(after.len(), before.len());
    assert!(!after.contains(&before[0]));
    assert!(after.contains(&before[1]));
    Ok(())
}

/// A worker that is not wanted any more ends with its slot; calls go on elsewhere.
fn a_worker_is_ended() -> Result {
    let _session = unidist::init()?;
    let before = staff()?;
    let slots = num_cpus()?;
    assert!(end_worker(before[0].id)?);
    assert_eq!(workers()?, before[1..]);
    assert_eq!(num_cpus()?, slots - 1);
    let calls: Vec<_> = (0..50).map(|n| square.remote(n)).collect();
    assert_eq!(get(&calls)?[49], 49 * 49);
    assert_eq!(failure(square.options().on_worker(before[0].id).remote(1)), ErrorKind::WorkerGone);
    assert!(!end_worker(before[0].id)?);
    Ok(())
}

/// The last worker cannot be ended: that is the end of a session.
fn the_last_worker_stays() -> Result {
    let error = end_worker(workers()?[0].id).unwrap_err().to_string();
    assert!(error.contains("last worker"), "{error}");
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

fn calls_itself() -> unidist::Result<Option<ProcessId>> {
    let own = current_worker().ok_or(nobody())?;
    get(current_worker.options().on_worker(own).remote())
}

/// A task may wait for a call that is for its own worker: that runs meanwhile.
fn a_worker_calls_itself() -> Result {
    let worker = staff()?[0].id;
    assert_eq!(get(calls_itself.options().on_worker(worker).remote())?, Some(worker));
    Ok(())
}

/// Two tasks that wait for calls that are for each other's workers wait for nobody who could go on: one is told so.
fn a_circle_over_workers() -> Result {
    fn both(other: ProcessId, meeting: ActorHandle<Signal>, log: ActorHandle<Log>) -> unidist::Result<i64> {
        say(&log, "here");
        get(meeting.wait.remote())?;
        get(square.options().on_worker(other).remote(3))
    }
    let found = staff()?;
    let [first, second] = [found[0].id, found[1].id];
    let (meeting, log) = (Signal::remote(), Log::remote());
    let one = both.options().on_worker(first).remote(second, &meeting, &log);
    let two = both.options().on_worker(second).remote(first, &meeting, &log);
    get(log.said.remote(2_usize))?;
    get(meeting.open.remote())?;
    let results = [get(&one), get(&two)];
    let is_circle = |result: &Result<i64>| {
        result.as_ref().is_err_and(|error| {
            error.as_task().is_some_and(|error| error.root_cause().kind == ErrorKind::Deadlock)
        })
    };
    assert!(results.iter().any(is_circle), "{results:?}");
    assert!(results.iter().all(|result| is_circle(result) || matches!(result, Ok(9))), "{results:?}");
    Ok(())
}

/// Ten calls of one group are done long before the thousands of another that were there first.
fn groups_take_turns() -> Result {
    const MANY: usize = 20_000;
    let (many, few) = (Group::new()?, Group::new()?);
    let flood = prepare(|x: u64| x, &CallSettings::new().group(&many));
    let drops = prepare(|x: u64| x, &CallSettings::new().group(&few));
    let (sender, ended) = mpsc::channel();
    let tell = |call: &ObjectRef<u64>, is_of_flood: bool| {
        let sender = sender.clone();
        call.when_ready(move |_| _ = sender.send(is_of_flood));
    };
    let flood: Vec<_> = (0..MANY as u64).map(|x| flood.remote((x,))).collect();
    let drops: Vec<_> = (0..10).map(|x| drops.remote((x,))).collect();
    drops.iter().for_each(|call| tell(call, false));
    flood[MANY / 2..].iter().for_each(|call| tell(call, true));
    drop(sender);
    let first: Vec<bool> = ended.into_iter().take(MANY / 2).collect();
    let last_drop = first.iter().rposition(|is_of_flood| !is_of_flood);
    assert!(last_drop.is_some_and(|place| place < MANY / 4), "{last_drop:?}");
    get(&flood)?;
    Ok(())
}

/// Of a group with a limit no more calls run at once.
fn a_group_has_a_limit() -> Result {
    let group = Group::limited(1)?;
    // While one runs, others of the group wait, although there are slots.
    let signal = Signal::remote();
    let first = spins_until.options().group(&group).remote(&signal);
    get(signal.waiting.remote(1_usize))?;
    runs_on(&first)?;
    let second = square.options().group(&group).remote(5);
    assert_eq!(get(square.remote(6))?, 36, "others go on");
    assert_eq!(status(&second)?, [CallStatus::Waiting]);
    get(signal.open.remote())?;
    get(first)?;
    assert_eq!(get(second)?, 25);
    Ok(())
}

/// Holds its slot until the signal is open, or it is cancelled.
fn spins_until(signal: ActorHandle<Signal>) -> unidist::Result<()> {
    let (sender, opened) = mpsc::channel();
    signal.wait.remote().when_ready(move |_| _ = sender.send(()));
    let _ = opened.recv();
    Ok(())
}

/// The worker of a call that runs.
fn runs_on<T>(call: &ObjectRef<T>) -> Result<ProcessId> {
    match status(call)?[0] {
        CallStatus::Running(worker) => Ok(worker),
        CallStatus::Waiting | CallStatus::Ended => Err(nobody()),
    }
}

/// A group of which nothing may run is refused.
fn a_group_of_none() -> Result {
    assert!(Group::limited(0).is_err());
    Ok(())
}

/// What runs, waits and has ended is known, and where.
fn what_runs_is_known() -> Result {
    let worker = staff()?[0].id;
    let signal = Signal::remote();
    let running = spins_until.options().on_worker(worker).remote(&signal);
    let waiting = square.options().on_worker(worker).remote(3);
    let needs = square.remote(&waiting);
    get(signal.waiting.remote(1_usize))?;
    assert_eq!(runs_on(&running)?, worker);
    assert_eq!(status(&[waiting.clone(), needs.clone()])?, [CallStatus::Waiting; 2]);
    get(signal.open.remote())?;
    get(running)?;
    assert_eq!(get(&needs)?, 81);
    assert_eq!(status([waiting, needs])?, [CallStatus::Ended; 2]);
    Ok(())
}

/// Calls that have not started are cancelled; one that runs goes on.
fn what_has_not_started_is_cancelled() -> Result {
    let worker = staff()?[0].id;
    let signal = Signal::remote();
    let running = spins_until.options().on_worker(worker).remote(&signal);
    get(signal.waiting.remote(1_usize))?;
    let behind: Vec<_> = (0..200).map(|n| square.options().on_worker(worker).remote(n)).collect();
    assert_eq!(cancel_unstarted(&running)?, 0);
    assert_eq!(cancel_unstarted(&behind)?, 200);
    assert_eq!(cancel_unstarted(&behind)?, 0);
    get(signal.open.remote())?;
    get(running)?;
    assert!(behind.iter().all(|call| failure(call) == ErrorKind::Cancelled));
    assert_eq!(get(square.options().on_worker(worker).remote(7))?, 49);
    Ok(())
}

/// A call that waits for its arguments has not started.
fn cancelled_before_its_arguments() -> Result {
    let signal = Signal::remote();
    let waits = (|(): ()| 1_i64).remote(signal.wait.remote());
    assert_eq!(cancel_unstarted(&waits)?, 1);
    assert_eq!(failure(&waits), ErrorKind::Cancelled);
    get(signal.open.remote())?;
    Ok(())
}

/// Whoever asks is told of each value once, in whatever order they come.
fn told_when_ready() -> Result {
    let (sender, arrived) = mpsc::channel();
    for n in 0..100_i64 {
        let sender = sender.clone();
        square.remote(n).when_ready(move |ready| drop(sender.send((n, ready))));
    }
    drop(sender);
    let mut values =
        arrived.into_iter().map(|(n, ready)| Ok((n, ready.get()?))).collect::<Result<Vec<_>>>()?;
    values.sort_unstable();
    assert_eq!(values, (0..100).map(|n| (n, n * n)).collect::<Vec<_>>());
    Ok(())
}

/// And of why there is none.
fn told_of_a_failure() -> Result {
    let (sender, arrived) = mpsc::channel();
    let fails = (|text: String| assert!(text.is_empty(), "{text}")).remote("no value");
    fails.when_ready(move |ready| drop(sender.send(ready)));
    let ready = arrived.recv().map_err(|_| nobody())?;
    assert_eq!(ready.error().map(|error| error.kind), Some(ErrorKind::Panicked));
    assert!(ready.get().unwrap_err().to_string().contains("no value"));
    Ok(())
}

/// What is prepared once is called often, with its settings.
fn prepared_once() -> Result {
    let square = prepare(|x: i64| x * x, &CallSettings::new().name("squared").priority(1));
    let calls: Vec<_> = (0..100).map(|x| square.remote((x,))).collect();
    assert_eq!(get(&calls)?[99], 99 * 99);
    let fails = prepare(|x: i64| assert_eq!(x, 0), &CallSettings::new().name("checked"));
    let error = get(fails.remote((1,))).unwrap_err();
    assert_eq!(error.as_task().map(|error| error.function.as_str()), Some("checked"));
    Ok(())
}

fn twice<F: RemoteFn<(i64,), Value = i64>>(function: F, x: i64) -> Result<i64> {
    let wrapped =
        move |x: i64| -> std::result::Result<i64, TaskError> { function.call((function.call((x,))?,)) };
    get(prepare(fallible(wrapped), &CallSettings::new()).remote((x,)))
}

/// Generic code wraps functions that it does not know.
fn a_generic_function() -> Result {
    assert_eq!(twice(square, 3)?, 81);
    assert_eq!(twice(|x: i64| x + 1, 3)?, 5);
    Ok(())
}

/// The error of a fallible function is the failure of its call, and comes back as what it was.
fn fallible_functions() -> Result {
    fn halved(x: i64) -> std::result::Result<i64, String> {
        if x % 2 == 0 { Ok(x / 2) } else { Err(format!("{x} is odd")) }
    }
    let call = prepare(fallible(halved), &CallSettings::new());
    assert_eq!(get(call.remote((8,)))?, 4);
    let error = get(call.remote((7,))).unwrap_err();
    assert_eq!(error.downcast::<String>().as_deref(), Some("7 is odd"));
    let whole = prepare(halved, &CallSettings::new());
    assert_eq!(get(whole.remote((7,)))?, Err("7 is odd".to_owned()), "without it, the Result is the value");
    Ok(())
}

/// A failure that is handed on by a wrapper stays what it was.
fn a_task_error_stays() -> Result {
    fn odd(x: i64) -> std::result::Result<i64, String> {
        Err(format!("{x} is odd"))
    }
    let error = twice(fallible(odd), 7).unwrap_err();
    assert_eq!(error.downcast::<String>().as_deref(), Some("7 is odd"));
    assert_eq!(error.as_task().map(|error| error.kind), Some(ErrorKind::Failed));
    Ok(())
}

/// Refs in a tuple of arguments arrive as values where the function wants them so.
fn arguments_in_tuples() -> Result {
    let sum =
        prepare(|data: Dep<Vec<i64>>, factor: i64| data.iter().sum::<i64>() * factor, &CallSettings::new());
    let data: Dep<Vec<i64>> = put_ref(&vec![1_i64; 100_000])?.into();
    assert_eq!(get(sum.remote((data, 3)))?, 300_000);
    let nothing = prepare(|| 5_i64, &CallSettings::new());
    assert_eq!(get(nothing.remote(()))?, 5);
    Ok(())
}

fn nobody() -> unidist::Error {
    TaskError::new(ErrorKind::WorkerDied, "there is nobody").into()
}
