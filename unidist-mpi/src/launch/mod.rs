//! The hosts of a session, and how MPI starts a process on each.
//!
//! The hosts are, in this order of precedence: those of `UNIDIST_MPI_HOSTS`; those on the command line of `mpiexec`, which is
//! found among the ancestors of this process, because no MPI passes its list to the processes that it starts; those of the
//! batch system (Slurm, PBS, LSF, SGE). The program's own host always comes first, listed or not.

mod advice;
mod batch;
mod command_line;
mod lists;
mod slow_start_warning;
mod start;

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use unidist_common::{Error, Result};
use unidist_config::HostName;
use unidist_engine::host::{host_address, host_name};

pub(crate) use advice::{alone_advice, network_advice};
pub(crate) use slow_start_warning::warn_when_slow;
pub(crate) use start::{check_before_init, start_monitors};
pub use unidist_mpi_comm::launcher::under_launcher;
pub(crate) use unidist_mpi_comm::launcher::{job_size, survives_process_death};

/// The hosts of a session that is about to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// All listed hosts.
    pub all: Vec<HostName>,
    /// The hosts other than the program's own.
    pub further: Vec<HostName>,
    /// The CPU slots of the program's own host, if the list gives them.
    pub own_slots: Option<usize>,
    /// Whether the launcher knows all hosts.
    pub of_launcher: bool,
}

impl Hosts {
    /// The names of the further hosts, separated by commas.
    pub(crate) fn names(&self) -> String {
        self.further.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// The hosts of the session; `set` are those of the settings.
///
/// # Errors
///
/// A host file that the environment names cannot be read.
pub fn hosts(set: &[HostName]) -> Result<Hosts> {
    let launchers = if under_launcher() { command_line::hosts()? } else { Vec::new() };
    let given = if launchers.is_empty() { batch::hosts()? } else { launchers };
    let all = if set.is_empty() { given.clone() } else { set.to_vec() };
    let of_launcher = all.iter().all(|host| given.iter().any(|other| other.name == host.name));
    let name = host_name();
    let is_own = |other: &str| is_own(other, &name);
    Ok(Hosts {
        further: all.iter().filter(|host| !is_own(&host.name)).cloned().collect(),
        own_slots: crate::controller::own_slots(&all, is_own),
        all,
        of_launcher,
    })
}

/// Whether a name is a name of this host, or resolves to an address of it.
fn is_own(other: &str, name: &str) -> bool {
    if unidist_engine::hosts::is_same_host(other, name, &host_address()) {
        return true;
    }
    let local = |address: SocketAddr| UdpSocket::bind(SocketAddr::new(address.ip(), 0)).is_ok();
    (other, 0).to_socket_addrs().is_ok_and(|mut addresses| addresses.any(local))
}

fn unreadable(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Launch {
        message: format!(
            "the hosts of this job cannot be read: {what}: {error}: name them in UNIDIST_MPI_HOSTS"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_host_is_recognised_by_any_name() {
        assert!(is_own("localhost", "node1"));
        assert!(is_own("127.0.0.1", "node1"));
        assert!(is_own("node1.example.org", "node1"));
        assert!(!is_own("192.0.2.77", "node1"));
    }

    #[test]
    fn list_of_this_host_alone_needs_no_mpi() {
        let own = [HostName::parse("localhost:3").unwrap()];
        let hosts = hosts(&own).unwrap();
        assert_eq!((hosts.further.len(), hosts.own_slots), (0, Some(3)));
    }
}
