//! Calls for given workers, groups, calls in generic code, and the status of calls.

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
    worker_per_cpu_slot, workers_have_their_process_ids,
    replacement_has_a_process_id_of_its_own.only(PYMP), call_runs_on_its_worker, many_calls_run_on_their_workers, unknown_worker_is_an_error,
    calls_die_with_their_worker.only(PYMP), dead_worker_is_replaced.only(PYMP),
    worker_can_be_ended.bare().not_spmd(),
    last_worker_cannot_be_ended.settings(&[("UNIDIST_CPUS", "1")]).not_spmd().one_host(),
    task_waits_for_a_call_on_its_own_worker, deadlock_between_workers_is_an_error.only(PYMP),
    groups_take_turns.only(PYMP), group_limit_is_kept.only(PYMP), group_limit_of_zero_is_an_error,
    status_of_calls.only(PYMP), cancel_unstarted_leaves_running_calls.only(PYMP),
    call_without_its_arguments_is_unstarted, when_ready_reports_values, when_ready_reports_failures,
    prepared_call_is_reused, generic_wrapper_of_functions, fallible_functions,
    task_error_passes_through_a_wrapper, arguments_in_tuples,
];

/// All workers, including replacements that are still starting.
fn staff() -> Result<Vec<WorkerInfo>> {
    wait_for_workers(num_cpus()?, None)
}

