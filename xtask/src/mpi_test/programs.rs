//! Tests of the crates that need MPI: `cargo test`, and programs of several ranks on one host and on several.

use super::configuration::{TestEnvironment, build_test};
use super::report::{Line, Outcome};
use super::{Arguments, rank_examples};
use crate::cluster::Cluster;
use crate::mpi::{Job, Mpi, Script};
use crate::process::End;
use crate::suite::{GRACE, Suite};
use crate::workspace::Workspace;
use crate::{Result, cluster, process};
use std::time::Duration;

/// The package, its test target, the number of ranks, and the number of hosts.
type Program = (&'static str, &'static str, u32, u32);

/// All programs.
const PROGRAMS: [Program; 12] = [
    ("unidist-mpi", "ranks", 3, 3),
    ("unidist-mpi", "ranks", 2, 2),
    ("unidist-tests", "guest", 1, 1),
    ("unidist-tests", "guest", 2, 1),
    ("unidist-tests", "guest", 4, 1),
    ("unidist-tests", "guest", 5, 3),
    ("unidist-spmd", "ranks", 1, 1),
    ("unidist-spmd", "ranks", 2, 1),
    ("unidist-spmd", "ranks", 4, 1),
    ("unidist-spmd", "ranks", 5, 1),
    ("unidist-spmd", "ranks", 4, 2),
    ("unidist-spmd", "ranks", 5, 3),
];

/// How a rank of `unidist-spmd`'s program fails, and the expected output.
const FAULTS: [(&str, &str); 6] = [
    ("panic", "this is the message"),
    ("kill", ""),
    ("guard", "has failed: this is the message; the other ranks did not reach the end of exception_guard"),
    ("terminate", ""),
    ("interrupt", ""),
    ("exit", ""),
];
/// Numbers of hosts, with the number of faults that are tried there.
const FAILING: [(u32, usize); 2] = [(1, FAULTS.len()), (2, 3)];
/// The number of ranks of a program with a failing rank.
const RANKS: u32 = 4;
/// Time limit for such a job to end.
const FAULT_LIMIT: Duration = Duration::from_secs(60);

/// The features that a package's programs need.
fn feature(package: &str) -> &'static [&'static str] {
    match package {
        "unidist-mpi" => &["--features", "bench"],
        "unidist-mpi-comm" => &[],
        "unidist-spmd" => &["--features", "mpi,ndarray"],
        _ => &["--features", "mpi"],
    }
}

/// The crates that need MPI.
pub(crate) const PACKAGES: [&str; 3] = ["unidist-mpi-comm", "unidist-mpi", "unidist-spmd"];

