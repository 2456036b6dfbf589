//! The trials: each a case on a backend, in a process of its own.

use crate::case::{self, Case};
use crate::place::{self, Place};
use crate::{cases, process, program, self_test};
use libtest_mimic::{Arguments, Failed, Trial};
use std::fmt::Write;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Names the case that a process is to run.
pub(crate) const CASE: &str = "UNIDIST_CONFORMANCE_CASE";
/// Marks the processes of one trial.
pub(crate) const MARK: &str = "UNIDIST_CONFORMANCE_TRIAL";
/// How long a trial may take, in seconds, and what it gave up may then take to be gone.
const TIMEOUT: &str = "UNIDIST_CONFORMANCE_TIMEOUT";
const GRACE: &str = "UNIDIST_CONFORMANCE_GRACE";
/// The backends that trials are made for, separated by commas.
const BACKENDS: &str = "UNIDIST_CONFORMANCE_BACKENDS";

/// The bounds of a trial.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) run: Duration,
    pub(crate) grace: Duration,
}

impl Limits {
    /// Those that the environment gives.
    pub(crate) fn given() -> Self {
        let seconds = |variable, default| {
            let seconds = std::env::var(variable).ok().and_then(|seconds| seconds.parse().ok());
            Duration::from_secs(seconds.unwrap_or(default))
        };
        Limits { run: seconds(TIMEOUT, 60), grace: seconds(GRACE, 15) }
    }
}

/// Runs the suite, or, in a process started for it, one case.
pub fn main() -> ExitCode {
    if let Ok(path) = std::env::var(CASE) {
        return match find(&path) {
            Some(case) => program::run(&case),
            None => {
                eprintln!("there is no case {path}");
                ExitCode::FAILURE
            }
        };
    }
    let arguments = Arguments::from_args();
    let given = std::env::var(BACKENDS).ok();
    let place = Place::given();
    let backends = match backends(given.as_deref(), place.has_launcher()) {
        Ok(backends) => backends,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    // The suite's own tests are the same wherever the backends run.
    let mut trials = if given.is_none() { self_test::trials() } else { Vec::new() };
    for backend in backends {
        let cases = cases::ALL.iter().copied().flatten();
        trials.extend(cases.filter(|case| case.concerns(backend, &place)).map(|case| trial(backend, *case)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The backends to make trials for: those that are asked for, or, where there is a launcher, those that need one.
fn backends(given: Option<&str>, launcher: bool) -> Result<Vec<&'static str>, String> {
    let Some(names) = given else {
        let needy = launcher && !case::ON_DEMAND.is_empty();
        return Ok(if needy { case::ON_DEMAND } else { case::DEFAULT }.to_vec());
    };
    let built = || case::DEFAULT.iter().chain(case::ON_DEMAND).copied();
    let find = |name: &str| built().find(|backend| *backend == name);
    let found = names.split(',').map(|name| find(name).ok_or(format!("{BACKENDS}: no {name} in this build")));
    found.collect()
}

fn find(path: &str) -> Option<Case> {
    let mut cases = cases::ALL.iter().chain(cases::HIDDEN).chain([&self_test::CASES]).copied().flatten();
    cases.find(|case| case.path() == path).copied()
}

fn trial(backend: &'static str, case: Case) -> Trial {
    Trial::test(format!("{backend}::{}", case.path()), move || {
        run(backend, &case, Limits::given(), &Place::given())
    })
}

/// Runs a case on a backend.
pub(crate) fn run(backend: &str, case: &Case, limits: Limits, place: &Place) -> Result<(), Failed> {
    let mut command = place.program()?;
    let mark = command_for(&mut command, backend, case);
    command.env(GRACE, limits.grace.as_secs().to_string());
    let shared_memory = place.entries();
    let ended = process::run(&mut command, limits.run)?;
    let mut failure = match ended.status {
        Some(status) if status.success() => String::new(),
        Some(status) => format!("{status}\n"),
        None => format!("it had not ended after {} s and was killed\n", limits.run.as_secs()),
    };
    // A controller that was killed does not wait for its workers.
    let left = || process::with_environment(MARK, &mark);
    if !process::eventually(limits.grace, || left().is_empty()) {
        let left = left();
        let _ = writeln!(failure, "it left processes behind: {left:?}");
        left.into_iter().for_each(kill);
    }
    let new = || {
        let now = place.entries();
        now.into_iter().filter(|path| !shared_memory.contains(path)).collect::<Vec<_>>()
    };
    if !process::eventually(limits.grace, || new().is_empty()) {
        let _ = writeln!(failure, "it left shared memory behind: {:?}", new());
    }
    match failure.is_empty() {
        true => Ok(()),
        false => Err(format!("{failure}{}", ended.output).into()),
    }
}

/// Prepares a command to run the case; gives the mark of its processes.
pub(crate) fn command_for(command: &mut Command, backend: &str, case: &Case) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        // Where it runs is told to the case too, which may start programs.
        if name.starts_with("UNIDIST_") && ![place::LAUNCHER, place::SHARED_MEMORY].contains(&&*name) {
            command.env_remove(variable);
        }
    }
    command
        .env(CASE, case.path())
        .env(MARK, &mark)
        .env("UNIDIST_BACKEND", backend)
        .env("UNIDIST_CPUS", "2")
        .envs(case.settings.iter().copied());
    mark
}

fn kill(process: u32) {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(process) = process {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}
