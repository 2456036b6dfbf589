//! Fault scenarios with a real program, on one host and on several: killed processes and cut links.
//!
//! [`environment`] starts the [`program`], which is controlled over a socket, for the [`scenarios`].

mod environment;
mod program;
mod scenarios;

use super::Arguments;
use super::report::{Line, Outcome};
use crate::cluster::Cluster;
use crate::mpi::Mpi;
use crate::suite::UniqueName;
use crate::workspace::Workspace;
use crate::{Result, artifact, process};
pub(crate) use environment::{FaultEnvironment, StartMethod};
pub(crate) use scenarios::{kill_program, kill_workers};
use std::time::Instant;

/// Builds the program for an MPI, under a unique name.
pub(crate) fn build(workspace: &Workspace, mpi: &Mpi, release: bool) -> Result<UniqueName> {
    let mut cargo = process::cargo(&workspace.root);
    cargo.args(["build", "--package", "unidist-tests", "--bin", "faults", "--features", "mpi"]);
    cargo.args(release.then_some("--release"));
    cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?);
    UniqueName::of(&artifact::build_with(&mut cargo, "faults")?)
}

/// Runs all scenarios with one MPI, for each mode and number of hosts. The start methods run concurrently, each with its
/// own hosts.
pub(super) fn run(workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Vec<Line> {
    let executable = match build(workspace, mpi, arguments.release) {
        Ok(executable) => executable,
        Err(error) => return vec![Line::failed(format!("{mpi}, faults"), error)],
    };
    let methods: Vec<StartMethod> =
        arguments.modes().iter().flat_map(|mode| StartMethod::of(*mode)).copied().collect();
    let mut report = Vec::new();
    for hosts in arguments.hosts.iter().copied() {
        std::thread::scope(|scope| {
            let environments: Vec<_> = methods
                .iter()
                .map(|method| scope.spawn(|| run_in(mpi, *method, hosts, &executable, arguments)))
                .collect();
            for (method, environment) in methods.iter().zip(environments) {
                let failed =
                    |error| vec![Line::failed(format!("{mpi}, {method}, faults, {hosts} hosts"), error)];
                report.extend(match environment.join() {
                    Ok(lines) => lines,
                    Err(_) => failed("the thread panicked"),
                });
            }
        });
    }
    // Which scenarios exist depends on the hosts and on the launcher.
    if let (true, Some(word)) = (report.iter().all(Line::is_skipped), &arguments.fault) {
        report.push(Line::none_selected(format!("{mpi}, faults"), "--fault", word));
    }
    report
}

fn run_in(
    mpi: &Mpi,
    method: StartMethod,
    hosts: u8,
    executable: &UniqueName,
    arguments: &Arguments,
) -> Vec<Line> {
    let all = format!("{mpi}, {method}, faults, {hosts} hosts");
    if let Some(reason) = method.limit(mpi, hosts.into()) {
        return vec![Line::skipped(all, reason)];
    }
    let up = || -> Result<_> {
        let cluster = (hosts > 1).then(|| Cluster::up(hosts.into())).transpose()?;
        Ok((UniqueName::of(&executable.0)?, cluster))
    };
    let (executable, cluster) = match up() {
        Ok(there) => there,
        Err(error) => return vec![Line::failed(all, error)],
    };
    let environment = FaultEnvironment { mpi, method, cluster: cluster.as_ref(), executable: &executable.0 };
    let mut selected = scenarios::on(&environment);
    if let Some(word) = &arguments.fault {
        selected.retain(|(name, _)| name.contains(word.as_str()));
        if selected.is_empty() {
            return vec![Line::skipped(all, format!("no scenario here has `{word}` in its name"))];
        }
    }
    let mut report = Vec::new();
    for (name, scenario) in selected {
        let what = format!("{mpi}, {method}, {hosts} hosts, {name}");
        let start = Instant::now();
        let outcome = scenario(&environment)
            .map(|how| Outcome::Passed(format!("{how} ({:.1} s in all)", start.elapsed().as_secs_f64())));
        let line = Line::of(what, outcome);
        eprintln!("{line}");
        report.push(line);
        if let Some(cluster) = &cluster {
            cluster.hosts().iter().for_each(|host| drop(cluster.heal(host)));
        }
    }
    report
}
