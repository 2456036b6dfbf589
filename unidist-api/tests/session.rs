//! The life cycle of a session.

use std::sync::atomic::{AtomicBool, Ordering};
use unidist::config::{Backend, CpuCount};
use unidist::prelude::*;
use unidist::{Error, closure};

// One test for this process: sessions are process-wide.
#[test]
fn session_lives_as_long_as_its_handles() {
    assert!(!unidist::is_initialized());
    for error in
        [put(1).unwrap_err(), unidist::num_cpus().unwrap_err(), wait_error(), unidist::get_ip().unwrap_err()]
    {
        assert!(matches!(error, Error::NotInitialized { .. }), "{error}");
    }
    unidist::shutdown().unwrap(); // no session: no effect

    CpuCount::put(2).unwrap();
    let first = unidist::init().unwrap();
    let second = unidist::init().unwrap();
    drop(first);
    assert!(unidist::is_initialized());
    assert_eq!(unidist::num_cpus(), Ok(2));
    assert_eq!(unidist::cluster_resources().unwrap()[&unidist::get_ip().unwrap()]["CPU"], 2.0);
    assert!(
        CpuCount::put(3).is_err() && Backend::put(Backend::get().unwrap()).is_err(),
        "the session has begun"
    );
    let stale = put(1i64).unwrap();
    drop(second);
    assert!(!unidist::is_initialized());
    assert!(get(&stale).is_err());

    CpuCount::put(1).unwrap();
    let again = unidist::init().unwrap();
    assert_eq!(unidist::num_cpus(), Ok(1));
    assert!(get((|x: i64| x).remote(&stale)).is_err(), "the object was freed with its session");
    drop(stale);
    unidist::shutdown().unwrap();
    assert!(!unidist::is_initialized());
    let third = unidist::init().unwrap();
    drop(again); // a handle of an ended session: no effect
    assert!(unidist::is_initialized());
    assert_eq!(get((|| unidist::is_initialized()).remote()), Ok(true));
    assert_eq!(get((|| unidist::init().is_ok()).remote()), Ok(true));
    assert!(unidist::is_initialized(), "a handle in a task does not end the session");
    drop(third);

    init_and_call_from_many_threads();
}

// Runs in a child process that has an invalid setting.
#[test]
fn failed_init_leaves_the_settings_changeable() {
    if std::env::var_os("UNIDIST_CPUS").is_none_or(|value| value != "none") {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "failed_init_leaves_the_settings_changeable", "--nocapture"]);
        let status = child.env("UNIDIST_CPUS", "none").status().unwrap();
        assert!(status.success(), "{status}");
        return;
    }
    let error = unidist::init().unwrap_err();
    assert!(error.to_string().contains("UNIDIST_CPUS"), "{error}");
    assert!(!unidist::is_initialized());
    CpuCount::put(1).unwrap();
    let _session = unidist::init().unwrap();
    assert_eq!(unidist::num_cpus(), Ok(1));
    assert!(CpuCount::put(2).is_err());
}

fn wait_error() -> Error {
    match get(closure!(|x: i64| x).remote(1)) {
        Err(error) => error,
        Ok(_) => panic!("no session exists"),
    }
}

fn init_and_call_from_many_threads() {
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..3 {
                    let session = unidist::init();
                    let value = get((|x: i64| x + 1).remote(n));
                    if session.is_err() || value != Ok(n + 1) {
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(!failed.into_inner());
    assert!(!unidist::is_initialized());
}
