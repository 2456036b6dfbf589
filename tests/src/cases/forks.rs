//! Forked children of programs, tasks and actors.

use crate::case::{Case, MPI, Result, cases};
use crate::support::{Counter, square};
use crate::unix::{ended_well, fork, in_forked_child};
use std::sync::atomic::{AtomicBool, Ordering};
use unidist::SharedSlice;
use unidist::prelude::*;

pub(super) const CASES: &[Case] = cases!["forks":
    calls_in_a_forked_child_are_errors,
    forked_child_changes_nothing,
    calls_in_a_forked_child_of_a_task_are_errors,
    forked_child_of_a_task_does_not_answer,
    forked_child_of_an_actor_does_not_answer,
    forked_child_of_an_asynchronous_task_does_not_answer,
    forked_child_ends_with_its_main.bare(),
    forks_while_threads_call,
    session_of_a_forked_child.bare().one_host(), session_after_an_ended_one.bare().one_host(),
];

fn is_forked<T>(call: &str, result: unidist::Result<T>) -> bool {
    let text = match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    let is_forked = text.contains("forked child");
    if !is_forked {
        eprintln!("{call}: {text}");
    }
    is_forked
}

/// Whether every public function fails.
fn all_calls_fail(object: &ObjectRef<i64>, counter: &ActorHandle<Counter>) -> bool {
    let results = [
        is_forked("init", unidist::init()),
        is_forked("put", put(1)),
        is_forked("put_slice", put_slice(&vec![1.0; 1 << 17])),
        is_forked("build", SharedSlice::build(1 << 17, |_: &mut [u8]| ())),
        is_forked("get", get(object)),
        is_forked("wait", wait(object, 1, None)),
        is_forked("cancel", object.cancel()),
        is_forked("remote", get(square.remote(2))),
        is_forked("remote with a ref", get(square.remote(object))),
        is_forked("constructor", get(Counter::remote(1).value.remote())),
        is_forked("method", get(counter.add.remote(1))),
        is_forked("status", unidist::status(object)),
        is_forked("workers", unidist::workers()),
        is_forked("num_cpus", unidist::num_cpus()),
        is_forked("store_usage", unidist::store_usage()),
        is_forked("live_objects", unidist::live_objects()),
    ];
    drop((object.clone(), counter.clone()));
    results.iter().all(|is_forked| *is_forked)
}

/// Every call in a forked child of the program is an error that says so.
fn calls_in_a_forked_child_are_errors() -> Result {
    let (object, counter) = (put(5)?, Counter::remote(1));
    assert_eq!(get(counter.value.remote())?, 1);
    assert!(in_forked_child(|| all_calls_fail(&object, &counter)));
    assert_eq!(get((object, counter.value.remote()))?, (5, 1));
    Ok(())
}

