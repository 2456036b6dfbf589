//! Cancellation and time-outs of calls.

use crate::case::{Case, PYMP, Result, cases};
use crate::process::{eventually, is_alive};
use crate::support::{BOUND, LastWord, Log, Signal, blocked_on, failure, kind, say, square};
use std::time::Duration;
use unidist::prelude::*;
use unidist::{ErrorKind, cancel, is_cancelled, num_cpus};

/// The grace for cases in which it passes.
const SHORT: &[(&str, &str)] = &[("UNIDIST_CANCEL_GRACE", "0.05")];
/// The grace for cases in which it must not pass.
const LONG: &[(&str, &str)] = &[("UNIDIST_CANCEL_GRACE", "3600")];

/// Long enough for a call to start, and short enough for a test.
const MOMENT: Duration = Duration::from_millis(50);

pub(super) const CASES: &[Case] = cases!["control":
    cancelled_waiting_call_never_runs, dependents_of_a_cancelled_call_fail, ended_calls_are_not_cancelled,
    several_calls_are_cancelled_at_once, get_is_cancelled.settings(LONG), wait_is_cancelled.settings(LONG),
    later_requests_are_refused.settings(LONG), computation_sees_its_cancellation.only(PYMP).settings(LONG),
    async_task_is_dropped.settings(LONG), unresponsive_task_loses_its_worker.only(PYMP).settings(SHORT),
    prefetched_calls_run_elsewhere.only(PYMP).settings(SHORT),
    nested_callers_are_lost_with_the_worker.one_host().only(PYMP).settings(SHORT),
    nested_callers_may_be_retried.one_host().only(PYMP).settings(SHORT),
    parent_is_cancelled_by_its_child.settings(LONG), task_cancels_its_calls,
    children_of_a_cancelled_call_continue.settings(LONG), async_method_is_dropped,
    blocking_method_sees_its_cancellation.settings(SHORT), cancelled_queued_method_never_runs,
    methods_behind_a_cancelled_call_run, program_is_never_cancelled,
    repeated_cancellation_frees_everything.settings(SHORT), task_times_out.settings(LONG),
    timeout_by_definition.settings(LONG), call_within_its_timeout, late_result_is_a_failure.settings(LONG),
    timed_out_call_is_not_retried.settings(LONG),
    unresponsive_timed_out_task_loses_its_worker.only(PYMP).settings(SHORT), method_times_out,
    method_timeout_counts_from_its_start, constructor_times_out, zero_timeout_is_an_error,
];

#[remote]
async fn waits(signal: ActorHandle<Signal>, log: ActorHandle<Log>) -> unidist::Result<i64> {
    let _last = LastWord(log.clone(), "dropped");
    say(&log, "waits");
    signal.wait.remote().await?;
    Ok(5)
}

fn waiting(signal: &Opened, log: &ActorHandle<Log>) -> ObjectRef<i64> {
    waits.remote(&signal.0, log)
}

/// A signal that is opened on drop, so that no call waits for it forever.
struct Opened(ActorHandle<Signal>);

impl std::ops::Deref for Opened {
    type Target = ActorHandle<Signal>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let () = self.0.open.options().num_returns::<0>().remote();
    }
}

fn signal() -> Opened {
    Opened(Signal::remote())
}

/// A call that waits for an argument is cancelled: it never runs.
fn cancelled_waiting_call_never_runs() -> Result {
    let (signal, log) = (Signal::remote(), Log::remote());
    let runs = |(): (), log: ActorHandle<Log>| say(&log, "it runs");
    let waiting = runs.remote(signal.wait.remote(), &log);
    assert!(waiting.cancel()?);
    assert_eq!(failure(&waiting), ErrorKind::Cancelled);
    assert!(!waiting.cancel()?, "it has ended");
    get(signal.open.remote())?;
    get(runs.remote((), &log))?;
    assert_eq!(get(log.said.remote(1_usize))?, ["it runs"]);
    Ok(())
}

/// Dependents of a cancelled call fail with that cause.
fn dependents_of_a_cancelled_call_fail() -> Result {
    let (signal, log) = (signal(), Log::remote());
    let waiting = waiting(&signal, &log);
    let dependent = square.remote(square.remote(&waiting));
    assert_eq!(cancel(&waiting)?, 1);
    let error = get(dependent).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::DependencyFailed);
    let cause = error.as_task().unwrap().root_cause();
    assert_eq!((cause.kind, cause.function.contains("waits")), (ErrorKind::Cancelled, true), "{cause:?}");
    Ok(())
}

