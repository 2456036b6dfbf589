//! The start and the end of a session.

use crate::case::{Case, PYMP, Result, cases};
use crate::process::{eventually, is_alive};
use crate::support::{BOUND, Counter, Signal, kind, process, square};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use unidist::prelude::*;
use unidist::{Error, ErrorKind, closure, init, is_initialized, map, shutdown};

pub(super) const CASES: &[Case] = cases!["lifecycle":
    init_starts_and_drop_ends.bare(), second_init_shares_the_session.bare(),
    last_handle_ends_the_session.bare(), shutdown_ends_the_session.bare(), init_works_again.not_spmd().bare(),
    calls_before_init_are_errors.bare(), calls_do_not_start_a_session.bare(),
    calls_after_shutdown_are_errors.bare(), refs_of_an_ended_session.not_spmd().bare(),
    refs_dropped_after_the_end.not_spmd().bare(), handles_dropped_after_the_end.not_spmd().bare(),
    old_handle_does_not_end_a_new_session.not_spmd().bare(), shutdown_without_a_session.bare(),
    init_from_several_threads.not_spmd().bare(), new_session_is_empty.not_spmd().bare(),
    views_outlive_the_session.bare(), session_ends_despite_refs.bare(), session_ends_when_main_panics.bare(),
    backend_is_the_configured_one, workers_do_not_run_main.only(PYMP),
    shutdown_ends_all_processes.bare().only(PYMP), shutdown_waits_for_running_tasks.bare().only(PYMP),
    session_without_calls_ends.bare(),
];

/// `init()` starts a session and returns a handle; its drop ends it.
fn init_starts_and_drop_ends() -> Result {
    assert!(!is_initialized());
    let session = init()?;
    assert!(is_initialized());
    assert_eq!(get(square.remote(2))?, 4);
    drop(session);
    assert!(!is_initialized());
    Ok(())
}

/// A second `init` returns another handle to the same session.
fn second_init_shares_the_session() -> Result {
    let first = init()?;
    let reference = put(5)?;
    let second = init()?;
    assert_eq!(get(&reference)?, 5);
    drop(first);
    assert_eq!(get(reference)?, 5);
    drop(second);
    Ok(())
}

/// The drop of the last handle ends the session, in any order of drops.
fn last_handle_ends_the_session() -> Result {
    let mut handles = [init()?, init()?, init()?].into_iter();
    handles.next_back();
    assert!(is_initialized());
    handles.next();
    assert!(is_initialized());
    assert_eq!(get(square.remote(3))?, 9);
    handles.next();
    assert!(!is_initialized());
    Ok(())
}

/// `shutdown()` ends the session, even if handles exist.
fn shutdown_ends_the_session() -> Result {
    let session = init()?;
    shutdown()?;
    assert!(!is_initialized());
    drop(session);
    Ok(())
}

/// `init()` works again afterwards.
fn init_works_again() -> Result {
    for round in 0..3 {
        let session = init()?;
        let counter = Counter::remote(round);
        assert_eq!(get((square.remote(round), counter.add.remote(1)))?, (round * round, round + 1));
        match round {
            1 => shutdown()?,
            _ => drop(session),
        }
        assert!(!is_initialized());
    }
    Ok(())
}

fn is_not_initialized<T>(result: unidist::Result<T>, call: &str) {
    match result.err() {
        Some(Error::NotInitialized { call: named }) => {
            assert!(named.contains(call), "{named} does not name {call}");
        }
        Some(Error::Task(error)) if error.root_cause().kind == ErrorKind::NotInitialized => {
            assert!(error.to_string().contains(call), "{error} does not name {call}");
        }
        other => panic!("{call}: {other:?}"),
    }
}

