//! `bench --backend mpi`: builds the benchmark program for an MPI, and passes it the launchers for its parts.

use super::{Arguments, build_with_mpi, pass_on};
use crate::cluster::Cluster;
use crate::leak_check::LeakCheck;
use crate::mpi::{self, Job, Mode, Mpi, Script};
use crate::suite::GRACE;
use crate::workspace::Workspace;
use crate::{Result, process};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The highest number of workers on machines with fewer cores.
const WORKERS: u32 = 4;

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result {
    if arguments.peers && arguments.hosts > 1 {
        return Err("the peers are measured on one host: --peers without --hosts".into());
    }
    let workspace = Workspace::load()?;
    let mpi = mpi::find(&workspace, arguments.mpi)?;
    let executable = build_with_mpi(&workspace, &mpi)?;
    let hosts = usize::from(arguments.hosts);
    let environment = Environment { mpi: &mpi, mode: arguments.mode, hosts: arguments.hosts.into() };
    let cluster = if hosts > 1 { Some(Cluster::up(hosts)?) } else { None };
    eprintln!("{mpi}, {}, hosts: {hosts}", environment.mode);
    if let Some(Err(why)) = cluster.as_ref().map(Cluster::partition_cpus) {
        eprintln!("warning: the hosts share this machine's CPUs: {why}");
    }
    let leak_check = match &cluster {
        None => LeakCheck::new(&executable.0),
        Some(cluster) => LeakCheck::on_hosts(&executable.0, cluster.shared_memory()?),
    };
    let outcome = measure(&environment, cluster.as_ref(), &executable.0, arguments);
    leak_check.check_processes(GRACE)?;
    leak_check.remove_mpi_files()?;
    outcome
}

fn measure(
    environment: &Environment<'_>,
    cluster: Option<&Cluster>,
    executable: &Path,
    arguments: &Arguments,
) -> Result {
    let mut bench = match cluster {
        None => Command::new(executable),
        Some(cluster) => cluster.command(&cluster.hosts()[0], executable),
    };
    pass_on(arguments, &executable.with_extension("md"), &mut bench)?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let workers = arguments.workers.unwrap_or(cores.min(WORKERS));
    bench.args(["--workers", &workers.to_string()]);
    bench.arg("--environment").arg(format!("{}:{}", environment.mode, environment.hosts));
    if let Some(cluster) = cluster {
        bench.args(["--home", &cluster.hosts()[0]]);
    }
    // The scripts must exist as long as the program may start them.
    let mut scripts = Vec::new();
    let mut add = |option: &str, number: Option<u32>, script: Script, bench: &mut Command| -> Result {
        let path = script.path().to_str().ok_or("a path is not valid UTF-8")?;
        bench.arg(option).arg(number.map_or(path.to_owned(), |number| format!("{number}={path}")));
        scripts.push(script);
        Ok(())
    };
    for workers in (1..=cores.max(WORKERS).max(workers)).filter(|workers| environment.allows(*workers)) {
        add("--launcher", Some(workers), environment.session(cluster, workers)?, &mut bench)?;
    }
    add("--ranks-launcher", None, environment.ranks(cluster)?, &mut bench)?;
    if arguments.peers {
        for processes in [workers + 1, workers + 2] {
            let script = Script::new(environment.mpi, &Job::local(processes), &[])?;
            add("--peers-launcher", Some(processes), script, &mut bench)?;
        }
    }
    process::run(&mut bench, Duration::from_secs(arguments.timeout))
}

/// How the sessions are started.
struct Environment<'a> {
    mpi: &'a Mpi,
    mode: Mode,
    hosts: u32,
}

impl Environment<'_> {
    /// Whether each host has a worker, as [`Mode::Spmd`] requires.
    fn allows(&self, workers: u32) -> bool {
        self.mode == Mode::Spawn || workers >= self.hosts
    }

    /// The launcher of a session with this many workers.
    fn session(&self, cluster: Option<&Cluster>, workers: u32) -> Result<Script> {
        let ranks = ranks(self.mode, self.hosts, workers);
        let mut settings = vec![
            ("UNIDIST_BACKEND", "mpi".to_owned()),
            ("UNIDIST_MPI_SPAWN", (self.mode == Mode::Spawn).to_string()),
        ];
        let job = match cluster {
            Some(cluster) => Job::on_cluster(cluster, &ranks),
            None => Job::local(ranks.iter().sum()),
        };
        if self.mode == Mode::Spmd {
            return Script::new(self.mpi, &job, &settings);
        }
        settings.extend(cluster.map(|cluster| ("UNIDIST_MPI_HOSTS", cluster.hosts().join(","))));
        Script::new(self.mpi, &job.with_initial_ranks(1), &settings)
    }

    /// The launcher of two ranks, on two hosts if there are several.
    fn ranks(&self, cluster: Option<&Cluster>) -> Result<Script> {
        let job = cluster.map_or_else(|| Job::local(2), |cluster| Job::on_cluster(cluster, &[1, 1]));
        Script::new(self.mpi, &job, &[])
    }
}

/// The number of ranks for each host: with [`Mode::Spmd`], the program on the first, a monitor on each, and the workers;
/// with [`Mode::Spawn`], slots for the program or a monitor.
fn ranks(mode: Mode, hosts: u32, workers: u32) -> Vec<u32> {
    let workers = |host| workers / hosts + u32::from(host < workers % hosts);
    match mode {
        Mode::Spawn => vec![2; hosts as usize],
        Mode::Spmd => (0..hosts).map(|host| 1 + u32::from(host == 0) + workers(host)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_a_monitor_and_its_share_of_workers() {
        assert_eq!(ranks(Mode::Spmd, 1, 4), [6]);
        assert_eq!(ranks(Mode::Spmd, 2, 3), [4, 2]);
        assert_eq!(ranks(Mode::Spawn, 2, 3), [2, 2]);
    }
}
