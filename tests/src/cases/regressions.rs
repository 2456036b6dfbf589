//! Defects of other systems that must not occur here. Further ones are covered by cases of their topic:
//! `wait::failed_task_inside_a_task`, `actors::call_does_not_stop_garbage_collection`,
//! `errors::error_value_is_a_value`, `actors::failed_constructor_affects_nothing_else`, `crashes::*`,
//! `actors::as_many_actors_as_workers_do_not_block_tasks`,
//! `tasks::result_is_available_while_the_worker_runs_another_task`.

use crate::case::{Case, PYMP, Result, cases};
use crate::environment::Environment;
use crate::process::{cpu_time, with_environment};
use crate::runner::MARK;
use crate::support::{Counter, Signal, square};
use std::time::Duration;
use unidist::prelude::*;
use unidist::{ErrorKind, SharedSlice, put_slice, shutdown};

pub(super) const CASES: &[Case] = cases!["regressions":
    idle_session_uses_no_cpu, blocked_program_uses_no_cpu, wait_for_oneself_is_an_error,
    cycle_of_two_is_an_error.only(PYMP), shared_memory_has_no_names.only(PYMP), task_cannot_end_the_session,
    dropped_object_is_freed_at_once.settings(&[("UNIDIST_OBJECT_STORE_MEMORY", "64MiB")]),
    freed_memory_is_reused.settings(&[("UNIDIST_OBJECT_STORE_MEMORY", "64MiB")]),
];

/// The CPU time of this process and all processes that it has started, during a wait.
fn used_while(waits: impl FnOnce()) -> Duration {
    // These cases measure idle time, so they need time to pass. On several hosts, it takes a while until the session
    // is idle.
    if Environment::from_variables().has_several_hosts() {
        std::thread::sleep(Duration::from_secs(4));
    }
    let mark = std::env::var(MARK).unwrap();
    let all = || {
        let others = with_environment(MARK, &mark);
        let all = others.into_iter().chain([std::process::id()]);
        all.map(cpu_time).sum::<Duration>()
    };
    let before = all();
    waits();
    all().saturating_sub(before)
}

/// The limit for an unoptimized program in 2 s on a busy machine: each host has a thread that polls the network.
fn little() -> Duration {
    Duration::from_millis(50) * Environment::from_variables().hosts()
}

/// Regression: an idle process must not use CPU (under 1 % of a core on an idle machine).
fn idle_session_uses_no_cpu() -> Result {
    let counters = [Counter::remote(1), Counter::remote(2)];
    get(counters.each_ref().map(|counter| counter.value.remote()))?;
    get((0..20).map(|x| square.remote(x)).collect::<Vec<_>>())?;
    let used = used_while(|| std::thread::sleep(Duration::from_secs(2)));
    assert!(used <= little(), "{used:?} in 2 s");
    Ok(())
}

/// The same for a program, or tasks, that block in `get` and `wait`.
fn blocked_program_uses_no_cpu() -> Result {
    let signal = Signal::remote();
    let blocked = [crate::support::blocked_on.remote(&signal), crate::support::blocked_on.remote(&signal)];
    get(signal.waiting.remote(2_usize))?;
    let used = used_while(|| drop(wait(&blocked, 1, Some(Duration::from_secs(2)))));
    assert!(used <= little(), "{used:?} in 2 s");
    get(signal.open.remote())?;
    get(blocked).map(drop)
}

/// Holds a ref for other callers.
struct Box1 {
    content: Vec<ObjectRef<i64>>,
}

#[remote]
impl Box1 {
    #[new]
    fn new() -> Self {
        Box1 { content: Vec::new() }
    }

    fn put(&mut self, content: Vec<ObjectRef<i64>>) {
        self.content = content;
    }

    fn take(&mut self) -> Vec<ObjectRef<i64>> {
        std::mem::take(&mut self.content)
    }
}

#[remote]
fn waits_for_what_is_in(shelf: ActorHandle<Box1>, signal: ActorHandle<Signal>) -> unidist::Result<i64> {
    get(signal.wait.remote())?;
    let content = get(shelf.take.remote())?;
    Ok(get(&content)?.iter().sum())
}

/// Deadlock detection: a task that waits for its own result gets an error.
fn wait_for_oneself_is_an_error() -> Result {
    let (shelf, signal) = (Box1::remote(), Signal::remote());
    let waits = waits_for_what_is_in.remote(&shelf, &signal);
    get(shelf.put.remote(vec![waits.clone()]))?;
    get(signal.open.remote())?;
    let error = get(waits).unwrap_err();
    let cause = error.as_task().unwrap().root_cause();
    assert_eq!(cause.kind, ErrorKind::Deadlock, "{error:?}");
    assert!(format!("{error:?}").contains("waits_for_what_is_in"), "{error:?}");
    Ok(())
}

/// Deadlock detection: two tasks that wait for each other get an error.
fn cycle_of_two_is_an_error() -> Result {
    let (shelves, signal) = ([Box1::remote(), Box1::remote()], Signal::remote());
    let tasks = shelves.each_ref().map(|shelf| waits_for_what_is_in.remote(shelf, &signal));
    get(shelves[0].put.remote(vec![tasks[1].clone()]))?;
    get(shelves[1].put.remote(vec![tasks[0].clone()]))?;
    get(signal.open.remote())?;
    for task in tasks {
        let error = get(task).unwrap_err();
        assert_eq!(error.as_task().unwrap().root_cause().kind, ErrorKind::Deadlock, "{error:?}");
    }
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// Regression: a crash must not leave files in /dev/shm. A running session has none.
fn shared_memory_has_no_names() -> Result {
    let counter = Counter::remote(1);
    let slice = put_slice(&vec![1.0; 1 << 18])?;
    get((counter.value.remote(), (|x: SharedSlice<f64>| x.len()).remote(&slice)))?;
    let mark = std::env::var(MARK).unwrap();
    let ours = with_environment(MARK, &mark).into_iter().chain([std::process::id()]);
    for process in ours {
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
        // An MPI may have files of its own there.
        let ours = |line: &&str| line.contains("/dev/shm/") && line.contains("unidist");
        let named = maps.lines().filter(ours).filter(|line| !line.ends_with("(deleted)"));
        assert_eq!(named.count(), 0, "{maps}");
    }
    Ok(())
}

/// A task cannot end the session of the program.
fn task_cannot_end_the_session() -> Result {
    if !crate::support::is_parallel() {
        return Ok(()); // there it is the program itself that calls `shutdown`
    }
    let ends = || shutdown().is_ok();
    get(ends.remote())?;
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// Memory is freed at once, even without another call after the last ref was dropped.
fn dropped_object_is_freed_at_once() -> Result {
    let data = vec![1_u8; 40 << 20];
    for _ in 0..8 {
        drop(put_slice(&data)?);
    }
    let in_a_task = |data: SharedSlice<u8>| (0..8).all(|_| put_slice(&data[..20 << 20]).is_ok());
    assert!(get(in_a_task.remote(put_slice(&data)?))?);
    Ok(())
}

/// Memory is freed as soon as the last ref is dropped: the store holds 4 of these objects, and 64 are made.
fn freed_memory_is_reused() -> Result {
    for n in 0..64_u8 {
        let data = put_slice(&vec![n; 16 << 20])?;
        let last = |data: SharedSlice<u8>| data[data.len() - 1];
        assert_eq!(get(last.remote(&data))?, n);
    }
    Ok(())
}
