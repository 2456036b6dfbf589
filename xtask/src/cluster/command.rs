//! `cluster`: virtual hosts by hand.

use super::{Cluster, MOST, claim, network};
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
    /// Make virtual hosts that stay until `down`; print their names
    Up {
        /// How many.
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MOST as i64))]
        hosts: u8,
    },
    /// Remove the virtual hosts that `up` has made, and end all processes on them
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
    /// Run a program with MPI across the hosts that `up` has made
    Mpiexec {
        /// Which MPI.
        #[arg(long, value_enum, default_value_t = Name::System)]
        mpi: Name,
        /// How many ranks each host gets; 1 each unless this is given, for example 3,2,2.
        #[arg(long, value_name = "N", value_delimiter = ',')]
        ranks: Vec<u32>,
        /// Start only so many ranks; the hosts have room for as many as --ranks says.
        #[arg(long, value_name = "N")]
        start: Option<u32>,
        /// One of the hosts, where several clusters are up.
        #[arg(long)]
        host: Option<String>,
        /// The program with its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Take a host off the network. Nobody is told: what is sent is lost
    Cut {
        /// The host.
        host: String,
    },
    /// Connect it again
    Heal {
        /// The host.
        host: String,
    },
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    match &arguments.command {
        Action::Up { hosts } => {
            let cluster = Cluster::up((*hosts).into())?.keep()?;
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
    super::possible()?;
    let only = match host {
        Some(host) => Some(Cluster::of(host)?.letter),
        None => None,
    };
    for letter in claim::letters().into_iter().filter(|letter| only.is_none_or(|only| only == *letter)) {
        match claim::Claim::of(letter)? {
            Some(_claim) => network::remove(letter)?,
            None if only.is_some() => {
                return Err("these hosts are used by another process, which will remove them".into());
            }
            None => {}
        }
    }
    Ok(())
}

fn list() {
    for letter in claim::letters() {
        let kind = match claim::Claim::of(letter) {
            _ if claim::is_kept(letter) => "until `cluster down`",
            Ok(Some(_)) => "left behind, the next `up` removes it",
            Ok(None) | Err(_) => "while a command runs",
        };
        for (number, host) in (1..).zip(network::hosts(letter)) {
            let processes = network::processes(&host).len();
            println!("{host:<8} {:<14} {processes:>4} processes, {kind}", network::address(letter, number));
        }
    }
}

fn mpiexec(mpi: Name, ranks: &[u32], start: Option<u32>, host: Option<&str>, command: &[OsString]) -> Result {
    super::possible()?;
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
    let job = Job::across(&cluster, &ranks);
    let job = match start {
        Some(start) => job.starting_with(start),
        None => job,
    };
    let line = mpi.mpiexec(&job)?;
    let mut start = cluster.command(&hosts[0], &line[0]);
    become_command(start.args(&line[1..]).args(command).envs(mpi.run_environment(&job)?))
}

/// The cluster that is to stay, if there is one alone.
fn the_one() -> Result<Cluster> {
    let kept: Vec<char> = claim::letters().into_iter().filter(|letter| claim::is_kept(*letter)).collect();
    match kept.as_slice() {
        [letter] => Ok(Cluster::with_letter(*letter)),
        [] => Err("there are no virtual hosts: `cargo xtask cluster up N`".into()),
        _ => Err("there are several clusters: name one of its hosts with --host".into()),
    }
}

/// Goes on as the command; returns only if that fails.
fn become_command(command: &mut Command) -> Result {
    Err(format!("{}: {}", crate::process::words(command), command.exec()).into())
}
