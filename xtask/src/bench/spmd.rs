//! `bench spmd`: builds the benchmark program for an MPI, and passes it launchers for its ranks and those of pshmem.

use super::{Extent, build_with_mpi};
use crate::cluster::Cluster;
use crate::leak_check::LeakCheck;
use crate::mpi::{self, Job, Mpi, Name, Script};
use crate::suite::GRACE;
use crate::workspace::Workspace;
use crate::{Result, peers, process};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Ranks on one host.
const RANKS: u32 = 4;
/// Ranks on each of two hosts.
const ACROSS: [u32; 2] = [2, 2];

/// The arguments of `bench spmd`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The MPI; installed if missing.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Name::System)]
    mpi: Name,
    /// Highest number of hosts: 1 leaves out virtual hosts.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    hosts: u8,
    #[command(flatten)]
    extent: Extent,
    /// Time limit without building, in seconds.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let mpi = mpi::find(&workspace, arguments.mpi)?;
    let executable = build_with_mpi(&workspace, &mpi)?;
    let pshmem = peers::install_pshmem().inspect_err(|error| {
        eprintln!("warning: unidist-spmd is measured alone: there is no pshmem: {error}")
    });
    let cluster = match arguments.hosts {
        1 => None,
        _ => virtual_hosts()
            .inspect_err(|error| eprintln!("warning: measured on one host alone: {error}"))
            .ok(),
    };
    eprintln!("{mpi}, hosts: {}", if cluster.is_some() { "1 and 2" } else { "1" });
    let mut folders = vec![PathBuf::from("/dev/shm")];
    folders.extend(cluster.as_ref().map(Cluster::shared_memory).transpose()?.unwrap_or_default());
    let leak_check = LeakCheck::on_hosts(&executable.0, folders);
    let outcome = measure(&mpi, cluster.as_ref(), pshmem.ok().as_deref(), &executable.0, arguments);
    leak_check.check_processes(GRACE)?;
    leak_check.remove_mpi_files()?;
    outcome
}

/// Two virtual hosts, each with its share of the CPUs if possible.
fn virtual_hosts() -> Result<Cluster> {
    let cluster = Cluster::up(ACROSS.len())?;
    if let Err(why) = cluster.partition_cpus() {
        eprintln!("warning: the hosts share this machine's CPUs: {why}");
    }
    Ok(cluster)
}

fn measure(
    mpi: &Mpi,
    cluster: Option<&Cluster>,
    pshmem: Option<&Path>,
    executable: &Path,
    arguments: &Arguments,
) -> Result {
    let mut bench = Command::new(executable);
    bench.arg("spmd");
    arguments.extent.pass_on(&mut bench)?;
    if let Some(folder) = pshmem {
        bench.arg("--peers").arg(folder);
    }
    let across = |cluster: &Cluster| Job::on_cluster(cluster, &ACROSS).launched_from_outside(cluster);
    let jobs = [Some(Job::local(RANKS)), cluster.map(across)];
    // The scripts must exist as long as the program may start them.
    let mut scripts = Vec::new();
    for (hosts, job) in (1..).zip(jobs).filter_map(|(hosts, job)| Some((hosts, job?))) {
        let script = Script::new(mpi, &job, &[])?;
        bench.arg("--spmd-launcher").arg(format!("{hosts}={}", script.path().display()));
        scripts.push(script);
    }
    process::run(&mut bench, Duration::from_secs(arguments.timeout))
}
