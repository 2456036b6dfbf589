//! The programs that start a part with MPI: `LAUNCHER PROGRAM WORD...`. `cargo xtask bench --backend mpi` and
//! `cargo xtask bench spmd` make them.

use crate::{Result, number};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Launchers, by what they start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Launchers {
    /// By the number of workers that there are then.
    sessions: BTreeMap<usize, PathBuf>,
    /// Two ranks, one a host where there are several.
    ranks: Option<PathBuf>,
    /// For the peers, by the number of processes.
    peers: BTreeMap<usize, PathBuf>,
    /// For programs whose ranks all do the same, by the number of hosts.
    spmd: BTreeMap<usize, PathBuf>,
}

impl Launchers {
    /// Takes what an option says; false if it is none of these.
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

    /// What starts a session with so many workers.
    pub(crate) fn of_session(&self, workers: usize) -> Result<&Path> {
        found(self.sessions.get(&workers), || format!("{workers} workers"))
    }

    /// What starts two ranks.
    pub(crate) fn of_ranks(&self) -> Result<&Path> {
        found(self.ranks.as_ref(), || "two ranks".to_owned())
    }

    /// What starts a peer with so many processes, if it is to be started so.
    pub(crate) fn of_peer(&self, processes: usize) -> Option<&Path> {
        self.peers.get(&processes).map(PathBuf::as_path)
    }

    /// What starts the ranks on so many hosts, if they are to be measured there.
    pub(crate) fn of_spmd(&self, hosts: usize) -> Option<&Path> {
        self.spmd.get(&hosts).map(PathBuf::as_path)
    }
}

fn found(launcher: Option<&PathBuf>, what: impl FnOnce() -> String) -> Result<&Path> {
    launcher.map(PathBuf::as_path).ok_or_else(|| format!("there is no launcher for {}", what()).into())
}

/// `4=FILE`.
fn numbered(option: &str, value: &str) -> Result<(usize, PathBuf)> {
    let (count, file) = value.split_once('=').ok_or_else(|| format!("{option} {value}? Expected N=FILE"))?;
    Ok((number(option, count)?, file.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_what_it_starts() {
        let mut launchers = Launchers::default();
        for (option, value) in [
            ("--launcher", "4=a"),
            ("--ranks-launcher", "b"),
            ("--peers-launcher", "6=c=d"),
            ("--spmd-launcher", "2=e"),
        ] {
            assert!(launchers.set(option, value).unwrap());
        }
        assert_eq!(launchers.of_session(4).unwrap(), Path::new("a"));
        assert_eq!(launchers.of_ranks().unwrap(), Path::new("b"));
        assert_eq!(launchers.of_peer(6), Some(Path::new("c=d")));
        assert_eq!((launchers.of_spmd(2), launchers.of_spmd(1)), (Some(Path::new("e")), None));
        let error = launchers.of_session(3).unwrap_err().to_string();
        assert!(error.contains("3 workers"), "{error}");
        assert!(!launchers.set("--json", "a").unwrap());
        assert!(launchers.set("--launcher", "a").is_err());
    }
}