/// Every call before `init` gives `NotInitialized`, naming the call and the fix.
fn calls_before_init_are_errors() -> Result {
    is_not_initialized(put(1), "put");
    is_not_initialized(unidist::put_ref(&1), "put");
    is_not_initialized(put_slice(&[1.0]), "put_slice");
    is_not_initialized(SharedSlice::build(1, |_: &mut [u8]| ()), "SharedSlice::build");
    is_not_initialized(unidist::get_ip(), "get_ip");
    is_not_initialized(unidist::num_cpus(), "num_cpus");
    is_not_initialized(unidist::cluster_resources(), "cluster_resources");
    is_not_initialized(get(square.remote(1)), "remote");
    is_not_initialized(get(square.options().num_cpus(1).remote(1)), "remote");
    is_not_initialized(get((|x: u8| x).remote(1)), "remote");
    is_not_initialized(get(map(square, 0..2)), "remote");
    let k = 1;
    is_not_initialized(get(closure!([k] || k).remote()), "remote");
    let counter = Counter::remote(1);
    is_not_initialized(get(counter.add.remote(1)), "remote");
    is_not_initialized(get(square.remote(square.remote(1))), "remote");
    let text = put(1).unwrap_err().to_string();
    assert!(text.contains("unidist::init()"), "{text} does not name the fix");
    // A call that cannot be submitted is ready at once.
    assert_eq!(wait(square.remote(1), 1, None)?.ready.len(), 1);
    Ok(())
}

/// `put` and `remote` do not start a backend implicitly.
fn calls_do_not_start_a_session() -> Result {
    let failed = (put(1).err(), square.remote(1), Counter::remote(1), unidist::num_cpus().err());
    assert!(!is_initialized());
    let session = init()?;
    is_not_initialized(get(&failed.1), "remote"); // a ref does not come to life later
    drop((failed, session));
    Ok(())
}

fn has_ended<T>(result: unidist::Result<T>) {
    match result.err() {
        Some(Error::NotInitialized { .. } | Error::SessionEnded { .. }) => {}
        Some(error) if matches!(kind(&error), ErrorKind::SessionEnded | ErrorKind::NotInitialized) => {}
        Some(error) if error.to_string().contains("a session that has ended") => {} // an argument's
        other => panic!("{other:?}"),
    }
}

/// After `shutdown` every call is an error again.
fn calls_after_shutdown_are_errors() -> Result {
    let session = init()?;
    let counter = Counter::remote(1);
    shutdown()?;
    has_ended(put(1));
    has_ended(unidist::num_cpus());
    has_ended(get(square.remote(1)));
    has_ended(get(counter.add.remote(1)));
    drop(session);
    Ok(())
}

/// `get` and `wait` of a ref whose session has ended are errors, also within a new session.
fn refs_of_an_ended_session() -> Result {
    let session = init()?;
    let (stored, computed, counter) = (put(1)?, square.remote(2), Counter::remote(1));
    get(&computed)?;
    drop(session);
    has_ended(get(&stored));
    has_ended(get(&computed));
    let error = get(&stored).unwrap_err().to_string();
    assert!(error.contains("shut down"), "{error}");
    let session = init()?;
    let fresh = put(100)?;
    has_ended(get(&stored));
    has_ended(wait([&stored, &computed].map(Clone::clone), 2, None).and_then(|waited| get(waited.ready)));
    has_ended(get(square.remote(&stored)));
    has_ended(get(counter.add.remote(1)));
    assert_eq!(get(fresh)?, 100);
    drop(session);
    Ok(())
}

/// Refs dropped after the session's end are harmless.
fn refs_dropped_after_the_end() -> Result {
    let session = init()?;
    let refs = (put(vec![put(1)?])?, square.remote(3), put_slice(&[1.0; 1000])?);
    drop(session);
    drop(refs.0.clone());
    drop(refs);
    let session = init()?;
    assert_eq!(unidist::live_objects()?, 0);
    drop(session);
    Ok(())
}

/// The same for handles, also those dropped during the next session.
fn handles_dropped_after_the_end() -> Result {
    let session = init()?;
    let old = [Counter::remote(1), Counter::remote(2)];
    drop(session);
    let session = init()?;
    let new = Counter::remote(3);
    drop(old);
    assert_eq!(get(new.value.remote())?, 3);
    drop(session);
    drop(new);
    Ok(())
}

/// A handle that outlived its session does not end the next one.
fn old_handle_does_not_end_a_new_session() -> Result {
    let old = init()?;
    shutdown()?;
    let new = init()?;
    drop(old);
    assert!(is_initialized());
    assert_eq!(get(square.remote(2))?, 4);
    drop(new);
    Ok(())
}

/// Without a session `shutdown` does nothing.
fn shutdown_without_a_session() -> Result {
    shutdown()?;
    let session = init()?;
    shutdown()?;
    shutdown()?;
    drop(session);
    shutdown()
}