/// Ended calls and put objects are not affected by a cancellation.
fn ended_calls_are_not_cancelled() -> Result {
    let (ended, object) = (square.remote(3), put(4)?);
    get(&ended)?;
    assert_eq!((cancel(&ended)?, cancel(&object)?, cancel::<i64>([])?), (0, 0, 0));
    assert_eq!(get((ended, object))?, (9, 4));
    Ok(())
}

/// Several at once; each call counts once.
fn several_calls_are_cancelled_at_once() -> Result {
    let (signal, log) = (signal(), Log::remote());
    let (ended, first, second) = (square.remote(2), waiting(&signal, &log), waiting(&signal, &log));
    get(&ended)?;
    assert_eq!(cancel([ended.clone(), first.clone(), second.clone(), first.clone()])?, 2);
    assert_eq!(
        (failure(first), failure(second), get(ended)?),
        (ErrorKind::Cancelled, ErrorKind::Cancelled, 4)
    );
    Ok(())
}

/// Cancels the call when it waits for the signal, and returns its message.
fn cancelled_while_it_waits(
    call: impl FnOnce(&ActorHandle<Signal>, &ActorHandle<Log>) -> ObjectRef<()>,
) -> Result<Vec<String>> {
    let (signal, log) = (signal(), Log::remote());
    let blocked = call(&signal, &log);
    get(signal.waiting.remote(1_usize))?;
    assert_eq!(cancel(&blocked)?, 1);
    assert_eq!(failure(&blocked), ErrorKind::Cancelled);
    let said = get(log.said.remote(2_usize))?;
    assert_eq!(get(square.remote(2))?, 4);
    Ok(said)
}

fn say_how_it_ended<T>(log: &ActorHandle<Log>, result: Result<T>) {
    let kind = result.map_err(|error| kind(&error)).err();
    say(log, format!("{kind:?}"));
    say(log, is_cancelled());
}

/// A task that is blocked in `get` gets the error there.
fn get_is_cancelled() -> Result {
    let blocks = |signal: ActorHandle<Signal>, log: ActorHandle<Log>| {
        say_how_it_ended(&log, get(signal.wait.remote()));
    };
    assert_eq!(
        cancelled_while_it_waits(|signal, log| blocks.remote(signal, log))?,
        ["Some(Cancelled)", "true"]
    );
    Ok(())
}

/// The same in `wait`.
fn wait_is_cancelled() -> Result {
    let blocks = |signal: ActorHandle<Signal>, log: ActorHandle<Log>| {
        say_how_it_ended(&log, wait(signal.wait.remote(), 1, None));
    };
    assert_eq!(
        cancelled_while_it_waits(|signal, log| blocks.remote(signal, log))?,
        ["Some(Cancelled)", "true"]
    );
    Ok(())
}

/// Later requests of the cancelled task are refused with the same error.
fn later_requests_are_refused() -> Result {
    let blocks = |signal: ActorHandle<Signal>, log: ActorHandle<Log>| {
        let _ = get(signal.wait.remote());
        let refused = (put(1).map(drop), get(square.remote(2)).map(drop), wait(square.remote(2), 1, None));
        let refused = (refused.0.is_err(), refused.1.is_err(), refused.2.is_err());
        say(&log, format!("{refused:?}"));
        say(&log, cancel(signal.wait.remote()).is_ok());
    };
    let said = cancelled_while_it_waits(|signal, log| blocks.remote(signal, log))?;
    assert_eq!(said, ["(true, true, true)", "true"]);
    Ok(())
}

/// A computation sees the cancellation with `is_cancelled`.
fn computation_sees_its_cancellation() -> Result {
    let computes = |log: ActorHandle<Log>| {
        say(&log, is_cancelled());
        while !is_cancelled() {
            std::hint::spin_loop();
        }
        say(&log, is_cancelled());
    };
    let log = Log::remote();
    let computing = computes.remote(&log);
    get(log.said.remote(1_usize))?;
    assert!(computing.cancel()?);
    assert_eq!(failure(computing), ErrorKind::Cancelled);
    assert_eq!(get(log.said.remote(2_usize))?, ["false", "true"]);
    Ok(())
}

