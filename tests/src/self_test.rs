//! Tests of the suite itself: cases that break its rules must fail.

use crate::case::{Case, PYSEQ, Result, cases};
use crate::environment::Environment;
use crate::runner::{self, BACKENDS, Limits};
use libtest_mimic::{Failed, Trial};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The cases that must fail; they are not part of any backend's list.
pub(crate) const CASES: &[Case] = cases!["self_test":
    panics, returns_an_error, hangs, keeps_an_object, keeps_the_session, leaves_a_process,
    leaves_shared_memory, leaves_shared_memory_on_another_host, exits_early.bare(),
];

/// The text that the failure of each case must contain.
const EXPECTED: &[&str] = &[
    "the panic of the case",
    "the error of the case",
    "had not ended after 2 s",
    "1 objects are left",
    "the session has not ended",
    "these processes have not",
    "left shared memory behind",
    "left shared memory behind",
    "exit status: 3",
];

/// One trial per case.
pub(crate) fn trials() -> Vec<Trial> {
    assert_eq!(CASES.len(), EXPECTED.len(), "one expected text per case");
    let rules = CASES.iter().zip(EXPECTED);
    let rules = rules.map(|(case, expected)| {
        Trial::test(format!("{}_is_noticed", case.path()), || notices(case, expected))
    });
    rules.chain([Trial::test("self_test::filter_that_selects_nothing_fails", filters)]).collect()
}

/// A filter that no case matches is an error where a backend is named. A list may be empty, and so may the part of the
/// suite in `cargo test NAME`, which runs all test binaries.
fn filters() -> std::result::Result<(), Failed> {
    let suite = |arguments: &[&str]| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).env(BACKENDS, "pyseq").output()
    };
    let outcomes = [
        (suite(&["no_such_case"])?, Some("no case matches `no_such_case`")),
        (suite(&["pyseq::tasks", "--exact"])?, Some("no case matches `pyseq::tasks`")),
        (suite(&["no_such_case", "--list"])?, None),
        (suite(&["--list"])?, None),
    ];
    for (output, expected) in outcomes {
        let said = String::from_utf8_lossy(&output.stderr);
        match expected {
            Some(error) if !output.status.success() && said.contains(error) => {}
            None if output.status.success() && said.is_empty() => {}
            _ => return Err(format!("{}, expected {expected:?}: {said}", output.status).into()),
        }
    }
    Ok(())
}

fn notices(case: &Case, expected: &str) -> std::result::Result<(), Failed> {
    // Only the case that hangs should reach its limit; the others may be slow on a busy machine.
    let seconds = if case.name == "hangs" { 2 } else { 60 };
    let limits = Limits { run: Duration::from_secs(seconds), grace: Duration::from_secs(1) };
    let mut environment = Environment::here();
    if case.name == "leaves_shared_memory_on_another_host" {
        std::fs::create_dir_all(another_host())?;
        environment.shared_memory.push(another_host());
    }
    let outcome = runner::run(PYSEQ, &[*case], limits, &environment);
    match case.name {
        "leaves_shared_memory" => drop(std::fs::remove_file(LEFT_IN_MEMORY)),
        "leaves_shared_memory_on_another_host" => drop(std::fs::remove_dir_all(another_host())),
        _ => {}
    }
    match outcome {
        Ok(()) => Err("it passed".into()),
        Err(failed) => match failed.message() {
            Some(message) if message.contains(expected) => Ok(()),
            message => Err(format!("the failure does not contain {expected:?}: {message:?}").into()),
        },
    }
}

const LEFT_IN_MEMORY: &str = "/dev/shm/unidist-self-test";

/// A folder in place of another host's shared memory.
fn another_host() -> PathBuf {
    std::env::temp_dir().join("unidist-self-test-host")
}

fn panics() -> Result {
    panic!("the panic of the case");
}

fn returns_an_error() -> Result {
    Err(unidist::TaskError::new(unidist::ErrorKind::Failed, "the error of the case").into())
}

fn hangs() -> Result {
    loop {
        std::thread::park();
    }
}

fn keeps_an_object() -> Result {
    std::mem::forget(unidist::put(1)?);
    Ok(())
}

fn keeps_the_session() -> Result {
    std::mem::forget(unidist::init()?);
    Ok(())
}

fn leaves_a_process() -> Result {
    // In its own process group, so that only the mark identifies it.
    let child = Command::new("sleep").arg("600").process_group(0).spawn();
    child.map(drop).map_err(|error| unidist::Error::system("sleep", error))
}

fn leaves_shared_memory() -> Result {
    std::fs::write(LEFT_IN_MEMORY, "").map_err(|error| unidist::Error::system(LEFT_IN_MEMORY, error))
}

fn leaves_shared_memory_on_another_host() -> Result {
    let path = another_host().join("unidist-self-test");
    std::fs::write(&path, "").map_err(|error| unidist::Error::system("shared memory of another host", error))
}

fn exits_early() -> Result {
    std::process::exit(3);
}
