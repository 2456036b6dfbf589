//! What happens when something dies or is cut off, with a real program, on one host and on several.
//!
//! [`stage`] is where that is tried, [`program`] a program that does what it is told, [`scenarios`] what happens to it.

mod program;
mod scenarios;
mod stage;

use super::{Arguments, Line};
use crate::cluster::Cluster;
use crate::mpi::Mpi;
use crate::suite::OwnName;
use crate::workspace::Workspace;
use crate::{Result, artifact, process};
pub(crate) use scenarios::{kill_program, kill_workers};
pub(crate) use stage::{Stage, Way};
use std::time::Instant;

/// Builds the program for an MPI, with a name of its own.
pub(crate) fn build(workspace: &Workspace, mpi: &Mpi, release: bool) -> Result<OwnName> {
    let mut cargo = process::cargo(&workspace.root);
    cargo.args(["build", "--package", "unidist-tests", "--bin", "faults", "--features", "mpi"]);
    cargo.args(release.then_some("--release"));
    cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?);
    OwnName::of(&artifact::build_with(&mut cargo, "faults")?)
}

/// Runs all scenarios with one MPI, for each mode and number of hosts that was asked for. The ways of starting take their
/// time beside each other, each with hosts of its own.
pub(super) fn run(workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Vec<Line> {
    let executable = match build(workspace, mpi, arguments.release) {
        Ok(executable) => executable,
        Err(error) => return vec![Line::failed(format!("{mpi}, faults"), error)],
    };
    let ways: Vec<Way> = arguments.modes().iter().flat_map(|mode| Way::of(*mode)).copied().collect();
    let mut report = Vec::new();
    for hosts in arguments.hosts.iter().copied() {
        std::thread::scope(|scope| {
            let stages: Vec<_> = ways
                .iter()
                .map(|way| scope.spawn(|| on_stage(mpi, *way, hosts, &executable, arguments)))
                .collect();
            for (way, stage) in ways.iter().zip(stages) {
                let failed =
                    |error| vec![Line::failed(format!("{mpi}, {way}, faults, {hosts} hosts"), error)];
                report.extend(match stage.join() {
                    Ok(lines) => lines,
                    Err(_) => failed("the thread has panicked"),
                });
            }
        });
    }
    report
}

fn on_stage(mpi: &Mpi, way: Way, hosts: u8, executable: &OwnName, arguments: &Arguments) -> Vec<Line> {
    let up = || -> Result<_> {
        let cluster = (hosts > 1).then(|| Cluster::up(hosts.into())).transpose()?;
        Ok((OwnName::of(&executable.0)?, cluster))
    };
    let (executable, cluster) = match up() {
        Ok(there) => there,
        Err(error) => return vec![Line::failed(format!("{mpi}, {way}, faults, {hosts} hosts"), error)],
    };
    let stage = Stage { mpi, way, cluster: cluster.as_ref(), executable: &executable.0 };
    let mut report = Vec::new();
    for (name, scenario) in scenarios::on(&stage) {
        if arguments.fault.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let what = format!("{mpi}, {way}, {hosts} hosts, {name}");
        let start = Instant::now();
        let outcome =
            scenario(&stage).map(|how| format!("{how} ({:.1} s in all)", start.elapsed().as_secs_f64()));
        let line = Line::of(what, outcome);
        eprintln!("{line}");
        report.push(line);
        if let Some(cluster) = &cluster {
            cluster.hosts().iter().for_each(|host| drop(cluster.heal(host)));
        }
    }
    report
}