/// An asynchronous task is dropped where it waits.
fn async_task_is_dropped() -> Result {
    let (signal, log) = (signal(), Log::remote());
    let waiting = waiting(&signal, &log);
    get(log.said.remote(1_usize))?;
    assert!(waiting.cancel()?);
    assert_eq!(failure(waiting), ErrorKind::Cancelled);
    assert_eq!(get(log.said.remote(2_usize))?, ["waits", "dropped"]);
    Ok(())
}

/// Logs its process id, and never ends.
#[remote]
fn endless(log: ActorHandle<Log>) -> i64 {
    say(&log, std::process::id());
    loop {
        std::hint::spin_loop();
    }
}

/// The worker of a cancelled task that does not end is killed after the grace, and replaced.
fn unresponsive_task_loses_its_worker() -> Result {
    let log = Log::remote();
    let tasks = [endless.remote(&log), endless.remote(&log)];
    let processes = get(log.said.remote(2_usize))?;
    assert_eq!(cancel(&tasks)?, 2);
    for task in tasks {
        assert_eq!(failure(task), ErrorKind::Cancelled);
    }
    for process in processes {
        let process = process.parse().unwrap();
        assert!(eventually(BOUND, || !is_alive(process)));
    }
    assert_eq!(get((0..10).map(|x| square.remote(x)).collect::<Vec<_>>())?.len(), 10);
    Ok(())
}

/// Calls that were prefetched to such a worker run elsewhere.
fn prefetched_calls_run_elsewhere() -> Result {
    let log = Log::remote();
    let workers = num_cpus()?;
    let tasks: Vec<_> = (0..workers).map(|_| endless.remote(&log)).collect();
    get(log.said.remote(workers))?;
    let mut behind: Vec<_> = (0..20).map(|x| square.remote(x)).collect();
    let dropped = behind.split_off(15);
    assert_eq!((cancel(&dropped)?, cancel(tasks)?), (5, workers));
    assert!(get(behind)?.into_iter().eq((0..15).map(|x| x * x)));
    assert!(dropped.into_iter().all(|dropped| failure(dropped) == ErrorKind::Cancelled));
    Ok(())
}

/// Keeps refs for other callers.
struct Keeper {
    kept: Vec<ObjectRef<i64>>,
}

#[remote]
impl Keeper {
    #[new]
    fn new() -> Self {
        Keeper { kept: Vec::new() }
    }

    fn keep(&mut self, refs: Vec<ObjectRef<i64>>) {
        self.kept.extend(refs);
    }

    fn give(&mut self) -> Vec<ObjectRef<i64>> {
        std::mem::take(&mut self.kept)
    }
}

/// Waits for an endless task, which runs nested in the same worker, as no other slot is free; the second time it ends
/// at once.
#[remote(num_cpus = 2)]
fn below(keeper: ActorHandle<Keeper>, log: ActorHandle<Log>) -> unidist::Result<i64> {
    say(&log, "below");
    if get(log.said.remote(1_usize))?.len() > 1 {
        return Ok(1);
    }
    let above = endless.remote(&log);
    // This is not waited for: while it waits, other calls may use its slots.
    let () = keeper.keep.options().num_returns::<0>().remote(vec![above.clone()]);
    get(above)
}

/// Cancels the task that runs nested in such a task.
fn cancel_above(retries: u32) -> Result<ObjectRef<i64>> {
    let (keeper, log) = (Keeper::remote(), Log::remote());
    let task = below.options().max_retries(retries).remote(&keeper, &log);
    get(log.said.remote(2_usize))?;
    let above = get(keeper.give.remote())?;
    assert_eq!(cancel(&above)?, 1);
    assert_eq!(failure(above), ErrorKind::Cancelled);
    Ok(task)
}

/// Tasks that wait in the same worker are lost with it, and the error names the cancelled task.
fn nested_callers_are_lost_with_the_worker() -> Result {
    let error = get(cancel_above(0)?).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::WorkerDied, "{error:?}");
    let cause = error.as_task().unwrap().root_cause();
    assert_eq!((cause.kind, cause.function.contains("endless")), (ErrorKind::Cancelled, true), "{error:?}");
    Ok(())
}

