//! One way to run the conformance suite with MPI.

use super::Arguments;
use crate::cluster::Cluster;
use crate::conformance::{PACKAGE, TARGET};
use crate::leak_check::LeakCheck;
use crate::mpi::{Job, Mode, Mpi, Script};
use crate::suite::{Suite, UniqueName};
use crate::workspace::Workspace;
use crate::{Result, artifact, process};
use std::fmt;
use std::path::Path;
use std::process::Command;

/// Workers on a single host; several hosts have one each.
const WORKERS: u32 = 2;
/// Slots of a host in [`Mode::Spawn`].
pub(super) const SLOTS: u32 = 4;

/// An MPI, a mode, and a number of hosts.
pub(super) struct Configuration<'a> {
    pub(super) mpi: &'a Mpi,
    pub(super) mode: Mode,
    pub(super) hosts: usize,
}

impl fmt::Display for Configuration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.hosts == 1 { "" } else { "s" };
        write!(f, "{}, {}, {} host{plural}", self.mpi, self.mode, self.hosts)
    }
}

impl Configuration<'_> {
    /// Why it is skipped, for a reason of the MPI's own.
    pub(super) fn limit(&self) -> Option<&'static str> {
        self.mpi.limit(self.mode, self.hosts)
    }

    /// Creates the environment for it.
    pub(super) fn place(&self) -> Result<TestEnvironment> {
        let cluster = if self.hosts > 1 { Some(Cluster::up(self.hosts)?) } else { None };
        let ranks = ranks(self.mode, self.hosts);
        let job = match &cluster {
            Some(cluster) => Job::on_cluster(cluster, &ranks),
            None => Job::local(ranks.iter().sum()),
        };
        let mut settings = vec![("UNIDIST_MPI_SPAWN", (self.mode == Mode::Spawn).to_string())];
        let job = match self.mode {
            Mode::Spmd => job,
            Mode::Spawn => {
                if let Some(cluster) = &cluster {
                    settings.push(("UNIDIST_MPI_HOSTS", cluster.hosts().join(",")));
                }
                job.with_initial_ranks(1)
            }
        };
        let is_spmd = self.mode == Mode::Spmd;
        Ok(TestEnvironment { script: Script::new(self.mpi, &job, &settings)?, cluster, is_spmd })
    }
}

/// Ranks or slots of each host: with [`Mode::Spmd`], the program on the first, a monitor on each, and the workers.
pub(super) fn ranks(mode: Mode, hosts: usize) -> Vec<u32> {
    match (mode, hosts) {
        (Mode::Spawn, _) => vec![SLOTS; hosts],
        (Mode::Spmd, 1) => vec![2 + WORKERS],
        (Mode::Spmd, _) => (0..hosts).map(|host| if host == 0 { 3 } else { 2 }).collect(),
    }
}

/// The script and the hosts of a configuration, removed on drop.
pub(super) struct TestEnvironment {
    script: Script,
    cluster: Option<Cluster>,
    /// Whether the launcher starts all processes.
    is_spmd: bool,
}

impl TestEnvironment {
    /// For a program that a job starts.
    pub(super) fn new(script: Script, cluster: Option<Cluster>) -> Self {
        TestEnvironment { script, cluster, is_spmd: false }
    }

    /// The leak check for this environment.
    pub(super) fn leak_check(&self, suite: &Suite) -> Result<LeakCheck> {
        Ok(match &self.cluster {
            None => LeakCheck::new(&suite.executable),
            Some(cluster) => LeakCheck::on_hosts(&suite.executable, cluster.shared_memory()?),
        })
    }

    /// A command on this machine or on the first host.
    fn first(&self, program: &Path) -> Command {
        match &self.cluster {
            None => Command::new(program),
            Some(cluster) => cluster.command(&cluster.hosts()[0], program),
        }
    }

    /// The suite, which starts each case with the script.
    pub(super) fn command(&self, suite: &Suite, arguments: &Arguments) -> Result<Command> {
        let mut command = suite.prepare(self.first(&suite.executable));
        command
            .args(arguments.jobs.map(|jobs| format!("--test-threads={jobs}")))
            .env("UNIDIST_CONFORMANCE_BACKENDS", &arguments.backend)
            .env("UNIDIST_CONFORMANCE_LAUNCHER", self.script.path());
        if self.is_spmd {
            command.env("UNIDIST_CONFORMANCE_SPMD", "1");
        }
        // Starting many processes is slow, so cases share a job, unless one is selected by name.
        if (self.is_spmd || self.cluster.is_some()) && arguments.filter.is_none() {
            command.env("UNIDIST_CONFORMANCE_SERIES", "1");
        }
        if let Some(cluster) = &self.cluster {
            let folders = std::env::join_paths(cluster.shared_memory()?)?;
            command.env("UNIDIST_CONFORMANCE_SHARED_MEMORY", folders);
        }
        Ok(command)
    }

    /// A program, started by the script.
    pub(super) fn launched_program(&self, program: &Path) -> Command {
        let mut command = self.first(self.script.path());
        command.arg(program);
        command
    }

    /// The program itself, started by the script.
    pub(super) fn launched(&self, suite: &Suite) -> Command {
        let mut command = self.first(self.script.path());
        command.arg(&suite.executable);
        suite.prepare(command)
    }
}

/// Builds the suite for an MPI.
pub(super) fn build(workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Result<Suite> {
    let features: &[&str] = if arguments.backend == "mpi" { &["--features", "mpi"] } else { &[] };
    build_test(workspace, mpi, arguments, PACKAGE, TARGET, features).map(|suite| Suite {
        filter: arguments.filter.clone().unwrap_or_default(),
        folder: workspace.root.join("tests"),
        ..suite
    })
}

/// Builds a test program for an MPI.
pub(super) fn build_test(
    workspace: &Workspace,
    mpi: &Mpi,
    arguments: &Arguments,
    package: &str,
    target: &str,
    more: &[&str],
) -> Result<Suite> {
    let mut cargo = process::cargo(&workspace.root);
    cargo.args(["test", "--package", package, "--test", target, "--no-run"]).args(more);
    cargo.args(arguments.release.then_some("--release"));
    cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?);
    build_program(workspace, arguments, cargo, target)
}

/// Builds a binary of a package for an MPI.
pub(super) fn build_binary(
    workspace: &Workspace,
    mpi: &Mpi,
    arguments: &Arguments,
    package: &str,
    name: &str,
) -> Result<Suite> {
    let mut cargo = process::cargo(&workspace.root);
    cargo.args(["build", "--package", package, "--features", "mpi", "--bin", name]);
    cargo.args(arguments.release.then_some("--release"));
    cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?);
    build_program(workspace, arguments, cargo, name)
}

fn build_program(
    workspace: &Workspace,
    arguments: &Arguments,
    mut cargo: Command,
    name: &str,
) -> Result<Suite> {
    let executable = UniqueName::of(&artifact::build_with(&mut cargo, name)?)?;
    Ok(Suite {
        leak_check: LeakCheck::new(&executable.0),
        executable: executable.0.clone(),
        folder: workspace.root.clone(),
        filter: String::new(),
        limit: arguments.limit(),
        _name: Some(executable),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_a_monitor_and_a_worker() {
        assert_eq!(ranks(Mode::Spmd, 1), [4]);
        assert_eq!(ranks(Mode::Spmd, 3), [3, 2, 2]);
        assert_eq!(ranks(Mode::Spawn, 3), [4, 4, 4]);
    }
}
