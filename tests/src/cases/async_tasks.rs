//! Asynchronous tasks: many of them share a worker, and each gives its CPU slot back at each await.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{Counter, Log, Signal, failure, process, say, square};
use std::collections::BTreeSet;
use std::time::Duration;
use unidist::prelude::*;
use unidist::{ErrorKind, cancel, num_cpus};

const ONE_SLOT: &[(&str, &str)] = &[("UNIDIST_CPUS", "1")];

pub(super) const CASES: &[Case] = cases!["async_tasks":
    waiting_tasks_share_workers,
    tasks_without_cpus_share_workers,
    parents_await_their_children,
    parents_await_asynchronous_children,
    one_slot_is_enough.settings(ONE_SLOT).not_spmd(),
    slot_is_free_while_a_timer_runs.settings(ONE_SLOT).not_spmd(),
    awaits_alternate_with_computing.settings(ONE_SLOT).not_spmd(), blocking_get_among_waiting_tasks.settings(ONE_SLOT).not_spmd(),
    blocking_get_of_a_waiting_task.settings(ONE_SLOT).not_spmd(), waiting_task_keeps_its_resources.only(PYMP)
        .settings(&[("UNIDIST_RESOURCES", "gpu=1")]).one_host(),
    waiting_task_can_be_cancelled, waiting_task_runs_out_of_time, waiting_tasks_are_lost_with_their_worker
        .only(PYMP).alone(),
    long_task_does_not_delay_waiting_ones.only(PYMP),
    results_of_one_turn_arrive_one_by_one.settings(ONE_SLOT).not_spmd(),
];

#[remote]
async fn waits_for(signal: ActorHandle<Signal>) -> unidist::Result<u32> {
    signal.wait.remote().await?;
    Ok(std::process::id())
}

/// Hundreds of tasks wait in as many processes as there are CPU slots, and plain tasks run beside them.
fn waiting_tasks_share_workers() -> Result {
    let signal = Signal::remote();
    let waiting: Vec<_> = (0..300).map(|_| waits_for.remote(&signal)).collect();
    get(signal.waiting.remote(300_usize))?;
    assert_eq!(get(square.remote(3))?, 9);
    get(signal.open.remote())?;
    let processes: BTreeSet<u32> = get(waiting)?.into_iter().collect();
    assert!(processes.len() <= num_cpus()?, "{processes:?}");
    Ok(())
}

/// So do tasks that need no CPU slot at all.
fn tasks_without_cpus_share_workers() -> Result {
    let signal = Signal::remote();
    let waiting: Vec<_> = (0..300).map(|_| waits_for.options().num_cpus(0.0).remote(&signal)).collect();
    get(signal.waiting.remote(300_usize))?;
    get(signal.open.remote())?;
    let processes: BTreeSet<u32> = get(waiting)?.into_iter().collect();
    // A host without a slot may run them too, in one worker.
    let most = num_cpus()?.max(unidist::cluster_resources()?.len());
    assert!(processes.len() <= most, "{processes:?}");
    Ok(())
}

#[remote]
async fn parent(x: i64) -> unidist::Result<i64> {
    Ok(square.remote(x).await? + 1)
}

/// Far more tasks than processes can be had await tasks of their own.
fn parents_await_their_children() -> Result {
    let parents: Vec<_> = (0..2_000).map(|x| parent.remote(x)).collect();
    let expected: Vec<i64> = (0..2_000).map(|x| x * x + 1).collect();
    assert_eq!(get(parents)?, expected);
    Ok(())
}

#[remote]
async fn descend(levels: u32) -> unidist::Result<u32> {
    match levels {
        0 => Ok(0),
        levels => Ok(descend.remote(levels - 1).await? + 1),
    }
}

/// The children may be asynchronous too, to any depth.
fn parents_await_asynchronous_children() -> Result {
    let chains: Vec<_> = (0..40).map(|_| descend.remote(30)).collect();
    assert!(get(chains)?.into_iter().all(|depth| depth == 30));
    assert_eq!(get(descend.remote(1_000))?, 1_000);
    Ok(())
}

/// A hundred timers run at the same time on one slot.
fn one_slot_is_enough() -> Result {
    let log = Log::remote();
    let sleeps = async |log: ActorHandle<Log>| {
        say(&log, "begins");
        // Each ends only after all have begun.
        log.said.remote(100_usize).await.map(drop)
    };
    let sleepers: Vec<_> = (0..100).map(|_| sleeps.remote(&log)).collect();
    get(sleepers).map(drop)
}

