//! `UNIDIST_*`, in the environment and in code.

use crate::case::{Case, Result, cases};
use crate::support::square;
use unidist::config::{Backend, ConfigError, CpuCount, Source};
use unidist::prelude::*;
use unidist::{Error, init, num_cpus};

pub(super) const CASES: &[Case] = cases!["configuration":
    variable_is_read.not_spmd().bare().settings(&[("UNIDIST_CPUS", "3")]),
    code_wins_over_the_environment.not_spmd().bare(), put_after_init_is_an_error.not_spmd(),
    put_works_again_after_shutdown.not_spmd().bare(),
    invalid_value_is_an_error.bare().settings(&[("UNIDIST_CPUS", "many")]),
    invalid_backend_is_an_error.bare().settings(&[("UNIDIST_BACKEND", "abacus")]),
    invalid_resources_are_an_error.bare().settings(&[("UNIDIST_RESOURCES", "gpu=lots")]),
    one_cpu_is_enough.settings(&[("UNIDIST_CPUS", "1")]),
    many_cpus.not_spmd().settings(&[("UNIDIST_CPUS", "8")]),
];

/// A setting is read from the environment variable, with its source.
fn variable_is_read() -> Result {
    assert_eq!((CpuCount::get()?.get(), CpuCount::source()), (3, Source::Environment));
    let session = init()?;
    assert_eq!(num_cpus()?, 3);
    drop(session);
    Ok(())
}

/// `put` in code before `init` wins.
fn code_wins_over_the_environment() -> Result {
    CpuCount::put(4)?;
    assert_eq!(CpuCount::source(), Source::Code);
    let session = init()?;
    assert_eq!(num_cpus()?, 4);
    drop(session);
    Ok(())
}

/// A `put` after `init` is an error, not a silent no-op.
fn put_after_init_is_an_error() -> Result {
    let error = CpuCount::put(7).unwrap_err();
    assert!(matches!(&error, ConfigError::AfterInit { variable } if variable == "UNIDIST_CPUS"), "{error}");
    assert_eq!(num_cpus()?, 2);
    Ok(())
}

/// Settings can be changed between two sessions.
fn put_works_again_after_shutdown() -> Result {
    for cpus in [1, 3] {
        CpuCount::put(cpus)?;
        let session = init()?;
        assert_eq!(num_cpus()?, cpus);
        drop(session);
    }
    Ok(())
}

fn names(result: unidist::Result<unidist::Session>, parts: &[&str]) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    let text = error.to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{text} does not name {parts:?}");
    assert!(!unidist::is_initialized());
}

/// An invalid value is an error that names the variable, the value and the allowed values.
fn invalid_value_is_an_error() -> Result {
    names(init(), &["UNIDIST_CPUS", "many", "integer"]);
    CpuCount::put(1)?;
    init().map(drop)
}

/// The same for the backend.
fn invalid_backend_is_an_error() -> Result {
    names(init(), &["UNIDIST_BACKEND", "abacus", "pyseq"]);
    assert!(Backend::get().is_err());
    Ok(())
}

/// The same for the declared resources.
fn invalid_resources_are_an_error() -> Result {
    names(init(), &["UNIDIST_RESOURCES", "gpu=lots"]);
    Ok(())
}

/// One CPU runs everything: nested tasks, blocked tasks, actors.
fn one_cpu_is_enough() -> Result {
    let nested = |n: i64| get(square.remote(n)).unwrap();
    assert_eq!(get((0..10).map(|n| nested.remote(n)).collect::<Vec<_>>())?.len(), 10);
    let signal = crate::support::Signal::remote();
    let blocked = [crate::support::blocked_on.remote(&signal), crate::support::blocked_on.remote(&signal)];
    get(signal.waiting.remote(2_usize))?;
    get(signal.open.remote())?;
    get(blocked).map(drop)
}

/// More CPUs than the machine has are allowed.
fn many_cpus() -> Result {
    assert_eq!(num_cpus()?, 8);
    assert_eq!(get((0..50).map(|n| square.remote(n)).collect::<Vec<_>>())?.len(), 50);
    Ok(())
}
