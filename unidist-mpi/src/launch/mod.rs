//! Which hosts a session has, and how MPI starts a process on each.
//!
//! The hosts are, in this order of precedence: those of `UNIDIST_MPI_HOSTS`; those that `mpiexec` was given, which is
//! found among the processes above this one, since no MPI hands its list on to the processes that it starts; those of
//! the batch system (Slurm, PBS, LSF, SGE). The program's own host always comes first, listed or not.

mod batch;
mod command_line;
mod lists;
mod patience;
mod start;

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use unidist_common::{Error, Result};
use unidist_config::HostName;
use unidist_engine::host::{host_address, host_name};

pub(crate) use patience::say_when_long;
pub(crate) use start::{check_before_init, start_monitors};

/// The hosts of a session to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// All that were listed.
    pub all: Vec<HostName>,
    /// Those besides the program's own.
    pub further: Vec<HostName>,
    /// The CPU slots that the list gives to the program's own.
    pub own_slots: Option<usize>,
    /// Whether the launcher knows all of them.
    pub of_launcher: bool,
}

impl Hosts {
    /// The further ones' names, separated by commas.
    pub(crate) fn names(&self) -> String {
        self.further.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// Whether an MPI launcher has started this process. Batch systems alone are none: their variables are there for
/// whatever they start.
pub fn under_launcher() -> bool {
    const SAY_SO: [&str; 6] =
        ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_FD", "PMI_PORT", "PMIX_RANK", "MPI_LOCALNRANKS"];
    SAY_SO.iter().any(|name| std::env::var_os(name).is_some())
}

/// Whether the launcher lets a job go on when one of its processes dies, as far as it says so.
pub fn survives_death() -> bool {
    let given = std::env::var("OMPI_MCA_orte_enable_recovery").unwrap_or_default();
    matches!(given.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "t" | "y")
}

/// How many processes the launcher has started, where it says so.
pub fn size() -> Option<usize> {
    const SAY_SO: [&str; 4] =
        ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"];
    let read = |name: &&str| std::env::var(name).ok()?.parse().ok();
    under_launcher().then(|| SAY_SO.iter().find_map(read)).flatten()
}

/// The hosts, of which the settings give these.
///
/// # Errors
///
/// A list of hosts that the environment names cannot be read.
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

/// Whether a name is one of this host: its own, or one with an address of it.
fn is_own(other: &str, name: &str) -> bool {
    if crate::topology::is_same_host(other, name, &host_address()) {
        return true;
    }
    let local = |address: SocketAddr| UdpSocket::bind(SocketAddr::new(address.ip(), 0)).is_ok();
    (other, 0).to_socket_addrs().is_ok_and(|mut addresses| addresses.any(local))
}

fn unreadable(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Launch {
        message: format!(
            "the hosts of this job are unknown: {what}: {error}; name them in UNIDIST_MPI_HOSTS"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_many_names() {
        assert!(is_own("localhost", "node1"));
        assert!(is_own("127.0.0.1", "node1"));
        assert!(is_own("node1.example.org", "node1"));
        assert!(!is_own("192.0.2.77", "node1"));
    }

    #[test]
    fn a_list_of_this_host_alone_needs_no_mpi() {
        let own = [HostName::parse("localhost:3").unwrap()];
        let hosts = hosts(&own).unwrap();
        assert_eq!((hosts.further.len(), hosts.own_slots), (0, Some(3)));
    }
}