/// There is a worker for each CPU slot, and each knows its own id.
fn worker_per_cpu_slot() -> Result {
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

/// The ids that the operating system gave the processes are the true ones, on all hosts.
fn workers_have_their_process_ids() -> Result {
    for worker in staff()? {
        let there = std::process::id.options().on_worker(worker.id).remote();
        assert_eq!(get(there)?, worker.pid, "{worker:?}");
    }
    Ok(())
}

/// A worker that takes the place of a dead one is another process, and says so.
fn replacement_has_a_process_id_of_its_own() -> Result {
    let before = staff()?;
    let dies = dies.options().on_worker(before[0].id).remote(());
    assert_eq!(failure(&dies), ErrorKind::WorkerDied);
    let after = staff()?;
    let new = after.iter().find(|worker| !before.contains(worker)).ok_or(nobody())?;
    assert!(before.iter().all(|old| old.id != new.id && (old.host != new.host || old.pid != new.pid)));
    assert_eq!(get(std::process::id.options().on_worker(new.id).remote())?, new.pid);
    Ok(())
}

/// A call for a worker runs there, even if other workers are idle.
fn call_runs_on_its_worker() -> Result {
    let last = staff()?.last().cloned().ok_or(nobody())?;
    for _ in 0..5 {
        assert_eq!(get(current_worker.options().on_worker(last.id).remote())?, Some(last.id));
    }
    Ok(())
}

/// The same for hundreds of calls, mixed with calls for any worker.
fn many_calls_run_on_their_workers() -> Result {
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

/// A call for an unknown worker fails with an error that says so.
fn unknown_worker_is_an_error() -> Result {
    let nobody = ProcessId::new(4_000).ok_or(nobody())?;
    let error = get(square.options().on_worker(nobody).remote(2)).unwrap_err();
    let error = error.as_task().ok_or(self::nobody())?;
    assert_eq!((error.kind, error.worker.as_str()), (ErrorKind::WorkerGone, nobody.to_string().as_str()));
    Ok(())
}

fn dies((): ()) {
    std::process::abort()
}

/// When a worker dies, the calls for that worker fail, and no others.
fn calls_die_with_their_worker() -> Result {
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
    // The call may have ended before the worker.
    assert!(matches!(get(&behind), Ok(4)) || is_over(&behind));
    // The same for this call, which waited for its argument.
    assert!(matches!(get(&needs_it), Ok(25)) || is_over(&needs_it));
    Ok(())
}

/// A dead worker is replaced by one with another id.
fn dead_worker_is_replaced() -> Result {
    let before = staff()?;
    let dies = dies.options().on_worker(before[0].id).remote(());
    assert_eq!(failure(&dies), ErrorKind::WorkerDied);
    let after = wait_for_workers(before.len(), None)?;
    assert_eq!(after.len(), before.len());
    assert!(!after.contains(&before[0]));
    assert!(after.contains(&before[1]));
    Ok(())
}

/// A worker can be ended together with its slot; calls continue elsewhere.
fn worker_can_be_ended() -> Result {
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

/// The last worker cannot be ended; that would end the session.
fn last_worker_cannot_be_ended() -> Result {
    let error = end_worker(workers()?[0].id).unwrap_err().to_string();
    assert!(error.contains("last worker"), "{error}");
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

fn calls_itself() -> unidist::Result<Option<ProcessId>> {
    let own = current_worker().ok_or(nobody())?;
    get(current_worker.options().on_worker(own).remote())
}

/// A task may wait for a call for its own worker: it runs meanwhile.
fn task_waits_for_a_call_on_its_own_worker() -> Result {
    let worker = staff()?[0].id;
    assert_eq!(get(calls_itself.options().on_worker(worker).remote())?, Some(worker));
    Ok(())
}

/// Deadlock detection: of two tasks that wait for calls for each other's workers, one gets an error.
fn deadlock_between_workers_is_an_error() -> Result {
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

/// Ten calls of one group end long before thousands of calls of another group that were submitted first.
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

/// The limit of a group bounds the calls that run at once.
fn group_limit_is_kept() -> Result {
    let group = Group::limited(1)?;
    // While one runs, others of the group wait, although slots are free.
    let signal = Signal::remote();
    let first = spins_until.options().group(&group).remote(&signal);
    get(signal.waiting.remote(1_usize))?;
    runs_on(&first)?;
    let second = square.options().group(&group).remote(5);
    assert_eq!(get(square.remote(6))?, 36, "other calls run");
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

/// A group with a limit of zero is an error.
fn group_limit_of_zero_is_an_error() -> Result {
    assert!(Group::limited(0).is_err());
    Ok(())
}

/// The status tells which calls run and where, which wait, and which have ended.
fn status_of_calls() -> Result {
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

/// Calls that have not started are cancelled; a running call continues.
fn cancel_unstarted_leaves_running_calls() -> Result {
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
fn call_without_its_arguments_is_unstarted() -> Result {
    let signal = Signal::remote();
    let waits = (|(): ()| 1_i64).remote(signal.wait.remote());
    assert_eq!(cancel_unstarted(&waits)?, 1);
    assert_eq!(failure(&waits), ErrorKind::Cancelled);
    get(signal.open.remote())?;
    Ok(())
}

/// `when_ready` reports each value once, in any order.
fn when_ready_reports_values() -> Result {
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

/// It also reports failures.
fn when_ready_reports_failures() -> Result {
    let (sender, arrived) = mpsc::channel();
    let fails = (|text: String| assert!(text.is_empty(), "{text}")).remote("no value");
    fails.when_ready(move |ready| drop(sender.send(ready)));
    let ready = arrived.recv().map_err(|_| nobody())?;
    assert_eq!(ready.error().map(|error| error.kind), Some(ErrorKind::Panicked));
    assert!(ready.get().unwrap_err().to_string().contains("no value"));
    Ok(())
}

/// A prepared call is made many times with its settings.
fn prepared_call_is_reused() -> Result {
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

/// Generic code wraps unknown functions.
fn generic_wrapper_of_functions() -> Result {
    assert_eq!(twice(square, 3)?, 81);
    assert_eq!(twice(|x: i64| x + 1, 3)?, 5);
    Ok(())
}

/// The error of a fallible function fails its call, and keeps its type.
fn fallible_functions() -> Result {
    fn halved(x: i64) -> std::result::Result<i64, String> {
        if x % 2 == 0 { Ok(x / 2) } else { Err(format!("{x} is odd")) }
    }
    let call = prepare(fallible(halved), &CallSettings::new());
    assert_eq!(get(call.remote((8,)))?, 4);
    let error = get(call.remote((7,))).unwrap_err();
    assert_eq!(error.downcast::<String>().as_deref(), Some("7 is odd"));
    let whole = prepare(halved, &CallSettings::new());
    assert_eq!(
        get(whole.remote((7,)))?,
        Err("7 is odd".to_owned()),
        "without `fallible`, the Result is the value"
    );
    Ok(())
}

/// A failure that a wrapper passes on is unchanged.
fn task_error_passes_through_a_wrapper() -> Result {
    fn odd(x: i64) -> std::result::Result<i64, String> {
        Err(format!("{x} is odd"))
    }
    let error = twice(fallible(odd), 7).unwrap_err();
    assert_eq!(error.downcast::<String>().as_deref(), Some("7 is odd"));
    assert_eq!(error.as_task().map(|error| error.kind), Some(ErrorKind::Failed));
    Ok(())
}

/// Refs in a tuple of arguments arrive as values where the function takes values.
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
    TaskError::new(ErrorKind::WorkerDied, "no worker").into()
}
