//! Tests of the crates that need MPI: `cargo test`, where programs of several ranks start themselves on this host, and
//! such programs on several hosts.

use super::configuration::{Place, build_test};
use super::{Arguments, Line};
use crate::cluster::Cluster;
use crate::mpi::{Job, Mpi, Script};
use crate::suite::GRACE;
use crate::workspace::Workspace;
use crate::{Result, cluster, process};

/// The package, its test target, the number of ranks, and the number of hosts that they are spread over.
type Program = (&'static str, &'static str, u32, u32);

/// All of them.
const PROGRAMS: [Program; 6] = [
    ("unidist-mpi", "ranks", 3, 3),
    ("unidist-mpi", "ranks", 2, 2),
    ("unidist-tests", "guest", 1, 1),
    ("unidist-tests", "guest", 2, 1),
    ("unidist-tests", "guest", 4, 1),
    ("unidist-tests", "guest", 5, 3),
];

/// The feature of a package that its programs are part of.
fn feature(package: &str) -> [&'static str; 2] {
    ["--features", if package == "unidist-mpi" { "bench" } else { "mpi" }]
}

/// The crates that need MPI.
pub(crate) const PACKAGES: [&str; 1] = ["unidist-mpi"];

/// Runs them all.
pub(super) fn run(workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Vec<Line> {
    let mut report = Vec::new();
    for package in PACKAGES {
        let what = format!("{mpi}, {package}, tests");
        eprintln!("\n== {what}");
        report.push(Line::of(what, tests(package, workspace, mpi, arguments)));
    }
    for program in &PROGRAMS {
        let (package, target, ranks, hosts) = program;
        let what = format!("{mpi}, {package}, {target}, {ranks} ranks, {hosts} hosts");
        eprintln!("\n== {what}");
        report.push(Line::of(what, one(program, workspace, mpi, arguments)));
    }
    report
}

fn tests(package: &str, workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Result<String> {
    let mut cargo = process::cargo(&workspace.root);
    cargo.args(["test", "--package", package]).args(feature(package));
    cargo.args(arguments.release.then_some("--release"));
    cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?).envs(mpi.run_environment(&Job::here(1))?);
    process::run(&mut cargo, arguments.limit())?;
    Ok("passed".into())
}

fn one(program: &Program, workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Result<String> {
    let (package, target, ranks, hosts) = *program;
    if hosts > 1
        && let Err(error) = cluster::possible()
    {
        return Ok(format!("skipped: {error}"));
    }
    let suite = build_test(workspace, mpi, arguments, package, target, &feature(package))?;
    let cluster = if hosts > 1 { Some(Cluster::up(hosts as usize)?) } else { None };
    let job = match &cluster {
        Some(cluster) => Job::across(cluster, &spread(ranks, hosts)),
        None => Job::here(ranks),
    };
    let place = Place::new(Script::new(mpi, &job, &[])?, cluster);
    let before = place.before(&suite)?;
    let took = suite.run(place.launched(&suite))?.check()?;
    before.check_processes(GRACE)?;
    before.check_shared_memory_beside_mpi()?;
    Ok(format!("{:.1} s", took.as_secs_f64()))
}

/// So many ranks on so many hosts: as even as can be, more on the first ones.
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