/// Such tasks may be retried.
fn nested_callers_may_be_retried() -> Result {
    assert_eq!(get(cancel_above(1)?)?, 1);
    Ok(())
}

/// Cancels the refs of the keeper, as soon as it has them.
#[remote]
fn cancels_kept(keeper: ActorHandle<Keeper>, log: ActorHandle<Log>) {
    while get(keeper.give.remote()).is_ok_and(|kept| cancel(kept).is_ok_and(|ended| ended == 0)) {
        std::thread::yield_now();
    }
    say(&log, "cancelled it");
}

/// A nested task can cancel the task that waits for it, which continues with the error.
fn parent_is_cancelled_by_its_child() -> Result {
    let (keeper, log) = (Keeper::remote(), Log::remote());
    let parent = |keeper: ActorHandle<Keeper>, log: ActorHandle<Log>, signal: ActorHandle<Signal>| -> i64 {
        get(signal.wait.remote()).unwrap();
        let never = Opened(Signal::remote());
        let child = cancels_kept.remote(&keeper, &log);
        let result = get((child, never.wait.remote()));
        say(&log, format!("{:?}", result.map_err(|error| kind(&error)).err()));
        1
    };
    let signal = Signal::remote();
    let task = parent.remote(&keeper, &log, &signal);
    get(keeper.keep.remote(vec![task.clone()]))?;
    get(signal.open.remote())?;
    assert_eq!(failure(task), ErrorKind::Cancelled);
    let mut said = get(log.said.remote(2_usize))?; // by two processes: in either order
    said.sort_unstable();
    assert_eq!(said, ["Some(Cancelled)", "cancelled it"]);
    Ok(())
}

/// `cancel` works in tasks.
fn task_cancels_its_calls() -> Result {
    let cancels = |signal: ActorHandle<Signal>| {
        let waiting = signal.wait.remote();
        let cancelled = waiting.cancel().unwrap();
        (cancelled, failure(waiting) == ErrorKind::Cancelled, is_cancelled())
    };
    assert_eq!(get(cancels.remote(&signal().0))?, (true, true, false));
    Ok(())
}

/// Calls made by a cancelled call continue.
fn children_of_a_cancelled_call_continue() -> Result {
    let (keeper, log, signal) = (Keeper::remote(), Log::remote(), Signal::remote());
    let parent = |keeper: ActorHandle<Keeper>, log: ActorHandle<Log>, signal: ActorHandle<Signal>| {
        let child = waits.remote(&signal, &log);
        get(keeper.keep.remote(vec![child.clone()])).unwrap();
        get(child)
    };
    let task = parent.remote(&keeper, &log, &signal);
    get(signal.waiting.remote(1_usize))?;
    assert!(task.cancel()?);
    assert_eq!(failure(task), ErrorKind::Cancelled);
    get(signal.open.remote())?;
    assert_eq!(get(get(keeper.give.remote())?)?, [5]);
    Ok(())
}

/// An actor that can be kept busy.
struct Busy {
    calls: i64,
}

#[remote(max_concurrency = 1)]
impl Busy {
    #[new]
    fn new() -> Self {
        Busy { calls: 0 }
    }

    async fn waits(&self, signal: ActorHandle<Signal>, log: ActorHandle<Log>) {
        let _last = LastWord(log.clone(), "dropped");
        say(&log, "waits");
        let _ = signal.wait.remote().await;
    }

    fn blocks(&mut self, signal: ActorHandle<Signal>, log: ActorHandle<Log>) {
        self.calls += 1;
        say_how_it_ended(&log, get(signal.wait.remote()));
    }

    fn call(&mut self) -> (i64, u32) {
        self.calls += 1;
        (self.calls, std::process::id())
    }
}

/// A cancelled asynchronous method is dropped where it waits; the actor continues, also with the calls behind it.
fn async_method_is_dropped() -> Result {
    let (busy, signal, log) = (Busy::remote(), signal(), Log::remote());
    let (first, second) = (busy.waits.remote(&signal.0, &log), busy.waits.remote(&signal.0, &log));
    get(log.said.remote(1_usize))?;
    assert!(first.cancel()?);
    assert_eq!(failure(first), ErrorKind::Cancelled);
    assert_eq!(get(log.said.remote(3_usize))?, ["waits", "dropped", "waits"]);
    assert!(second.cancel()?);
    assert_eq!(get(busy.call.remote())?.0, 1);
    Ok(())
}

