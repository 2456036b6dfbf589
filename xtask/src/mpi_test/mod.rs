//! `mpi-test`: runs the tests of the MPI backend with several MPI implementations, on one host and on several.
//!
//! [`configuration`]: the conformance suite with one MPI, mode and number of hosts. [`programs`]: tests that are MPI
//! programs. [`faults`]: killed processes and cut links. [`examples`], [`rank_examples`]: the examples' output with and
//! without MPI. [`report`]: what is printed.

mod configuration;
mod examples;
pub(crate) mod faults;
mod programs;
mod rank_examples;
mod report;

use crate::mpi::{self, Mode, Mpi, Name};
use crate::suite::{GRACE, Suite};
use crate::workspace::Workspace;
use crate::{Result, cluster};
use configuration::Configuration;
use report::{Line, Outcome};
use std::time::{Duration, Instant};

/// The variable that marks all processes of a test, also the launcher's and those on other hosts.
const MARK: &str = "UNIDIST_CONFORMANCE_TRIAL";

/// The arguments of `mpi-test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The MPI; may be repeated. Default: the system's. Missing ones are installed where permitted.
    #[arg(long = "mpi", value_enum, value_name = "NAME")]
    mpis: Vec<Name>,
    /// How workers are started; may be repeated. Default: both.
    #[arg(long = "mode", value_enum, value_name = "MODE")]
    modes: Vec<Mode>,
    /// Number of hosts; may be repeated. More than one are virtual hosts, which need root.
    #[arg(long = "hosts", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=20), default_values_t = [1])]
    hosts: Vec<u8>,
    /// Number of runs of each.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Run only the tests with this in their names.
    #[arg(long, value_name = "WORD")]
    filter: Option<String>,
    /// Run only the fault scenarios with this in their names.
    #[arg(long, value_name = "WORD")]
    fault: Option<String>,
    /// Run only the programs of ranks with this in their names.
    #[arg(long, value_name = "WORD")]
    program: Option<String>,
    /// Number of concurrent tests. Default: the number of cores.
    #[arg(long, value_name = "N")]
    jobs: Option<u32>,
    /// Build with optimizations.
    #[arg(long)]
    release: bool,
    /// Time limit of one run of the suite, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
    /// The backend; one other than mpi tests only the launchers.
    #[arg(long, value_name = "NAME", default_value = "mpi", hide = true)]
    backend: String,
}

impl Arguments {
    fn mpis(&self) -> &[Name] {
        if self.mpis.is_empty() { &[Name::System] } else { &self.mpis }
    }

