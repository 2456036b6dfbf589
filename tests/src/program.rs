//! One case, in the process that was started for it; or several that share its session.

use crate::case::{Case, Result};
use crate::place::Place;
use crate::process;
use crate::runner::{Limits, MARK};
use std::process::ExitCode;
use std::time::Duration;

/// Runs cases and looks at what they left.
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
    if Place::given().has_launcher() {
        return ExitCode::SUCCESS; // its processes are there until this one has ended: the runner looks then
    }
    let mark = std::env::var(MARK).unwrap_or_default();
    let left = || process::with_environment(MARK, &mark);
    // A session that was shut down has ended its processes; those of a program that died see its end a moment later.
    let grace = if is_bare { Limits::given().grace } else { Duration::ZERO };
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
            eprintln!("case {}", case.path()); // seen if it fails
        }
        (case.run)()?;
        assert_nothing_is_live();
    }
    drop(session);
    Ok(())
}

/// All refs are gone, so all objects must be: as soon as the calls still running have ended.
pub(crate) fn assert_nothing_is_live() {
    let is_empty = process::eventually(Limits::given().grace, || unidist::live_objects().unwrap() == 0);
    assert!(is_empty, "{} objects are left, though nobody refers to them", unidist::live_objects().unwrap());
    let usage = || unidist::store_usage().unwrap();
    let is_free = process::eventually(Limits::given().grace, || (usage().used, usage().spilled) == (0, 0));
    assert!(is_free, "memory of the store is left in use: {:?}", usage());
}