/// A blocking method sees the cancellation; the actor is not killed, however long the method takes.
fn blocking_method_sees_its_cancellation() -> Result {
    let busy = Busy::remote();
    let (_, process) = get(busy.call.remote())?;
    let said = cancelled_while_it_waits(|signal, log| busy.blocks.remote(signal, log))?;
    assert_eq!(said, ["Some(Cancelled)", "true"]);
    assert_eq!(get(busy.call.remote())?, (3, process));
    Ok(())
}

/// A cancelled call that is queued at its actor never runs.
fn cancelled_queued_method_never_runs() -> Result {
    let (busy, signal, log) = (Busy::remote(), Signal::remote(), Log::remote());
    let blocks = busy.blocks.remote(&signal, &log);
    get(signal.waiting.remote(1_usize))?;
    let queued = [busy.call.remote(), busy.call.remote()];
    assert!(queued[0].cancel()?);
    assert_eq!(failure(&queued[0]), ErrorKind::Cancelled);
    get(signal.open.remote())?;
    get(blocks)?;
    assert_eq!(get(&queued[1])?.0, 2);
    Ok(())
}

/// Calls of the same caller behind a cancelled call run.
fn methods_behind_a_cancelled_call_run() -> Result {
    let (busy, signal, log) = (Busy::remote(), signal(), Log::remote());
    let later = (|(): (), log: Vec<ActorHandle<Log>>| log[0].clone()).remote(signal.wait.remote(), vec![log]);
    let held_up = busy.blocks.options().name("held up").remote(&signal.0, later);
    let behind = busy.call.remote();
    assert!(held_up.cancel()?);
    assert_eq!(get(behind)?.0, 1);
    let error = get(held_up).unwrap_err();
    assert_eq!((kind(&error), error.as_task().unwrap().function.as_str()), (ErrorKind::Cancelled, "held up"));
    Ok(())
}

/// The program itself is never cancelled.
fn program_is_never_cancelled() -> Result {
    assert!(!is_cancelled());
    assert!(!get((|| is_cancelled()).remote())?);
    Ok(())
}

/// Repeated cancellation at random moments: every call ends, and all resources are freed.
fn repeated_cancellation_frees_everything() -> Result {
    let (signal, log) = (signal(), Log::remote());
    for round in 0..20 {
        let mut calls: Vec<_> = (0..10).map(|x| square.remote(x)).collect();
        calls.extend((0..5).map(|_| waiting(&signal, &log)));
        if round % 2 == 0 {
            wait(&calls, round / 2, None)?;
        }
        assert!(cancel(&calls)? >= 5);
        for call in calls {
            if let Err(error) = get(call) {
                assert_eq!(kind(&error), ErrorKind::Cancelled);
            }
        }
    }
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

/// A task that exceeds its time-out fails with an error that names the limit.
fn task_times_out() -> Result {
    let signal = signal();
    let late = blocked_on.options().timeout(MOMENT).remote(&signal.0);
    let error = get(late).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::TimedOut);
    assert!(error.to_string().contains("50ms"), "{error}");
    Ok(())
}

#[remote(timeout = 0.05)]
fn limited(signal: ActorHandle<Signal>, log: ActorHandle<Log>) {
    say_how_it_ended(&log, get(signal.wait.remote()));
}

/// The time-out may be part of the definition. A nested `get` gives the error, too.
fn timeout_by_definition() -> Result {
    let (signal, log) = (Signal::remote(), Log::remote());
    assert_eq!(failure(limited.remote(&signal, &log)), ErrorKind::TimedOut);
    assert_eq!(get(log.said.remote(2_usize))?, ["Some(TimedOut)", "true"]);
    get(signal.open.remote())?;
    get(limited.options().timeout(Duration::from_secs(3600)).remote(&signal, &log))?;
    assert_eq!(get(log.said.remote(4_usize))?[2..], ["None", "false"]);
    Ok(())
}

