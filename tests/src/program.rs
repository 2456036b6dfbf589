//! Runs one case in its own process, or several that share a session.

use crate::case::{Case, Result};
use crate::environment::Environment;
use crate::process;
use crate::runner::{Limits, MARK};
use std::process::ExitCode;
use std::time::Duration;

/// Runs cases and checks that they leave nothing behind.
pub(crate) fn run(cases: &[Case]) -> ExitCode {
    let is_bare = cases.iter().any(|case| case.is_bare);
    let outcome = match is_bare {
        true => cases.iter().try_for_each(|case| (case.run)()),
        false => in_session(cases),
    };
    if let Err(error) = outcome {
        eprintln!("failed: {error:?}");
        return ExitCode::FAILURE;
    }
    if unidist::is_initialized() {
        eprintln!("the session has not ended");
        return ExitCode::FAILURE;
    }
    if Environment::from_variables().has_launcher() {
        return ExitCode::SUCCESS; // its processes exist until this one has ended: the runner checks them
    }
    let mark = std::env::var(MARK).unwrap_or_default();
    let left = || process::with_environment(MARK, &mark);
    // A shutdown waits for the session's processes; those of a killed program end a moment later.
    let grace = if is_bare { Limits::from_variables().grace } else { Duration::ZERO };
    if !mark.is_empty() && !process::eventually(grace, || left().is_empty()) {
        let left: Vec<_> = left();
        eprintln!("the session has ended, but these processes have not: {left:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn in_session(cases: &[Case]) -> Result {
    let session = unidist::init()?;
    for case in cases {
        if cases.len() > 1 {
            eprintln!("case {}", case.path()); // shown if it fails
        }
        (case.run)()?;
        assert_all_freed();
    }
    drop(session);
    Ok(())
}

/// All refs are dropped, so all objects are freed as soon as the running calls have ended.
pub(crate) fn assert_all_freed() {
    let is_empty =
        process::eventually(Limits::from_variables().grace, || unidist::live_objects().unwrap() == 0);
    assert!(is_empty, "{} objects are left without a ref", unidist::live_objects().unwrap());
    let usage = || unidist::store_usage().unwrap();
    let is_free =
        process::eventually(Limits::from_variables().grace, || (usage().used, usage().spilled) == (0, 0));
    assert!(is_free, "the object store is still in use: {:?}", usage());
}
