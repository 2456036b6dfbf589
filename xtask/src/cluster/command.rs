//! `cluster`: manages virtual hosts by hand.

use super::{Cluster, MAX_HOSTS, lock, network};
use crate::Result;
use crate::mpi::{self, Job, Name};
use crate::workspace::Workspace;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The arguments of `cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Create virtual hosts that exist until `down`, and print their names
    Up {
        /// Number of hosts.
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MAX_HOSTS as i64))]
        hosts: u8,
    },
    /// Remove the virtual hosts of `up`, and kill all processes on them
    Down {
        /// Only those of the cluster with this host.
        host: Option<String>,
    },
    /// Show all virtual hosts, with their addresses
    List,
    /// Run a command on a host
    Exec {
        /// The host.
        host: String,
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Run a program with MPI on the hosts of `up`
    Mpiexec {
        /// The MPI.
        #[arg(long, value_enum, default_value_t = Name::System)]
        mpi: Name,
        /// Ranks on each host, for example 3,2,2. Default: 1 each.
        #[arg(long, value_name = "N", value_delimiter = ',')]
        ranks: Vec<u32>,
        /// Start only this many ranks; --ranks then gives the slots of each host.
        #[arg(long, value_name = "N")]
        start: Option<u32>,
        /// One of the hosts, where several clusters are up.
        #[arg(long)]
        host: Option<String>,
        /// The program with its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Disconnect a host from the network, without notice: packets are dropped
    Cut {
        /// The host.
        host: String,
    },
    /// Reconnect a host
    Heal {
        /// The host.
        host: String,
    },
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    match &arguments.command {
        Action::Up { hosts } => {
            let cluster = Cluster::up((*hosts).into())?.make_persistent()?;
            println!("{}", cluster.hosts().join("\n"));
            Ok(())
        }
        Action::Down { host } => down(host.as_deref()),
        Action::List => {
            list();
            Ok(())
        }
        Action::Exec { host, command } => {
            become_command(Cluster::of(host)?.command(host, &command[0]).args(&command[1..]))
        }
        Action::Mpiexec { mpi, ranks, start, host, command } => {
            mpiexec(*mpi, ranks, *start, host.as_deref(), command)
        }
        Action::Cut { host } => Cluster::of(host)?.cut(host),
        Action::Heal { host } => Cluster::of(host)?.heal(host),
    }
}

fn down(host: Option<&str>) -> Result {
    super::check_available()?;
    let only = match host {
        Some(host) => Some(Cluster::of(host)?.letter),
        None => None,
    };
    for letter in lock::letters().into_iter().filter(|letter| only.is_none_or(|only| only == *letter)) {
        match lock::ClusterLock::try_acquire(letter)? {
            Some(_lock) => network::remove(letter)?,
            None if only.is_some() => {
                return Err("these hosts belong to a running process, which removes them when it ends".into());
            }
            None => {}
        }
    }
    Ok(())
}

fn list() {
    for letter in lock::letters() {
        let kind = match lock::ClusterLock::try_acquire(letter) {
            _ if lock::is_persistent(letter) => "until `cluster down`",
            Ok(Some(_)) => "abandoned, removed by the next `up`",
            Ok(None) | Err(_) => "until its command ends",
        };
        for (number, host) in (1..).zip(network::hosts(letter)) {
            let processes = network::processes(&host).len();
            println!("{host:<8} {:<14} {processes:>4} processes, {kind}", network::address(letter, number));
        }
    }
}

fn mpiexec(mpi: Name, ranks: &[u32], start: Option<u32>, host: Option<&str>, command: &[OsString]) -> Result {
    super::check_available()?;
    let cluster = match host {
        Some(host) => Cluster::of(host)?,
        None => the_one()?,
    };
    let hosts = cluster.hosts();
    if ranks.len() > hosts.len() {
        return Err(format!("there are {} hosts: {}", hosts.len(), hosts.join(", ")).into());
    }
    let ranks = if ranks.is_empty() { vec![1; hosts.len()] } else { ranks.to_owned() };
    let mpi = mpi::find(&Workspace::load()?, mpi)?;
    let job = Job::on_cluster(&cluster, &ranks);
    let job = match start {
        Some(start) => job.with_initial_ranks(start),
        None => job,
    };
    let line = mpi.mpiexec(&job)?;
    let mut start = cluster.command(&hosts[0], &line[0]);
    become_command(start.args(&line[1..]).args(command).envs(mpi.run_environment(&job)?))
}

/// The persistent cluster, if there is exactly one.
fn the_one() -> Result<Cluster> {
    let persistent: Vec<char> =
        lock::letters().into_iter().filter(|letter| lock::is_persistent(*letter)).collect();
    match persistent.as_slice() {
        [letter] => Ok(Cluster::with_letter(*letter)),
        [] => Err("there are no virtual hosts: create some with `cargo xtask cluster up N`".into()),
        _ => Err("there are several clusters: name one of its hosts with --host".into()),
    }
}

/// Replaces this process with the command; returns only on failure.
fn become_command(command: &mut Command) -> Result {
    Err(format!("{}: {}", crate::process::words(command), command.exec()).into())
}
