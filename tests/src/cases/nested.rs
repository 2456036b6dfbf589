//! Tasks that use the session themselves.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{Counter, Log, Signal, blocked_on, say, square, sum};
use unidist::prelude::*;
use unidist::{cluster_resources, get_ip, is_initialized, num_cpus};

pub(super) const CASES: &[Case] = cases!["nested":
    task_calls_tasks, naive_recursion_ends, deep_recursion, nesting_deeper_than_the_workers,
    nesting_wide_and_deep, every_call_works_in_a_task.not_spmd(), task_makes_an_actor,
    actor_outlives_the_task_that_made_it, refs_go_down_and_up, task_waits_for_a_later_task,
    many_tasks_block_at_once, init_in_a_task, actor_calls_tasks, large_objects_from_nested_tasks,
    threads_in_a_task,
    threads_of_tasks_wait.only(PYMP), threads_of_a_task_wait_for_prefetched_tasks.settings(ONE_SLOT).not_spmd(),
    threads_wait_beside_their_task.only(PYMP).settings(ONE_SLOT).not_spmd(),
    threads_of_asynchronous_tasks_wait.only(PYMP).settings(ONE_SLOT).not_spmd(),
    many_tasks_wait_for_an_actor_that_waits_for_a_task,
    few_processes_are_enough.settings(FEW_PROCESSES).not_spmd(),
    asynchronous_tasks_run_on_few_processes.settings(FEW_PROCESSES).not_spmd(),
    recursion_on_few_processes.settings(FEW_PROCESSES).not_spmd(),
    processes_used_up_for_good_are_an_error.only(PYMP).settings(FEW_PROCESSES).one_host().not_spmd(),
    recursion_deeper_than_a_stack.settings(ONE_SLOT).not_spmd(),
    recursion_on_a_small_stack.only(PYMP).settings(ONE_SLOT).bare().not_spmd(),
];

const ONE_SLOT: &[(&str, &str)] = &[("UNIDIST_CPUS", "1")];

const FEW_PROCESSES: &[(&str, &str)] = &[("UNIDIST_CPUS", "2"), ("UNIDIST_MAX_PROCESSES", "3")];

#[remote]
fn fib(n: u64) -> unidist::Result<u64> {
    if n < 2 {
        return Ok(n);
    }
    let (a, b) = get((fib.remote(n - 1), fib.remote(n - 2)))?;
    Ok(a + b)
}

/// A task may submit and `get`.
fn task_calls_tasks() -> Result {
    let squares = |n: i64| get((0..n).map(|x| square.remote(x)).collect::<Vec<_>>()).unwrap();
    assert_eq!(get(squares.remote(5))?, [0, 1, 4, 9, 16]);
    Ok(())
}

/// A task blocked in `get` releases its CPU slot: naive recursion ends, on two workers.
fn naive_recursion_ends() -> Result {
    assert_eq!(get((fib.remote(7), fib.remote(12)))?, (13, 144));
    Ok(())
}

/// Tens of thousands of nested tasks need processes in proportion to the CPUs, not to the tasks.
fn deep_recursion() -> Result {
    assert_eq!(get(fib.remote(18))?, 2584);
    Ok(())
}

#[remote]
fn depth(n: u32) -> unidist::Result<u32> {
    match n {
        0 => Ok(0),
        n => Ok(get(depth.remote(n - 1))? + 1),
    }
}

/// Nesting deeper than the number of workers does not deadlock.
fn nesting_deeper_than_the_workers() -> Result {
    assert_eq!(get(depth.remote(100))?, 100);
    Ok(())
}

#[remote]
fn tree(levels: u32, width: u32) -> unidist::Result<u32> {
    if levels == 0 {
        return Ok(1);
    }
    let children: Vec<_> = (0..width).map(|_| tree.remote(levels - 1, width)).collect();
    Ok(get(children)?.iter().sum())
}

/// Every level waits for many below it.
fn nesting_wide_and_deep() -> Result {
    assert_eq!(get(tree.remote(4, 6))?, 1296);
    Ok(())
}

/// A task may submit, `put`, `get`, `wait` and query the cluster.
fn every_call_works_in_a_task() -> Result {
    let uses_all = || -> unidist::Result<(i64, usize, usize, bool)> {
        let objects = [put(1)?, put(2)?, square.remote(3)];
        let ready = wait(&objects, 3, None)?.ready.len();
        let host = get_ip()?;
        let is_known = cluster_resources()?.contains_key(&host) && is_initialized();
        Ok((get(sum.remote(&objects))?, ready, num_cpus()?, is_known))
    };
    assert_eq!(get(uses_all.remote())?, (12, 3, 2, true));
    Ok(())
}

/// A task may create actors.
fn task_makes_an_actor() -> Result {
    let counts = |n: i64| {
        let counter = Counter::remote(n);
        (0..10).for_each(|_| drop(counter.add.remote(1)));
        get(counter.value.remote()).unwrap()
    };
    assert_eq!(get([counts.remote(0), counts.remote(100)])?, [10, 110]);
    Ok(())
}

