//! Where the measured sessions run: the backend, and for `mpi` how its processes are started and on how many hosts.

use crate::Result;
use std::fmt;
use std::str::FromStr;

/// The backend and its hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Environment {
    /// `pymp`: this machine.
    #[default]
    Pymp,
    /// `mpi`: a launcher starts only the program, on the first of this many hosts.
    Spawn(usize),
    /// `mpi`: a launcher starts all ranks, on this many hosts.
    Spmd(usize),
}

impl Environment {
    /// The number of hosts.
    pub(crate) fn hosts(self) -> usize {
        match self {
            Environment::Pymp => 1,
            Environment::Spawn(hosts) | Environment::Spmd(hosts) => hosts,
        }
    }

    /// Whether the backend is `mpi`.
    pub(crate) fn is_mpi(self) -> bool {
        self != Environment::Pymp
    }

    /// Whether a session may have this number of workers.
    pub(crate) fn allows(self, workers: usize) -> bool {
        match self {
            Environment::Pymp | Environment::Spawn(_) => true,
            // Each host has at least one rank for a worker.
            Environment::Spmd(hosts) => workers >= hosts,
        }
    }

    /// Whether a process can have several sessions in turn. The ranks of a job cannot, and some MPIs do not start
    /// processes twice.
    pub(crate) fn allows_several_sessions(self) -> bool {
        matches!(self, Environment::Pymp | Environment::Spawn(1))
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Environment::Pymp => f.write_str("pymp"),
            Environment::Spawn(hosts) => write!(f, "spawn:{hosts}"),
            Environment::Spmd(hosts) => write!(f, "spmd:{hosts}"),
        }
    }
}

impl FromStr for Environment {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Environment> {
        let hosts = |text: &str| text.parse().ok().filter(|&hosts: &usize| hosts > 0);
        let environment = match text.split_once(':') {
            None if text == "pymp" => Some(Environment::Pymp),
            Some(("spawn", number)) => hosts(number).map(Environment::Spawn),
            Some(("spmd", number)) => hosts(number).map(Environment::Spmd),
            _ => None,
        };
        environment.ok_or_else(|| {
            format!("unknown environment `{text}`: expected pymp, spawn:HOSTS or spmd:HOSTS").into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_survives_display_and_parse() {
        for environment in [Environment::Pymp, Environment::Spawn(1), Environment::Spmd(3)] {
            assert_eq!(environment.to_string().parse::<Environment>().unwrap(), environment);
        }
        for wrong in ["", "mpi", "spawn", "spawn:0", "spmd:x"] {
            assert!(wrong.parse::<Environment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn spmd_needs_a_worker_per_host() {
        assert!(Environment::Spawn(2).allows(1));
        assert!(!Environment::Spmd(2).allows(1));
        assert!(Environment::Spmd(2).allows(2));
    }
}