/// While a task waits for a timer, a plain task runs on the only slot.
fn slot_is_free_while_a_timer_runs() -> Result {
    let path = std::env::temp_dir().join(format!("unidist-tests-timer-{}", std::process::id()));
    let waits = async |path: String| {
        while !std::path::Path::new(&path).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let creates = |path: String| std::fs::write(path, "").is_ok();
    let name = path.to_string_lossy().into_owned();
    let waiting = waits.remote(name.clone());
    assert!(get(creates.remote(name))?);
    let ended = get(waiting);
    let _ = std::fs::remove_file(path);
    ended
}

/// Tasks compute between awaits, and wait again.
fn awaits_alternate_with_computing() -> Result {
    let alternates = async |rounds: i64| {
        let mut sum = 0;
        for round in 0..rounds {
            sum += square.remote(round).await?;
            tokio::task::yield_now().await;
            sum += (0..1_000).map(|x| std::hint::black_box(x % 2)).sum::<i64>() - 500;
        }
        Ok::<_, unidist::Error>(sum)
    };
    let all: Vec<_> = (0..20).map(|_| alternates.remote(10)).collect();
    assert!(get(all)?.into_iter().all(|sum| sum == 285));
    Ok(())
}

/// A task may block in `get` although others of its worker wait.
fn blocking_get_among_waiting_tasks() -> Result {
    let signal = Signal::remote();
    let waiting: Vec<_> = (0..10).map(|_| waits_for.remote(&signal)).collect();
    get(signal.waiting.remote(10_usize))?;
    let blocks = async |x: i64| {
        tokio::task::yield_now().await;
        let first = get(square.remote(x))?;
        tokio::task::yield_now().await;
        Ok::<_, unidist::Error>(first + get(parent.remote(x))?)
    };
    let blocking: Vec<_> = (0..10).map(|x| blocks.remote(x)).collect();
    assert_eq!(get(blocking)?, (0..10).map(|x| 2 * x * x + 1).collect::<Vec<_>>());
    get(signal.open.remote())?;
    get(waiting).map(drop)
}

/// A task may block on one that waits on the same worker.
fn blocking_get_of_a_waiting_task() -> Result {
    let signal = Signal::remote();
    let waiting = waits_for.remote(&signal);
    get(signal.waiting.remote(1_usize))?;
    let blocks = async |waiting: Vec<ObjectRef<u32>>, signal: ActorHandle<Signal>| {
        tokio::task::yield_now().await;
        get(signal.open.remote())?;
        get(&waiting).map(drop)
    };
    get(blocks.remote(vec![waiting], &signal))
}

/// A waiting task keeps what it holds beside its CPU slot.
fn waiting_task_keeps_its_resources() -> Result {
    let signal = Signal::remote();
    let holds = waits_for.options().resource("gpu", 1.0).remote(&signal);
    get(signal.waiting.remote(1_usize))?;
    let next = square.options().resource("gpu", 1.0).remote(4);
    assert_eq!(get(square.remote(2))?, 4);
    assert!(wait(std::slice::from_ref(&next), 1, Some(Duration::from_millis(1)))?.ready.is_empty());
    get(signal.open.remote())?;
    get(holds)?;
    assert_eq!(get(next)?, 16);
    Ok(())
}

/// A waiting task that is cancelled is dropped at once; others go on.
fn waiting_task_can_be_cancelled() -> Result {
    let signal = Signal::remote();
    let waiting: Vec<_> = (0..50).map(|_| waits_for.remote(&signal)).collect();
    get(signal.waiting.remote(50_usize))?;
    assert_eq!(cancel(&waiting[..25])?, 25);
    for cancelled in &waiting[..25] {
        assert_eq!(failure(cancelled), ErrorKind::Cancelled);
    }
    get(signal.open.remote())?;
    get(&waiting[25..]).map(drop)
}

/// A time limit ends a task that waits.
fn waiting_task_runs_out_of_time() -> Result {
    let signal = Signal::remote();
    let limited: Vec<_> =
        (0..10).map(|_| waits_for.options().timeout(Duration::from_millis(20)).remote(&signal)).collect();
    for limited in &limited {
        assert_eq!(failure(limited), ErrorKind::TimedOut);
    }
    assert_eq!(get(square.remote(2))?, 4);
    get(signal.open.remote()) // the calls of the signal wait on
}

/// All waiting tasks of a worker end with it: those that may be retried run again.
fn waiting_tasks_are_lost_with_their_worker() -> Result {
    let (signal, log) = (Signal::remote(), Log::remote());
    let waits = async |signal: ActorHandle<Signal>, log: ActorHandle<Log>| {
        say(&log, std::process::id());
        signal.wait.remote().await
    };
    let plain: Vec<_> = (0..10).map(|_| waits.remote(&signal, &log)).collect();
    let retried: Vec<_> = (0..10).map(|_| waits.options().max_retries(2).remote(&signal, &log)).collect();
    let processes: BTreeSet<String> = get(log.said.remote(20_usize))?.into_iter().collect();
    get(signal.waiting.remote(20_usize))?;
    for process in processes {
        let process = rustix::process::Pid::from_raw(process.parse().unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    }
    for lost in &plain {
        assert_eq!(failure(lost), ErrorKind::WorkerDied);
    }
    get(signal.waiting.remote(30_usize))?;
    get(signal.open.remote())?;
    get(retried).map(drop)
}

/// A plain task that computes does not run where tasks wait as long as another process can be had.
fn long_task_does_not_delay_waiting_ones() -> Result {
    let signal = Signal::remote();
    let waiting: Vec<_> = (0..20).map(|_| waits_for.remote(&signal)).collect();
    get(signal.waiting.remote(20_usize))?;
    let others: BTreeSet<u32> =
        get((0..20).map(|_| process.remote()).collect::<Vec<_>>())?.into_iter().collect();
    get(signal.open.remote())?;
    let of_waiting: BTreeSet<u32> = get(waiting)?.into_iter().collect();
    assert!(others.is_disjoint(&of_waiting), "{others:?} {of_waiting:?}");
    Ok(())
}

/// Tasks that are woken together end one by one: one that blocks does not hold back the result of another.
fn results_of_one_turn_arrive_one_by_one() -> Result {
    let (signal, counter) = (Signal::remote(), Counter::remote(0));
    let first = waits_for.remote(&signal);
    get(signal.waiting.remote(1_usize))?;
    let blocks = async |first: Vec<ObjectRef<u32>>, signal: ActorHandle<Signal>| {
        signal.wait.remote().await?;
        get(&first).map(drop)
    };
    let second = blocks.remote(vec![first.clone()], &signal);
    get(signal.waiting.remote(2_usize))?;
    get((signal.open.remote(), counter.add.remote(1)))?;
    get(second)?;
    get(first).map(drop)
}