/// Handles can be sent, also in results.
fn actor_outlives_the_task_that_made_it() -> Result {
    let counter = get((|n: i64| Counter::remote(n)).remote(5))?;
    assert_eq!(get([counter.add.remote(1), counter.add.remote(1)])?, [6, 7]);
    Ok(())
}

/// Refs go down to nested tasks and come back from them.
fn refs_go_down_and_up() -> Result {
    let middle = |refs: Vec<ObjectRef<i64>>| {
        let inner = |refs: Vec<ObjectRef<i64>>| refs.into_iter().rev().collect::<Vec<_>>();
        get(inner.remote(refs)).unwrap()
    };
    let refs = vec![put(1)?, square.remote(2), put(3)?];
    let reversed = get(middle.remote(refs))?;
    assert_eq!(get(reversed)?, [3, 4, 1]);
    Ok(())
}

/// A task may wait for what is submitted after it.
fn task_waits_for_a_later_task() -> Result {
    let signal = Signal::remote();
    let first = blocked_on.remote(&signal);
    let open = |signal: ActorHandle<Signal>| get(signal.open.remote()).unwrap();
    get(open.remote(&signal))?;
    get(first).map(drop)
}

/// More tasks than CPUs may block at once, and others still run.
fn many_tasks_block_at_once() -> Result {
    let signal = Signal::remote();
    let blocked: Vec<_> = (0..8).map(|_| blocked_on.remote(&signal)).collect();
    get(signal.waiting.remote(8_usize))?;
    assert_eq!(get(square.remote(3))?, 9);
    get(signal.open.remote())?;
    assert_eq!(get(blocked)?.len(), 8);
    Ok(())
}

/// In a worker, `init` gives a handle of the current session, and its drop does not end it.
fn init_in_a_task() -> Result {
    let starts = || {
        let session = unidist::init().unwrap();
        let before = get(square.remote(2)).unwrap();
        drop(session);
        before + get(square.remote(3)).unwrap()
    };
    assert_eq!(get(starts.remote())?, 13);
    assert_eq!(get(starts.remote())?, 13);
    Ok(())
}

struct Master;

#[remote]
impl Master {
    #[new]
    fn new() -> Self {
        Master
    }

    fn squares(&self, n: i64) -> unidist::Result<Vec<i64>> {
        get((0..n).map(|x| square.remote(x)).collect::<Vec<_>>())
    }

    fn fib(&mut self, n: u64) -> unidist::Result<u64> {
        get(fib.remote(n))
    }
}

/// An actor's method may use the session too.
fn actor_calls_tasks() -> Result {
    let masters = [Master::remote(), Master::remote()];
    let fibs: Vec<_> = masters.iter().map(|master| master.fib.remote(8_u64)).collect();
    assert_eq!(get(masters[0].squares.remote(3))?, [0, 1, 4]);
    assert_eq!(get(fibs)?, [21, 21]);
    Ok(())
}

/// Large objects made by nested tasks come back up.
fn large_objects_from_nested_tasks() -> Result {
    let outer = |n: u8| {
        let part = |seed: u8| vec![seed; 1 << 20];
        get((0..n).map(|seed| part.remote(seed)).collect::<Vec<_>>()).unwrap().concat()
    };
    let data = get(outer.remote(4))?;
    assert!(data.len() == 4 << 20 && data[3 << 20] == 3);
    Ok(())
}

/// A task may use the session from threads of its own.
fn threads_in_a_task() -> Result {
    let spawns = |n: i64| {
        let refs: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..n).map(|x| scope.spawn(move || (put(x).unwrap(), square.remote(x)))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        refs.iter().map(|(put, squared)| get(put).unwrap() + get(squared).unwrap()).sum::<i64>()
    };
    assert_eq!(get(spawns.remote(4))?, 6 + 14);
    Ok(())
}

/// As many tasks as there are CPU slots wait on threads of their own: what they wait for still runs.
fn threads_of_tasks_wait() -> Result {
    let on_threads = |n: i64| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..n).map(|x| scope.spawn(move || get(square.remote(x)))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<Result<i64>>()
        })
    };
    let tasks: Vec<_> = (0..8).map(|_| on_threads.remote(5)).collect();
    assert_eq!(get(tasks)?, [30; 8]);
    Ok(())
}

/// Also if the tasks were sent ahead to the worker of the task that waits.
fn threads_of_a_task_wait_for_prefetched_tasks() -> Result {
    let waits = |n: i64| {
        let refs: Vec<_> = (0..n).map(|x| square.remote(x)).collect();
        let (first, rest) = refs.split_at(refs.len() / 2);
        let ready =
            std::thread::scope(|scope| scope.spawn(|| wait(first, first.len(), None)).join().unwrap());
        let values = std::thread::scope(|scope| scope.spawn(|| get(rest)).join().unwrap());
        Ok::<_, unidist::Error>((ready?.ready.len(), values?.iter().sum::<i64>()))
    };
    assert_eq!(get(waits.remote(10))?, (5, 25 + 36 + 49 + 64 + 81));
    Ok(())
}

