//! Where the sessions are that are measured: the backend, and for `mpi` how its processes are started and on how many
//! hosts.

use crate::Result;
use std::fmt;
use std::str::FromStr;

/// The backend, with what there is to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// `pymp`: this machine.
    #[default]
    Pymp,
    /// `mpi`: a launcher starts the program alone, on the first of so many hosts.
    Spawn(usize),
    /// `mpi`: a launcher starts all, on so many hosts.
    Spmd(usize),
}

impl Place {
    /// How many hosts there are.
    pub(crate) fn hosts(self) -> usize {
        match self {
            Place::Pymp => 1,
            Place::Spawn(hosts) | Place::Spmd(hosts) => hosts,
        }
    }

    /// Whether the backend is `mpi`.
    pub(crate) fn is_mpi(self) -> bool {
        self != Place::Pymp
    }

    /// Whether a session may have so few workers.
    pub(crate) fn allows(self, workers: usize) -> bool {
        match self {
            Place::Pymp | Place::Spawn(_) => true,
            // Each host has a rank for one.
            Place::Spmd(hosts) => workers >= hosts,
        }
    }

    /// Whether a process can have one session after the other: not the ranks of a job, and not all MPIs start
    /// processes twice.
    pub(crate) fn allows_several_sessions(self) -> bool {
        matches!(self, Place::Pymp | Place::Spawn(1))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Pymp => f.write_str("pymp"),
            Place::Spawn(hosts) => write!(f, "spawn:{hosts}"),
            Place::Spmd(hosts) => write!(f, "spmd:{hosts}"),
        }
    }
}

impl FromStr for Place {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Place> {
        let hosts = |text: &str| text.parse().ok().filter(|&hosts: &usize| hosts > 0);
        let place = match text.split_once(':') {
            None if text == "pymp" => Some(Place::Pymp),
            Some(("spawn", number)) => hosts(number).map(Place::Spawn),
            Some(("spmd", number)) => hosts(number).map(Place::Spmd),
            _ => None,
        };
        place.ok_or_else(|| format!("`{text}`? Expected pymp, spawn:HOSTS or spmd:HOSTS").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_were_written() {
        for place in [Place::Pymp, Place::Spawn(1), Place::Spmd(3)] {
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
        for wrong in ["", "mpi", "spawn", "spawn:0", "spmd:x"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_host_has_a_rank_for_a_worker() {
        assert!(Place::Spawn(2).allows(1));
        assert!(!Place::Spmd(2).allows(1));
        assert!(Place::Spmd(2).allows(2));
    }
}
