//! Launchers: programs that start a part with MPI, called as `LAUNCHER PROGRAM ARGUMENT...`. They are made by
//! `cargo xtask bench --backend mpi` and `cargo xtask bench spmd`.

use crate::{Result, number};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Launchers, by what they start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Launchers {
    /// For sessions, by the number of workers.
    sessions: BTreeMap<usize, PathBuf>,
    /// For two ranks, one per host if there are several hosts.
    ranks: Option<PathBuf>,
    /// For the peers, by the number of processes.
    peers: BTreeMap<usize, PathBuf>,
    /// For SPMD programs, by the number of hosts.
    spmd: BTreeMap<usize, PathBuf>,
}

impl Launchers {
    /// Sets an option. Returns `false` if it is not a launcher.
    pub(crate) fn set(&mut self, option: &str, value: &str) -> Result<bool> {
        match option {
            "--launcher" => self.sessions.extend([numbered(option, value)?]),
            "--ranks-launcher" => self.ranks = Some(value.into()),
            "--peers-launcher" => self.peers.extend([numbered(option, value)?]),
            "--spmd-launcher" => self.spmd.extend([numbered(option, value)?]),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The launcher of a session with this number of workers.
    pub(crate) fn for_session(&self, workers: usize) -> Result<&Path> {
        found(self.sessions.get(&workers), || format!("{workers} workers"))
    }

    /// The launcher of two ranks.
    pub(crate) fn for_ranks(&self) -> Result<&Path> {
        found(self.ranks.as_ref(), || "two ranks".to_owned())
    }

    /// The launcher of a peer with this number of processes, if there is one.
    pub(crate) fn for_peer(&self, processes: usize) -> Option<&Path> {
        self.peers.get(&processes).map(PathBuf::as_path)
    }

    /// The launcher of SPMD ranks on this number of hosts, if there is one.
    pub(crate) fn for_spmd(&self, hosts: usize) -> Option<&Path> {
        self.spmd.get(&hosts).map(PathBuf::as_path)
    }
}

fn found(launcher: Option<&PathBuf>, what: impl FnOnce() -> String) -> Result<&Path> {
    launcher.map(PathBuf::as_path).ok_or_else(|| format!("there is no launcher for {}", what()).into())
}

/// `4=FILE`.
fn numbered(option: &str, value: &str) -> Result<(usize, PathBuf)> {
    let (count, file) = value.split_once('=').ok_or_else(|| format!("{option} {value}: expected N=FILE"))?;
    Ok((number(option, count)?, file.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_found_by_their_keys() {
        let mut launchers = Launchers::default();
        for (option, value) in [
            ("--launcher", "4=a"),
            ("--ranks-launcher", "b"),
            ("--peers-launcher", "6=c=d"),
            ("--spmd-launcher", "2=e"),
        ] {
            assert!(launchers.set(option, value).unwrap());
        }
        assert_eq!(launchers.for_session(4).unwrap(), Path::new("a"));
        assert_eq!(launchers.for_ranks().unwrap(), Path::new("b"));
        assert_eq!(launchers.for_peer(6), Some(Path::new("c=d")));
        assert_eq!((launchers.for_spmd(2), launchers.for_spmd(1)), (Some(Path::new("e")), None));
        let error = launchers.for_session(3).unwrap_err().to_string();
        assert!(error.contains("3 workers"), "{error}");
        assert!(!launchers.set("--json", "a").unwrap());
        assert!(launchers.set("--launcher", "a").is_err());
    }
}