/// A task waits, and so do threads that it has started, for different tasks.
fn threads_wait_beside_their_task() -> Result {
    let waits = |n: i64| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..n).map(|x| scope.spawn(move || get(square.remote(x)))).collect();
            let own = get(square.remote(n))?;
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<Result<i64>>().map(|sum| sum + own)
        })
    };
    let tasks: Vec<_> = (0..3).map(|_| waits.remote(3)).collect();
    assert_eq!(get(tasks)?, [14; 3]);
    Ok(())
}

#[remote]
async fn asks_on_a_thread(x: i64) -> unidist::Result<i64> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || sender.send(get(square.remote(x))));
    receiver.await.expect("the thread sends a value")
}

/// An asynchronous task awaits a thread that waits for another task.
fn threads_of_asynchronous_tasks_wait() -> Result {
    let tasks: Vec<_> = (0..5).map(|x| asks_on_a_thread.remote(x)).collect();
    assert_eq!(get(tasks)?, [0, 1, 4, 9, 16]);
    Ok(())
}

#[remote]
fn asks(master: ActorHandle<Master>) -> unidist::Result<i64> {
    Ok(get(master.squares.remote(3))?.iter().sum())
}

/// More tasks than processes can be had wait for an actor, whose method waits for tasks.
fn many_tasks_wait_for_an_actor_that_waits_for_a_task() -> Result {
    let master = Master::remote();
    let all: Vec<_> = (0..400).map(|_| asks.remote(&master)).collect();
    assert!(get(all)?.into_iter().all(|sum| sum == 5));
    Ok(())
}

/// The limit of processes only makes it slower.
fn few_processes_are_enough() -> Result {
    let masters = [Master::remote(), Master::remote()];
    let all: Vec<_> = (0..40).map(|at| asks.remote(&masters[at % 2])).collect();
    let last = square.remote(5);
    assert_eq!(get(last)?, 25);
    assert!(get(all)?.into_iter().all(|sum| sum == 5));
    Ok(())
}

#[remote]
async fn awaits_what_blocks(master: ActorHandle<Master>, levels: u32) -> unidist::Result<i64> {
    if levels > 0 {
        return awaits_what_blocks.remote(&master, levels - 1).await;
    }
    Ok(asks.remote(&master).await? + get(asks.remote(&master))?)
}

/// Asynchronous tasks, which leave their process while they await, and block in it too.
fn asynchronous_tasks_run_on_few_processes() -> Result {
    let master = Master::remote();
    let all: Vec<_> = (0..20).map(|levels| awaits_what_blocks.remote(&master, levels)).collect();
    assert!(get(all)?.into_iter().all(|sum| sum == 10));
    Ok(())
}

/// Recursion through an actor, whose calls wait for tasks that wait for each other.
fn recursion_on_few_processes() -> Result {
    let masters = [Master::remote(), Master::remote(), Master::remote()];
    let through_actor = |master: ActorHandle<Master>, n: u64| get(master.fib.remote(n));
    let all: Vec<_> = (0..12).map(|n| through_actor.remote(&masters[n as usize % 3], n % 8)).collect();
    let fibs = [0, 1, 1, 2, 3, 5, 8, 13];
    assert_eq!(get(all)?, (0..12).map(|n| fibs[n % 8]).collect::<Vec<_>>());
    Ok(())
}

/// Where no call can run any more, since all processes wait in threads, the newest wait fails, with the way out.
fn processes_used_up_for_good_are_an_error() -> Result {
    let log = Log::remote();
    let waits_on_threads = |log: ActorHandle<Log>| {
        let on_thread = |call: &(dyn Fn() -> Result<i64> + Sync)| {
            std::thread::scope(|scope| scope.spawn(call).join().unwrap())
        };
        say(&log, "runs");
        on_thread(&|| get(log.said.remote(3_usize)).map(|_| 0))?; // by then all processes are in use
        on_thread(&|| get(square.remote(3)))
    };
    let all: Vec<_> = (0..3).map(|_| waits_on_threads.remote(&log)).collect();
    let results: Vec<_> = all.into_iter().map(get).collect();
    let failed = results.iter().find_map(|result| result.as_ref().err()).expect("one wait fails");
    assert!(failed.to_string().contains("UNIDIST_MAX_PROCESSES"), "{failed}");
    Ok(())
}

/// Recursion goes deeper than the stack of one process.
fn recursion_deeper_than_a_stack() -> Result {
    assert_eq!(get(depth.remote(2_000))?, 2_000);
    Ok(())
}

/// Also where stacks are small.
fn recursion_on_a_small_stack() -> Result {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = Rlimit { current: Some(1 << 20), ..getrlimit(Resource::Stack) };
    setrlimit(Resource::Stack, limit).unwrap(); // for the workers
    let _session = unidist::init()?;
    assert_eq!(get(depth.remote(200))?, 200);
    Ok(())
}