/// Runs all programs, or those selected.
pub(super) fn run(workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Vec<Line> {
    let mut report = Vec::new();
    let mut add = |what: String, run: &dyn Fn() -> Result<Outcome>| {
        let what = format!("{mpi}, {what}");
        if arguments.program.as_ref().is_none_or(|word| what.contains(word)) {
            eprintln!("\n== {what}");
            report.push(Line::of(what, run()));
        }
    };
    for package in PACKAGES {
        add(format!("{package}, tests"), &|| tests(package, workspace, mpi, arguments));
    }
    for program in PROGRAMS {
        let (package, target, ranks, hosts) = program;
        let what = format!("{package}, {target}, {ranks} ranks, {hosts} hosts");
        add(what, &|| one(program, workspace, mpi, arguments));
    }
    for hosts in [1, 2] {
        let what = format!("examples of {} ranks, {hosts} hosts", rank_examples::RANKS);
        add(what, &|| rank_examples::run(hosts, workspace, mpi, arguments));
    }
    for (hosts, count) in FAILING {
        for (fault, said) in FAULTS.into_iter().take(count) {
            let program = ("unidist-spmd", "ranks", RANKS, hosts);
            let what = format!("unidist-spmd, one of {RANKS} ranks fails, {hosts} hosts: {fault}");
            add(what, &|| one_fails(program, fault, said, workspace, mpi, arguments));
        }
    }
    if let (true, Some(word)) = (report.is_empty(), &arguments.program) {
        report.push(Line::none_selected(format!("{mpi}, programs of ranks"), "--program", word));
    }
    report
}

fn tests(package: &str, workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Result<Outcome> {
    let mut cargo = process::cargo(&workspace.root);
    cargo.args(["test", "--package", package]).args(feature(package));
    cargo.args(arguments.release.then_some("--release"));
    cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?).envs(mpi.run_environment(&Job::local(1))?);
    process::run(&mut cargo, arguments.limit())?;
    Ok(Outcome::Passed("passed".into()))
}

/// A program and its environment, or why it is skipped.
fn prepare(
    program: Program,
    workspace: &Workspace,
    mpi: &Mpi,
    arguments: &Arguments,
) -> Result<std::result::Result<(Suite, TestEnvironment), String>> {
    let (package, target, ranks, hosts) = program;
    if hosts > 1
        && let Err(error) = cluster::check_available()
    {
        return Ok(Err(error.to_string()));
    }
    let suite = build_test(workspace, mpi, arguments, package, target, feature(package))?;
    Ok(Ok((suite, place(ranks, hosts, mpi)?)))
}

/// The environment for this many ranks on this many hosts.
pub(super) fn place(ranks: u32, hosts: u32, mpi: &Mpi) -> Result<TestEnvironment> {
    let cluster = if hosts > 1 { Some(Cluster::up(hosts as usize)?) } else { None };
    let job = match &cluster {
        Some(cluster) => Job::on_cluster(cluster, &spread(ranks, hosts)),
        None => Job::local(ranks),
    };
    let settings = [("UNIDIST_TEST_RANKS", ranks.to_string()), ("UNIDIST_TEST_HOSTS", hosts.to_string())];
    Ok(TestEnvironment::new(Script::new(mpi, &job, &settings)?, cluster))
}

fn one(program: Program, workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Result<Outcome> {
    let (suite, place) = match prepare(program, workspace, mpi, arguments)? {
        Ok(prepared) => prepared,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let leak_check = place.leak_check(&suite)?;
    let run = suite.run(place.launched(&suite))?;
    eprint!("{}", run.text);
    let took = run.check()?;
    leak_check.check_processes(GRACE)?;
    leak_check.check_shared_memory()?;
    Ok(Outcome::Passed(format!("{:.1} s", took.as_secs_f64())))
}

/// The job must fail with the expected output, and leave nothing behind.
fn one_fails(
    program: Program,
    fault: &str,
    said: &str,
    workspace: &Workspace,
    mpi: &Mpi,
    arguments: &Arguments,
) -> Result<Outcome> {
    let (suite, place) = match prepare(program, workspace, mpi, arguments)? {
        Ok(prepared) => prepared,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let suite = Suite { filter: fault.to_owned(), limit: FAULT_LIMIT, ..suite };
    let leak_check = place.leak_check(&suite)?;
    let run = suite.run(place.launched(&suite))?;
    leak_check.check_processes(GRACE)?;
    leak_check.check_shared_memory()?;
    match run.end {
        End::Exited(status) if !status.success() && run.text.contains(said) => {
            let took = run.took.as_secs_f64();
            Ok(Outcome::Passed(format!("the job ended with {status} after {took:.1} s")))
        }
        _ => Err(format!("{:?}; output:\n{}", run.end, run.text).into()),
    }
}

/// Spreads ranks over hosts evenly, with the remainder on the first ones.
fn spread(ranks: u32, hosts: u32) -> Vec<u32> {
    (0..hosts).map(|host| ranks / hosts + u32::from(host < ranks % hosts)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_spread_evenly() {
        assert_eq!(spread(7, 3), [3, 2, 2]);
        assert_eq!(spread(2, 2), [1, 1]);
    }
}