/// A call that ends within its time-out succeeds.
fn call_within_its_timeout() -> Result {
    let hour = Duration::from_secs(3600);
    assert_eq!(get(square.options().timeout(hour).remote(3))?, 9);
    assert_eq!(get(square.options().timeout(Duration::MAX).remote(3))?, 9);
    assert_eq!(get(Busy::remote().call.options().timeout(hour).remote())?.0, 1);
    assert_eq!(get(Busy::options().timeout(hour).remote().call.remote())?.0, 1);
    Ok(())
}

/// A computation that ends after its time-out has failed.
fn late_result_is_a_failure() -> Result {
    let computes = |moment: Duration| {
        let start = std::time::Instant::now();
        while start.elapsed() < moment {
            std::hint::spin_loop();
        }
    };
    assert_eq!(failure(computes.options().timeout(MOMENT).remote(2 * MOMENT)), ErrorKind::TimedOut);
    Ok(())
}

/// A call that timed out is not retried.
fn timed_out_call_is_not_retried() -> Result {
    let (signal, log) = (Signal::remote(), Log::remote());
    let late = limited.options().max_retries(3).remote(&signal, &log);
    assert_eq!(failure(late), ErrorKind::TimedOut);
    get(log.said.remote(2_usize))?;
    get(signal.open.remote())?;
    get(limited.options().timeout(BOUND).remote(signal, &log))?;
    assert_eq!(get(log.said.remote(4_usize))?.len(), 4);
    Ok(())
}

/// The worker of a timed-out task that does not end is killed, as for a cancelled task.
fn unresponsive_timed_out_task_loses_its_worker() -> Result {
    let log = Log::remote();
    assert_eq!(failure(endless.options().timeout(MOMENT).remote(&log)), ErrorKind::TimedOut);
    let process = get(log.said.remote(1_usize))?[0].parse().unwrap();
    assert!(eventually(BOUND, || !is_alive(process)));
    Ok(())
}

/// A method that times out is dropped or sees it, and its actor stays.
fn method_times_out() -> Result {
    let (busy, signal, log) = (Busy::remote(), signal(), Log::remote());
    let (_, process) = get(busy.call.remote())?;
    assert_eq!(failure(busy.waits.options().timeout(MOMENT).remote(&signal.0, &log)), ErrorKind::TimedOut);
    assert_eq!(get(log.said.remote(2_usize))?, ["waits", "dropped"]);
    assert_eq!(failure(busy.blocks.options().timeout(MOMENT).remote(&signal.0, &log)), ErrorKind::TimedOut);
    assert_eq!(get(log.said.remote(4_usize))?[2..], ["Some(TimedOut)", "true"]);
    assert_eq!(get(busy.call.remote())?, (3, process));
    Ok(())
}

/// The time-out of a method counts from its start, not while it is queued.
fn method_timeout_counts_from_its_start() -> Result {
    let (busy, signal, never, log) = (Busy::remote(), Signal::remote(), signal(), Log::remote());
    let first = busy.waits.remote(&signal, &log);
    get(signal.waiting.remote(1_usize))?;
    let second = busy.waits.options().timeout(MOMENT).remote(&never.0, &log);
    assert!(wait(&second, 1, Some(3 * MOMENT))?.ready.is_empty());
    get(signal.open.remote())?;
    get(first)?;
    assert_eq!(failure(second), ErrorKind::TimedOut);
    Ok(())
}

struct Slow;

#[remote]
impl Slow {
    #[new]
    fn new(signal: ActorHandle<Signal>) -> unidist::Result<Self> {
        get(signal.wait.remote())?;
        Ok(Slow)
    }

    fn call(&self) -> i64 {
        1
    }
}

/// An actor whose constructor timed out is dead, and its calls report that.
fn constructor_times_out() -> Result {
    let signal = signal();
    let slow = Slow::options().timeout(MOMENT).remote(&signal.0);
    let error = get(slow.call.remote()).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::ActorDied);
    assert_eq!(error.as_task().unwrap().root_cause().kind, ErrorKind::TimedOut, "{error:?}");
    Ok(())
}

/// A time-out of zero is an error.
fn zero_timeout_is_an_error() -> Result {
    let error = get(square.options().timeout(Duration::ZERO).remote(1)).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::InvalidOption);
    assert!(error.to_string().contains("timeout"), "{error}");
    Ok(())
}