/// Threads that call `init` at the same time share one session.
fn init_from_several_threads() -> Result {
    let threads: Vec<_> = (0..4_i64)
        .map(|n| {
            std::thread::spawn(move || {
                let session = init().unwrap();
                assert_eq!(get(square.remote(n)).unwrap(), n * n);
                session
            })
        })
        .collect();
    let handles: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(unidist::num_cpus()?, 2);
    drop(handles);
    assert!(!is_initialized());
    Ok(())
}

/// A new session contains nothing of an earlier one.
fn new_session_is_empty() -> Result {
    for _ in 0..2 {
        let session = init()?;
        assert_eq!(unidist::live_objects()?, 0);
        std::mem::forget(put(1)?);
        drop(session);
    }
    Ok(())
}

/// Fetched values belong to the program, including their memory.
fn views_outlive_the_session() -> Result {
    let session = init()?;
    let view = get(put_slice(&vec![2.0; 1 << 17])?)?;
    drop(session);
    assert!(view.iter().all(|x| *x == 2.0));
    Ok(())
}

/// The end of the session does not wait for refs to be dropped.
fn session_ends_despite_refs() -> Result {
    let session = init()?;
    let signal = Signal::remote();
    let count = |(): ()| 1;
    let held = (signal.wait.remote(), count.remote(signal.waiting.remote(5_usize)), signal);
    drop(session);
    drop(held);
    Ok(())
}

/// A panic of the program drops the handle and ends the session.
fn session_ends_when_main_panics() -> Result {
    let unwound = std::panic::catch_unwind(|| {
        let _session = init().unwrap();
        let _counter = Counter::remote(1);
        panic!("the program's own");
    });
    assert!(unwound.is_err() && !is_initialized());
    Ok(())
}

/// The same program runs unchanged on every backend; only `UNIDIST_BACKEND` differs.
fn backend_is_the_configured_one() -> Result {
    let chosen = std::env::var("UNIDIST_BACKEND").unwrap();
    assert_eq!(unidist::config::Backend::get()?.as_str(), chosen);
    assert_eq!(get(process.remote())? == std::process::id(), chosen == "pyseq");
    Ok(())
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("unidist-tests-{}-{name}", std::process::id()))
}

/// A process that was started as a worker never runs the user's `main`: this would be a fork bomb.
fn workers_do_not_run_main() -> Result {
    // The parent's number is the same in all processes of this case, were there more.
    let log = std::env::temp_dir()
        .join(format!("unidist-tests-{}-main", std::env::var(crate::runner::MARK).unwrap()));
    let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
    writeln!(file, "{}", std::process::id()).unwrap();
    let counters = [Counter::remote(1), Counter::remote(2)];
    get(counters.each_ref().map(|counter| counter.value.remote()))?;
    get((0..20).map(|_| process.remote()).collect::<Vec<_>>())?;
    let lines = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(log).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    Ok(())
}

/// The end of a session ends all its processes: none exists when it returns.
fn shutdown_ends_all_processes() -> Result {
    let session = init()?;
    let counters = [Counter::remote(1), Counter::remote(2), Counter::remote(3)];
    let mut processes = get(counters.each_ref().map(|counter| counter.process.remote()))?;
    processes.extend(get((0..10).map(|_| process.remote()).collect::<Vec<_>>())?);
    assert!(processes.iter().all(|process| is_alive(*process)));
    drop(session);
    let alive: Vec<_> = processes.into_iter().filter(|process| is_alive(*process)).collect();
    assert!(alive.is_empty(), "{alive:?}");
    Ok(())
}

/// `shutdown()` waits for running tasks.
fn shutdown_waits_for_running_tasks() -> Result {
    let folder = scratch("running");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.to_str().unwrap().to_owned();
    let runs = |folder: String| {
        std::fs::write(format!("{folder}/begun"), "").unwrap();
        assert!(eventually(BOUND, || std::fs::exists(format!("{folder}/go")).unwrap()));
        std::fs::write(format!("{folder}/done"), "").unwrap();
    };
    let session = init()?;
    let reference = runs.remote(path);
    assert!(eventually(BOUND, || std::fs::exists(folder.join("begun")).unwrap()));
    let ends = std::thread::spawn(move || drop(session));
    std::fs::write(folder.join("go"), "").unwrap();
    ends.join().unwrap();
    assert!(std::fs::exists(folder.join("done")).unwrap());
    std::fs::remove_dir_all(folder).unwrap();
    drop(reference);
    Ok(())
}

/// A session without any call ends, too.
fn session_without_calls_ends() -> Result {
    init().map(drop)
}
