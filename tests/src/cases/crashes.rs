//! Crashes of processes, and their effect on the session.

use crate::case::{Case, PYMP, Result, cases};
use crate::environment::Environment;
use crate::process::{eventually, is_alive};
use crate::program::assert_all_freed;
use crate::runner;
use crate::support::{BOUND, Counter, Signal, blocked_on, failure, kind, process, square};
use rustix::process::{Pid, Signal as UnixSignal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use unidist::prelude::*;
use unidist::{ErrorKind, TaskError};

pub(super) const CASES: &[Case] = cases!["crashes":
    exit_fails_the_task.only(PYMP), abort_names_the_signal.only(PYMP), kill_names_the_signal.only(PYMP),
    stack_overflow_ends_the_worker_only.only(PYMP), idle_worker_is_replaced.only(PYMP),
    all_workers_are_replaced.only(PYMP), dependents_of_a_lost_task.only(PYMP),
    crash_keeps_other_results.only(PYMP), crash_in_a_nested_task.only(PYMP),
    blocked_worker_is_killed.only(PYMP), actor_exit_fails_all_calls.only(PYMP),
    killed_actor_names_the_signal.only(PYMP), abort_in_a_constructor.only(PYMP),
    pending_calls_of_a_killed_actor.only(PYMP), task_is_retried_after_a_crash.only(PYMP),
    retries_are_limited.only(PYMP), many_crashes.only(PYMP), crash_frees_the_objects_held.only(PYMP),
    objects_outlive_the_worker_that_made_them.only(PYMP), no_orphans_after_a_kill.bare().only(PYMP),
    no_orphans_while_busy.bare().only(PYMP), no_orphans_after_an_exit.bare().only(PYMP),
    no_orphans_after_an_abort.bare().only(PYMP), exit_status_is_the_programs_own.not_spmd().bare(),
];

#[remote]
fn exits(code: i32) -> i64 {
    std::process::exit(code);
}

#[remote]
fn aborts() -> i64 {
    std::process::abort();
}

pub(super) fn kill(process: u32) {
    let process = Pid::from_raw(process.try_into().unwrap()).unwrap();
    kill_process(process, UnixSignal::KILL).unwrap();
}

#[remote]
fn killed() -> i64 {
    kill(std::process::id());
    unreachable!("it was killed");
}

/// Checks the failure of a task whose worker ended.
pub(super) fn lost(reference: ObjectRef<i64>, function: &str, how: &str) -> TaskError {
    let error = get(reference).unwrap_err().as_task().unwrap().clone();
    assert_eq!(error.kind, ErrorKind::WorkerDied, "{error:?}");
    let text = error.to_string();
    assert!(text.contains(function), "{text} does not name the task");
    assert!(text.contains(how), "{text} does not say {how}");
    assert!(!error.worker.is_empty(), "{text} does not name the worker");
    error
}

/// A worker's exit fails only its task: the error names the task, the worker and the status.
fn exit_fails_the_task() -> Result {
    lost(exits.remote(3), "exits", "3");
    assert_eq!(get(square.remote(2))?, 4);
    lost(exits.remote(0), "exits", "0");
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

/// The error names the signal.
fn abort_names_the_signal() -> Result {
    lost(aborts.remote(), "aborts", "SIGABRT");
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// The same for SIGKILL.
fn kill_names_the_signal() -> Result {
    lost(killed.remote(), "killed", "SIGKILL");
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// A stack overflow ends its worker, not the program.
fn stack_overflow_ends_the_worker_only() -> Result {
    fn deeper(n: u64) -> u64 {
        std::hint::black_box(if n == u64::MAX { n } else { deeper(std::hint::black_box(n + 1)) + 1 })
    }
    let overflows = || deeper(0) as i64;
    assert_eq!(failure(overflows.remote()), ErrorKind::WorkerDied);
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// An idle worker that dies is replaced.
fn idle_worker_is_replaced() -> Result {
    for _ in 0..3 {
        let worker = get(process.remote())?;
        kill(worker);
        assert!(eventually(BOUND, || !is_alive(worker)));
        assert_ne!(get(process.remote())?, worker);
    }
    Ok(())
}

/// All workers that die at once are replaced.
fn all_workers_are_replaced() -> Result {
    let signal = Signal::remote();
    let blocked = [blocked_on.remote(&signal), blocked_on.remote(&signal)];
    get(signal.waiting.remote(2_usize))?;
    get(signal.open.remote())?;
    for worker in get(blocked)? {
        kill(worker);
    }
    assert_eq!(get((0..10).map(|x| square.remote(x)).collect::<Vec<_>>())?.len(), 10);
    Ok(())
}

/// Kills its worker until it has started `starts` times; the file counts them.
#[remote(max_retries = 2)]
fn dies_before(start: usize, file: PathBuf) -> std::io::Result<usize> {
    use std::io::Write;
    std::fs::OpenOptions::new().append(true).open(&file)?.write_all(b".")?;
    let starts = std::fs::read(&file)?.len();
    if starts < start {
        kill(std::process::id());
    }
    Ok(starts)
}

pub(super) fn counter_file() -> PathBuf {
    let file = std::env::temp_dir().join(format!("unidist-conformance-{}", std::process::id()));
    std::fs::write(&file, "").unwrap();
    file
}

/// `max_retries`: a task whose worker dies is retried.
fn task_is_retried_after_a_crash() -> Result {
    let file = counter_file();
    let after =
        square.remote((|starts: usize| starts as i64).remote(dies_before.remote(3_usize, file.clone())));
    let starts = get(after);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(starts?, 9);
    Ok(())
}

/// After three lost workers a task is not retried, regardless of `max_retries`.
fn retries_are_limited() -> Result {
    let file = counter_file();
    let error = get(dies_before.options().max_retries(100).remote(50_usize, file.clone())).unwrap_err();
    let starts = std::fs::read(&file).unwrap().len();
    std::fs::remove_file(&file).unwrap();
    assert_eq!((kind(&error), starts), (ErrorKind::WorkerDied, 3));
    Ok(())
}

/// Dependents of a lost task fail with that cause.
fn dependents_of_a_lost_task() -> Result {
    let error = get(square.remote(exits.remote(1))).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::DependencyFailed);
    assert_eq!(error.as_task().unwrap().root_cause().kind, ErrorKind::WorkerDied);
    Ok(())
}

/// Nothing else is lost: objects that the worker made stay, small and large.
fn crash_keeps_other_results() -> Result {
    let makes = |seed: u8, len: usize| vec![seed; len];
    let made: Vec<_> =
        (0..6).flat_map(|seed| [makes.remote(seed, 10_usize), makes.remote(seed, 1_usize << 20)]).collect();
    wait(&made, made.len(), None)?;
    let crashes: Vec<_> = (0..4).map(|_| killed.remote()).collect();
    assert_eq!(wait(&crashes, 4, None)?.ready.len(), 4);
    for (n, data) in get(made)?.into_iter().enumerate() {
        assert!(data.iter().all(|byte| usize::from(*byte) == n / 2) && data.len() == [10, 1 << 20][n % 2]);
    }
    Ok(())
}

/// Objects that a task has put or returned are in the session's store, not in the worker.
fn objects_outlive_the_worker_that_made_them() -> Result {
    let makes = || (std::process::id(), put(vec![7_u8; 1 << 20]).unwrap(), vec![8_u8; 1 << 20]);
    let (process, is_put, returned) = makes.options().num_returns::<3>().remote();
    let process = get(process)?;
    kill(process);
    assert!(eventually(BOUND, || !is_alive(process)));
    assert_eq!(get(square.remote(2))?, 4);
    assert!(get(get(is_put)?)?.iter().all(|byte| *byte == 7));
    assert!(get(returned)?.iter().all(|byte| *byte == 8));
    Ok(())
}

/// A nested task's crash is an error in the task that waits for it; or fails that too, as they may share a process.
fn crash_in_a_nested_task() -> Result {
    let survives = || {
        let error = get(exits.remote(4)).unwrap_err();
        (error.as_task().unwrap().kind == ErrorKind::WorkerDied, get(square.remote(5)).unwrap())
    };
    match get(survives.remote()) {
        Ok(survived) => assert_eq!(survived, (true, 25)),
        Err(error) => assert_eq!(kind(&error), ErrorKind::WorkerDied, "{error:?}"),
    }
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// A worker that is killed while it blocks in `get` loses its task; the task that it waited for continues.
fn blocked_worker_is_killed() -> Result {
    let signal = Signal::remote();
    let blocks = |signal: ActorHandle<Signal>, own: Vec<ActorHandle<Own>>| -> i64 {
        get(own[0].is.remote(std::process::id())).unwrap();
        get(signal.wait.remote()).map_or(0, |()| 1)
    };
    let own = Own::remote();
    let blocked = blocks.remote(&signal, vec![own.clone()]);
    get(signal.waiting.remote(1_usize))?;
    kill(get(own.get.remote())?);
    assert_eq!(failure(blocked), ErrorKind::WorkerDied);
    get(signal.open.remote())?;
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// Stores a process id.
struct Own(u32);

#[remote]
impl Own {
    #[new]
    fn new() -> Self {
        Own(0)
    }

    fn is(&mut self, process: u32) {
        self.0 = process;
    }

    fn get(&self) -> u32 {
        self.0
    }
}

struct Fragile;

#[remote]
impl Fragile {
    #[new]
    fn new(aborts: bool) -> Self {
        if aborts {
            std::process::abort();
        }
        Fragile
    }

    fn process(&self) -> u32 {
        std::process::id()
    }

    fn exits(&self, code: i32) -> i64 {
        std::process::exit(code);
    }

    async fn waits(&self) {
        std::future::pending::<()>().await;
    }
}

/// An actor's exit fails this and every later call with `ActorDied`, and nothing else is lost.
fn actor_exit_fails_all_calls() -> Result {
    let (fragile, counter) = (Fragile::remote(false), Counter::remote(1));
    let error = get(fragile.exits.remote(5)).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::ActorDied);
    assert!(format!("{error:?}").contains('5'), "{error:?}");
    assert_eq!(failure(fragile.process.remote()), ErrorKind::ActorDied);
    assert_eq!(get((counter.add.remote(1), square.remote(2)))?, (2, 4));
    Ok(())
}

/// The same when it is killed between calls; the error names the signal.
fn killed_actor_names_the_signal() -> Result {
    let (fragile, counter) = (Fragile::remote(false), Counter::remote(1));
    let own = get(fragile.process.remote())?;
    kill(own);
    assert!(eventually(BOUND, || !is_alive(own)));
    let error = get(fragile.process.remote()).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::ActorDied);
    assert!(format!("{error:?}").contains("SIGKILL"), "{error:?}");
    assert_eq!(get(counter.add.remote(1))?, 2);
    Ok(())
}

/// The same if it dies in its constructor.
fn abort_in_a_constructor() -> Result {
    let fragile = Fragile::remote(true);
    let error = get(fragile.process.remote()).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::ActorDied);
    assert!(format!("{error:?}").contains("SIGABRT"), "{error:?}");
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// Calls in flight and queued calls fail with it; tasks that block on it continue.
fn pending_calls_of_a_killed_actor() -> Result {
    let fragile = Fragile::remote(false);
    let pending: Vec<_> = (0..10).map(|_| fragile.waits.remote()).collect();
    let waits = |fragile: ActorHandle<Fragile>| get(fragile.waits.remote()).is_err();
    let blocked = [waits.remote(&fragile), waits.remote(&fragile), waits.remote(&fragile)];
    kill(get(fragile.process.remote())?);
    assert_eq!(get(blocked)?, [true; 3]);
    for call in pending {
        assert_eq!(failure(call), ErrorKind::ActorDied);
    }
    Ok(())
}

/// Many crashes, one after the other.
fn many_crashes() -> Result {
    let crashes: Vec<_> =
        (0..12).map(|n| if n % 2 == 0 { exits.remote(n) } else { killed.remote() }).collect();
    let good: Vec<_> = (0..12).map(|x| square.remote(x)).collect();
    assert_eq!(wait(&crashes, 12, None)?.ready.len(), 12);
    // Tasks queued behind a crash are run elsewhere, not lost.
    assert_eq!(get(good)?, (0..12).map(|x| x * x).collect::<Vec<_>>());
    for crash in crashes {
        assert_eq!(failure(crash), ErrorKind::WorkerDied);
    }
    Ok(())
}

/// Objects that a dead process referred to are freed.
fn crash_frees_the_objects_held() -> Result {
    let holds = |data: Vec<ObjectRef<Vec<u8>>>| -> i64 {
        let own = (put(vec![0_u8; 1 << 20]).unwrap(), square.remote(2), Counter::remote(1));
        get(own.2.value.remote()).unwrap();
        assert_eq!(data.len(), 1);
        std::process::exit(1);
    };
    for _ in 0..3 {
        assert_eq!(failure(holds.remote(vec![put(vec![1_u8; 1 << 20])?])), ErrorKind::WorkerDied);
    }
    assert_all_freed();
    Ok(())
}

/// Programs that the cases above start and kill.
pub(super) const PROGRAMS: &[Case] = cases!["programs":
    idle_program.bare(), busy_program.bare(), exiting_program.bare(), aborting_program.bare(),
    program_with_a_status.bare(),
];

/// Starts workers and actors, and prints their process ids on one line.
fn report(counters: &[ActorHandle<Counter>]) -> Result {
    let signal = Signal::remote();
    let blocked = [blocked_on.remote(&signal), blocked_on.remote(&signal)];
    get(signal.waiting.remote(2_usize))?;
    get(signal.open.remote())?;
    let mut processes = get(blocked)?;
    processes.extend(get(counters.iter().map(|counter| counter.process.remote()).collect::<Vec<_>>())?);
    let words: Vec<_> = processes.iter().map(u32::to_string).collect();
    println!("{}", words.join(" "));
    std::io::stdout().flush().map_err(|error| unidist::Error::system("stdout", error))
}

fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

fn idle_program() -> Result {
    let _session = unidist::init()?;
    let counters = [Counter::remote(1), Counter::remote(2)];
    let _object = put(vec![1_u8; 10 << 20])?;
    report(&counters)?;
    stay();
}

fn busy_program() -> Result {
    let _session = unidist::init()?;
    let counters = [Counter::remote(1), Counter::remote(2)];
    report(&counters)?;
    let busy = || -> u8 {
        loop {
            std::hint::black_box(());
        }
    };
    let _busy = [busy.remote(), busy.remote(), busy.remote()];
    let _also = Fragile::remote(false).waits.remote();
    get(&_busy[0]).map(drop)
}

fn exiting_program() -> Result {
    let _session = unidist::init()?;
    report(&[Counter::remote(1)])?;
    std::process::exit(0); // drops nothing
}

fn aborting_program() -> Result {
    let _session = unidist::init()?;
    report(&[Counter::remote(1)])?;
    std::process::abort();
}

fn program_with_a_status() -> Result {
    let _session = unidist::init()?;
    let _counter = Counter::remote(1);
    get(square.remote(2))?;
    std::process::exit(17);
}

/// Starts a program, kills it unless it ends by itself, and waits until the processes that it had started are gone.
fn leaves_nothing(name: &'static str, ends_itself: bool) -> Result {
    let program = PROGRAMS.iter().find(|program| program.name == name).unwrap();
    let before = Environment::from_variables().entries();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let own_mark = std::env::var(runner::MARK).unwrap();
    runner::command_for(&mut command, PYMP, &[*program]);
    command.env(runner::MARK, own_mark); // whatever it leaves is this case's
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let processes: Vec<u32> = line.split_whitespace().map(|process| process.parse().unwrap()).collect();
    assert!(processes.len() >= 3, "{line:?}");
    if !ends_itself {
        assert!(processes.iter().all(|process| is_alive(*process)), "{line}");
        child.kill().unwrap();
    }
    child.wait().unwrap();
    for process in processes {
        let is_gone = || !is_alive(process);
        assert!(eventually(BOUND, is_gone), "process {process} lives on");
    }
    assert!(eventually(BOUND, || Environment::from_variables()
        .entries()
        .iter()
        .all(|path| before.contains(path))));
    Ok(())
}

/// Regression: no process may outlive a killed program.
fn no_orphans_after_a_kill() -> Result {
    leaves_nothing("idle_program", false)
}

/// The same while the workers compute.
fn no_orphans_while_busy() -> Result {
    leaves_nothing("busy_program", false)
}

/// The same if the program exits without dropping anything.
fn no_orphans_after_an_exit() -> Result {
    leaves_nothing("exiting_program", true)
}

/// The same if it aborts.
fn no_orphans_after_an_abort() -> Result {
    leaves_nothing("aborting_program", true)
}

/// A program's exit status is its own.
fn exit_status_is_the_programs_own() -> Result {
    let program = PROGRAMS.iter().find(|program| program.name == "program_with_a_status").unwrap();
    let backend = std::env::var("UNIDIST_BACKEND").unwrap();
    let mut command = Environment::from_variables().program().unwrap();
    runner::command_for(&mut command, &backend, &[*program]);
    assert_eq!(command.status().unwrap().code(), Some(17));
    Ok(())
}