    fn modes(&self) -> &[Mode] {
        if self.modes.is_empty() { &[Mode::Spawn, Mode::Spmd] } else { &self.modes }
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// The part of `test` with MPI: the system's, in both modes, on this machine and on three virtual hosts. Prints what is
/// skipped, and why.
pub(crate) fn mpi_tests(limit: Duration) -> Result {
    let workspace = Workspace::load()?;
    if let Err(error) = mpi::find(&workspace, Name::System).and_then(|_| mpi::need_libclang()) {
        println!("skipped  the tests with MPI: {error}");
        return Ok(());
    }
    let mut hosts = vec![1];
    match cluster::check_available() {
        Ok(()) => hosts.push(3),
        Err(error) => println!("skipped  MPI on several hosts: {error}"),
    }
    run(&Arguments {
        mpis: Vec::new(),
        modes: Vec::new(),
        hosts,
        repeat: 1,
        filter: None,
        fault: None,
        program: None,
        jobs: None,
        release: false,
        timeout: limit.as_secs(),
        backend: "mpi".to_owned(),
    })
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    mpi::need_libclang()?;
    let mut report = Vec::new();
    for name in arguments.mpis() {
        match mpi::find(&workspace, *name) {
            Ok(mpi) => with(&workspace, &mpi, arguments, &mut report),
            Err(error) => report.push(Line::failed(name.to_string(), error)),
        }
    }
    report::print(&report)
}

/// All tests with one MPI.
fn with(workspace: &Workspace, mpi: &Mpi, arguments: &Arguments, report: &mut Vec<Line>) {
    if arguments.fault.is_some() {
        return report.extend(faults::run(workspace, mpi, arguments));
    }
    if arguments.program.is_some() {
        return report.extend(programs::run(workspace, mpi, arguments));
    }
    // The examples are no part of the suite, which would find no case of this name.
    if arguments.filter.as_deref() == Some("examples") {
        return report.extend(examples::run(workspace, mpi, arguments));
    }
    let suite = match configuration::build(workspace, mpi, arguments) {
        Ok(suite) => suite,
        Err(error) => return report.push(Line::failed(mpi.to_string(), error)),
    };
    for hosts in arguments.hosts.iter().copied() {
        for mode in arguments.modes().iter().copied() {
            let configuration = Configuration { mpi, mode, hosts: hosts.into() };
            eprintln!("\n== {configuration}");
            let outcome = match configuration.limit() {
                Some(limit) => Ok(Outcome::Skipped(limit.into())),
                None => repeat(&configuration, &suite, arguments).map(Outcome::Passed),
            };
            report.push(Line::of(configuration.to_string(), outcome));
        }
    }
    if arguments.filter.as_ref().is_none_or(|word| "examples".contains(word)) {
        report.extend(examples::run(workspace, mpi, arguments));
    }
    if arguments.filter.is_none() {
        report.extend(programs::run(workspace, mpi, arguments));
        report.extend(faults::run(workspace, mpi, arguments));
    }
}

/// Runs the suite the requested number of times; returns a summary.
fn repeat(configuration: &Configuration<'_>, suite: &Suite, arguments: &Arguments) -> Result<String> {
    let start = Instant::now();
    let place = configuration.place()?;
    let leak_check = place.leak_check(suite)?;
    let tests = suite.tests(place.command(suite, arguments)?)?;
    let mut removed = 0;
    for number in 1..=arguments.repeat {
        let run = suite.run(place.command(suite, arguments)?);
        // Killed trials already count as failed.
        removed += leak_check.remove_mpi_files()?;
        let run = run?;
        let (counts, took) = (counts(&run.text), run.took.as_secs_f64());
        eprintln!("run {number} of {}: {counts}, {took:.1} s", arguments.repeat);
        ignored(&run.text).for_each(|line| eprintln!("{line}"));
        if let Err(error) = run.end.check("the suite") {
            eprintln!("{}", complaints(&run.text));
            return Err(format!("run {number} of {}: {counts}; {error}", arguments.repeat).into());
        }
    }
    leak_check.check_processes(GRACE)?;
    leak_check.check_shared_memory()?;
    let removed = if removed == 0 { String::new() } else { format!(" ({removed} files of MPI's removed)") };
    Ok(format!(
        "{}, {} runs in {:.1} s, no process and no shared memory left behind{removed}",
        described(&tests),
        arguments.repeat,
        start.elapsed().as_secs_f64()
    ))
}

/// `12 passed, 1 failed, 1 ignored`, from the output of the suite; without those that are 0.
fn counts(text: &str) -> String {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("test result: "));
    let Some((_, counts)) = line.and_then(|line| line.split_once(". ")) else {
        return "no result".to_owned();
    };
    let is_counted = |count: &&str| count.ends_with("passed") || !count.starts_with("0 ");
    counts.split("; ").take(3).filter(is_counted).collect::<Vec<_>>().join(", ")
}

/// The lines of ignored tests, with the reasons, from the output of the suite.
fn ignored(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.starts_with("test ") && line.ends_with(" ... ignored"))
}

/// The number of cases, and of the tests that run them if some share one.
fn described(tests: &[String]) -> String {
    let shared = |name: &String| {
        let (_, count) = name.strip_suffix(" in one session)")?.rsplit_once('(')?;
        count.parse::<usize>().ok()
    };
    let cases: usize = tests.iter().map(|name| shared(name).unwrap_or(1)).sum();
    match cases == tests.len() {
        true => format!("{cases} cases"),
        false => format!("{cases} cases in {} tests", tests.len()),
    }
}

/// The output of the suite without passed tests.
fn complaints(text: &str) -> String {
    text.lines().filter(|line| !line.ends_with("... ok")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_parsed_from_output() {
        let text = "test mpi::a ... ok\n\ntest result: FAILED. 12 passed; 1 failed; 0 ignored; 0 measured\n";
        assert_eq!(counts(text), "12 passed, 1 failed");
        assert_eq!(
            counts("test result: ok. 0 passed; 0 failed; 2 ignored; 0 measured"),
            "0 passed, 2 ignored"
        );
        assert_eq!(counts("killed"), "no result");
        assert_eq!(complaints("test a ... ok\ntest b ... FAILED"), "test b ... FAILED");
        let text = "test a ... ok\ntest [reason: it hangs] b ... ignored";
        assert_eq!(ignored(text).collect::<Vec<_>>(), ["test [reason: it hangs] b ... ignored"]);
    }

    #[test]
    fn cases_that_share_a_session_are_counted() {
        let tests = ["mpi::tasks::(12 in one session)", "mpi::tasks::a"].map(str::to_owned);
        assert_eq!(described(&tests), "13 cases in 2 tests");
        assert_eq!(described(&tests[1..]), "1 cases");
    }
}
