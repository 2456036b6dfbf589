//! The trials: a trial is a case on a backend, in its own process. If starting a process is slow, it is all cases of a
//! group that can share a session.

use crate::case::{self, Case};
use crate::environment::{self, Environment};
use crate::{cases, process, program, self_test};
use libtest_mimic::{Arguments, Failed, Trial};
use std::fmt::Write;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The cases that a process runs, separated by commas.
pub(crate) const CASE: &str = "UNIDIST_CONFORMANCE_CASE";
/// Marks the processes of one trial.
pub(crate) const MARK: &str = "UNIDIST_CONFORMANCE_TRIAL";
/// The time limit of a trial in seconds, and how long its processes and memory may take to disappear afterwards.
const TIMEOUT: &str = "UNIDIST_CONFORMANCE_TIMEOUT";
const GRACE: &str = "UNIDIST_CONFORMANCE_GRACE";
/// The backends to test, separated by commas.
pub(crate) const BACKENDS: &str = "UNIDIST_CONFORMANCE_BACKENDS";

/// The time limits of a trial.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) run: Duration,
    pub(crate) grace: Duration,
}

impl Limits {
    /// The limits given by variables.
    pub(crate) fn from_variables() -> Self {
        let seconds = |variable, default| {
            let seconds = std::env::var(variable).ok().and_then(|seconds| seconds.parse().ok());
            Duration::from_secs(seconds.unwrap_or(default))
        };
        Limits { run: seconds(TIMEOUT, 60), grace: seconds(GRACE, 15) }
    }
}

/// Runs the suite, or the given cases in a process that the suite has started.
pub fn main() -> ExitCode {
    if let Ok(paths) = std::env::var(CASE) {
        let cases = paths.split(',').map(|path| find(path).ok_or(path)).collect::<Result<Vec<_>, _>>();
        return match cases {
            Ok(cases) => program::run(&cases),
            Err(path) => {
                eprintln!("there is no case `{path}`");
                ExitCode::FAILURE
            }
        };
    }
    let arguments = Arguments::from_args();
    let given = std::env::var(BACKENDS).ok();
    let environment = Environment::from_variables();
    let backends = match backends(given.as_deref(), environment.has_launcher()) {
        Ok(backends) => backends,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    // The suite's self-tests do not depend on the backend.
    let mut trials = if given.is_none() { self_test::trials() } else { Vec::new() };
    for backend in backends {
        for group in cases::ALL {
            let cases: Vec<_> =
                group.iter().filter(|case| case.applies_to(backend, &environment)).copied().collect();
            trials.extend(trials_of(backend, cases, &environment));
        }
    }
    let count = trials.len();
    let conclusion = libtest_mimic::run(&arguments, trials);
    match &arguments.filter {
        // A list may be empty: test runners list with a filter, too. So may a run for no certain backend: `cargo test NAME`
        // runs all test binaries with the filter.
        Some(filter) if given.is_some() && !arguments.list && conclusion.num_filtered_out == count as u64 => {
            eprintln!("{}", nothing_selected(filter, given.as_deref()));
            ExitCode::FAILURE
        }
        _ => conclusion.exit_code(),
    }
}

/// The error of a filter that no case matches.
fn nothing_selected(filter: &str, backends: Option<&str>) -> String {
    let where_ = backends.map(|backends| format!(" on {backends} ({BACKENDS})")).unwrap_or_default();
    format!(
        "no case matches `{filter}`{where_}: `--list` shows all cases; for a test of another crate, name the crate \
         (`cargo test -p CRATE {filter}`)"
    )
}

/// The backends to test: those requested, or, with a launcher, those that need one.
fn backends(given: Option<&str>, launcher: bool) -> Result<Vec<&'static str>, String> {
    let Some(names) = given else {
        let needy = launcher && !case::ON_DEMAND.is_empty();
        return Ok(if needy { case::ON_DEMAND } else { case::DEFAULT }.to_vec());
    };
    let built = || case::DEFAULT.iter().chain(case::ON_DEMAND).copied();
    let find = |name: &str| built().find(|backend| *backend == name);
    let found = names
        .split(',')
        .map(|name| find(name).ok_or(format!("{BACKENDS}: this build has no backend `{name}`")));
    found.collect()
}

fn find(path: &str) -> Option<Case> {
    let mut cases = cases::ALL.iter().chain(cases::HIDDEN).chain([&self_test::CASES]).copied().flatten();
    cases.find(|case| case.path() == path).copied()
}

/// The trials for some cases of a group.
fn trials_of(backend: &'static str, cases: Vec<Case>, environment: &Environment) -> Vec<Trial> {
    let (series, single): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|case| environment.has_series() && case.can_share_session());
    let mut trials: Vec<_> = single.into_iter().map(|case| trial(backend, case.path(), vec![case])).collect();
    if let Some(first) = series.first() {
        let name = format!("{}::({} in one session)", first.group, series.len());
        trials.push(trial(backend, name, series));
    }
    trials
}

fn trial(backend: &'static str, name: String, cases: Vec<Case>) -> Trial {
    let ignored = cases.iter().find_map(|case| case.ignored);
    let trial = Trial::test(format!("{backend}::{name}"), move || {
        run(backend, &cases, Limits::from_variables(), &Environment::from_variables())
    });
    match ignored {
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
        None => trial,
    }
}

/// Runs a case on a backend, or several in one session.
pub(crate) fn run(
    backend: &str,
    cases: &[Case],
    limits: Limits,
    environment: &Environment,
) -> Result<(), Failed> {
    let mut command = environment.program()?;
    let mark = command_for(&mut command, backend, cases);
    command.env(GRACE, limits.grace.as_secs().to_string());
    let shared_memory = environment.entries();
    let limit = limits.run * cases.len().max(1) as u32;
    let ended = process::run(&mut command, limit)?;
    let mut failure = match ended.status {
        Some(status) if status.success() => String::new(),
        Some(status) => format!("{status}\n"),
        None => format!("it had not ended after {} s and was killed\n", limit.as_secs()),
    };
    // A killed controller does not wait for its workers.
    let left = || process::with_environment(MARK, &mark);
    if !process::eventually(limits.grace, || left().is_empty()) {
        let left = left();
        let _ = writeln!(failure, "it left processes behind: {left:?}");
        left.into_iter().for_each(kill);
    }
    let new = || {
        let now = environment.entries();
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

/// Prepares a command that runs the cases. Returns the mark of its processes.
pub(crate) fn command_for(command: &mut Command, backend: &str, cases: &[Case]) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("UNIDIST_") && !environment::OF_CASES.contains(&&*name) {
            command.env_remove(variable);
        }
    }
    command
        .env(CASE, cases.iter().map(Case::path).collect::<Vec<_>>().join(","))
        .env(MARK, &mark)
        .env("UNIDIST_BACKEND", backend)
        .env("UNIDIST_CPUS", "2")
        .envs(cases.iter().flat_map(|case| case.settings.iter().copied()));
    mark
}

fn kill(process: u32) {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(process) = process {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}