/// What a forked child drops, shuts down or calls has no effect on the session.
fn forked_child_changes_nothing() -> Result {
    let (object, large, counter) = (put(5)?, put_slice(&vec![1.0; 1 << 17])?, Counter::remote(1));
    let view = get(&large)?;
    assert!(in_forked_child(|| {
        drop((object.clone(), large.clone(), counter.clone(), view.clone()));
        drop(counter.add.remote(10));
        let _ = unidist::shutdown();
        true
    }));
    assert_eq!(get((&object, counter.add.remote(1)))?, (5, 2));
    assert!(view.iter().all(|x| *x == 1.0));
    drop((object, large, view));
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

/// The same in a forked child of a task.
fn calls_in_a_forked_child_of_a_task_are_errors() -> Result {
    let forks = |refs: Vec<ObjectRef<i64>>, counter: ActorHandle<Counter>| {
        in_forked_child(|| all_calls_fail(&refs[0], &counter))
    };
    let (object, counter) = (put(5)?, Counter::remote(1));
    assert_eq!(get(counter.value.remote())?, 1);
    assert!(get(forks.remote(put(vec![object.clone()])?, &counter))?);
    assert_eq!(get((object, counter.value.remote()))?, (5, 1));
    Ok(())
}

/// A task that forks and returns in both processes.
#[remote]
fn forks_and_returns() -> (u32, bool) {
    match fork() {
        None => (0, true),
        Some(child) => (std::process::id(), ended_well(child)),
    }
}

/// A forked child of a task that returns ends there: it answers nothing.
fn forked_child_of_a_task_does_not_answer() -> Result {
    for _ in 0..3 {
        let (process, is_well) = get(forks_and_returns.remote())?;
        assert!(process != 0 && is_well);
        assert_eq!(get((0..20).map(|x| square.remote(x)).collect::<Vec<_>>())?.len(), 20);
    }
    Ok(())
}

struct Forker(u32);

#[remote]
impl Forker {
    #[new]
    fn new() -> Self {
        Forker(0)
    }

    fn fork(&mut self) -> (u32, bool) {
        self.0 += 1;
        let (process, is_well) = forks_and_returns();
        (if process == 0 { 0 } else { self.0 }, is_well)
    }
}

/// The same for a method of an actor.
fn forked_child_of_an_actor_does_not_answer() -> Result {
    let forker = Forker::remote();
    for round in 1..4 {
        assert_eq!(get(forker.fork.remote())?, (round, true));
    }
    Ok(())
}

/// The same for an asynchronous task.
fn forked_child_of_an_asynchronous_task_does_not_answer() -> Result {
    async fn forks() -> (u32, bool) {
        tokio::task::yield_now().await;
        forks_and_returns()
    }
    let (process, is_well) = get(forks.remote())?;
    assert!(process != 0 && is_well);
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

/// A forked child that returns from `main` ends: the drop of its handle waits for nothing, and ends nothing.
fn forked_child_ends_with_its_main() -> Result {
    let session = unidist::init()?;
    let counter = Counter::remote(1);
    assert_eq!(get(counter.add.remote(1))?, 2);
    match fork() {
        None => {
            drop((counter, session));
            std::process::exit(0)
        }
        Some(child) => assert!(ended_well(child)),
    }
    assert_eq!(get((counter.add.remote(1), square.remote(3)))?, (3, 9));
    drop(session);
    Ok(())
}

/// A fork at any moment: whatever locks other threads hold, the child does not wait for them.
fn forks_while_threads_call() -> Result {
    let done = AtomicBool::new(false);
    let object = put(1)?;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let squares: Vec<_> = (0..100).map(|x| square.remote(x)).collect();
                    get(squares).unwrap();
                }
            });
        }
        let children = (0..50).filter_map(|_| match fork() {
            Some(child) => Some(ended_well(child)),
            None => {
                drop(object.clone());
                let is_error = get(square.remote(2)).is_err() && put(1).is_err() && get(&object).is_err();
                std::process::exit(i32::from(!is_error))
            }
        });
        let is_well: Vec<_> = children.collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(is_well, [true; 50]);
    });
    Ok(())
}

/// Whether this backend can start sessions in forked children: MPI cannot be initialised twice.
fn can_start_sessions() -> bool {
    std::env::var("UNIDIST_BACKEND").unwrap() != MPI
}

fn works() -> bool {
    let session = unidist::init().unwrap();
    let counter = Counter::remote(1);
    let results = get((square.remote(3), counter.add.remote(1))).unwrap();
    drop(session);
    results == (9, 2)
}

/// A child that was forked before `init`, such as a daemon, has a session like any program.
fn session_of_a_forked_child() -> Result {
    assert!(!can_start_sessions() || in_forked_child(works));
    Ok(())
}

/// So has a child that was forked after the end of a session, and the program afterwards.
fn session_after_an_ended_one() -> Result {
    if can_start_sessions() {
        assert!(works());
        assert!(in_forked_child(|| works() && works()));
        assert!(works());
    }
    Ok(())
}
