//! `bench spmd`: builds the program for an MPI, and gives it the launchers that it starts its ranks and pshmem's with.

use super::{Extent, build_with_mpi};
use crate::cluster::Cluster;
use crate::leftovers::Before;
use crate::mpi::{self, Job, Mpi, Name, Script};
use crate::suite::GRACE;
use crate::workspace::Workspace;
use crate::{Result, peers, process};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How many ranks there are on one host.
const RANKS: u32 = 4;
/// How many ranks each of several hosts has.
const ACROSS: [u32; 2] = [2, 2];

/// The arguments of `bench spmd`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which MPI; it is installed if need be.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Name::System)]
    mpi: Name,
    /// On so many hosts at the most: 1 leaves out the virtual ones.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    hosts: u8,
    #[command(flatten)]
    extent: Extent,
    /// How many seconds it may take, once it is built.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let mpi = mpi::find(&workspace, arguments.mpi)?;
    let executable = build_with_mpi(&workspace, &mpi)?;
    let pshmem = peers::with_pshmem().inspect_err(|error| {
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
    let before = Before::on_hosts(&executable.0, folders);
    let outcome = measure(&mpi, cluster.as_ref(), pshmem.ok().as_deref(), &executable.0, arguments);
    before.check_processes(GRACE)?;
    before.remove_what_mpi_left()?;
    outcome
}

/// Two of them, each with its share of the CPUs if that can be.
fn virtual_hosts() -> Result<Cluster> {
    let cluster = Cluster::up(ACROSS.len())?;
    if let Err(why) = cluster.share_out_cpus() {
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
    let across = |cluster: &Cluster| Job::across(cluster, &ACROSS).started_outside(cluster);
    let jobs = [Some(Job::here(RANKS)), cluster.map(across)];
    // They are there as long as the program may start them.
    let mut scripts = Vec::new();
    for (hosts, job) in (1..).zip(jobs).filter_map(|(hosts, job)| Some((hosts, job?))) {
        let script = Script::new(mpi, &job, &[])?;
        bench.arg("--spmd-launcher").arg(format!("{hosts}={}", script.path().display()));
        scripts.push(script);
    }
    process::run(&mut bench, Duration::from_secs(arguments.timeout))
}
