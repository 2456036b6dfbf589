//! Virtual hosts on this machine, for what has to cross hosts.
//!
//! A virtual host has a network namespace with an address on a private switch, a host name, and a `/dev/shm`. To the
//! processes on it, which are ordinary processes of this machine, it looks like a host: MPI sees several nodes, shared
//! memory ends at the host, and a host can be cut off. Files and process ids are the machine's. Nothing leaves the
//! machine.
//!
//! [`Cluster`] is the value, [`claim`] says whose it is, [`network`] makes it, [`cpus`] gives its hosts CPUs,
//! [`command`] is `cluster` of the command line. It needs root and `ip`.

mod claim;
pub(crate) mod command;
mod cpus;
mod network;
#[cfg(test)]
mod tests;

use crate::{Result, apt};
use claim::Claim;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// How many hosts a cluster may have.
pub(crate) const MOST: usize = 99;

/// Some virtual hosts. Those that a process has made end with this value, and all processes on them; if the process
/// is killed, the next one that makes a cluster removes them.
#[derive(Debug)]
pub(crate) struct Cluster {
    letter: char,
    hosts: Vec<String>,
    /// None: it stays.
    claim: Option<Claim>,
}

impl Cluster {
    /// Makes a cluster, with names that no other has, after removing those that killed processes have left behind.
    pub(crate) fn up(hosts: usize) -> Result<Self> {
        possible()?;
        if !(1..=MOST).contains(&hosts) {
            return Err(format!("a cluster has 1 to {MOST} hosts, not {hosts}").into());
        }
        remove_leftovers()?;
        for letter in claim::LETTERS {
            if let Some(claim) = Claim::of(letter)?
                && !claim::is_kept(letter)
            {
                network::remove(letter)?;
                // What is made so far ends with it, if the rest fails.
                let mut cluster = Cluster { letter, hosts: Vec::new(), claim: Some(claim) };
                network::make(letter, hosts)?;
                cluster.hosts = network::hosts(letter);
                return Ok(cluster);
            }
        }
        Err("there are as many clusters as there can be: `cargo xtask cluster list`".into())
    }

    /// Gives each host a share of this machine's CPUs, which no process of another host uses.
    pub(crate) fn share_out_cpus(&self) -> Result {
        for (host, group) in self.hosts.iter().zip(cpus::share_out(&self.hosts)?) {
            fs::write(
                network::group_file(self.letter, host),
                group.join("cgroup.procs").display().to_string(),
            )?;
        }
        Ok(())
    }

    /// The cluster of a host, made by whomever.
    pub(crate) fn of(host: &str) -> Result<Self> {
        possible()?;
        let found = network::letter_of(host).map(Self::with_letter);
        found
            .filter(|cluster| cluster.hosts.iter().any(|name| name == host))
            .ok_or_else(|| format!("there is no host {host}: `cargo xtask cluster list`").into())
    }

    fn with_letter(letter: char) -> Self {
        Cluster { letter, hosts: network::hosts(letter), claim: None }
    }

    /// Lets it stay until `cluster down`.
    pub(crate) fn keep(mut self) -> Result<Self> {
        if let Some(claim) = &self.claim {
            claim.keep()?;
        }
        self.claim = None;
        Ok(self)
    }

    /// The names of the hosts.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// A command on a host.
    pub(crate) fn command(&self, host: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(self.entry());
        command.arg(host).arg(program);
        command
    }

    /// A program that is called with a host and a command, to run it there.
    pub(crate) fn entry(&self) -> PathBuf {
        claim::folder_of(self.letter).join("enter")
    }

    /// What takes the place of ssh: a program that is called with a host and a command.
    pub(crate) fn agent(&self) -> PathBuf {
        claim::folder_of(self.letter).join("agent")
    }

    /// The folders that are the hosts' /dev/shm.
    pub(crate) fn shared_memory(&self) -> Result<Vec<PathBuf>> {
        self.hosts.iter().map(|host| network::shared_memory(host)).collect()
    }

    /// Takes a host off the switch. Nobody is told: what is sent is lost.
    pub(crate) fn cut(&self, host: &str) -> Result {
        network::connect(host, false)
    }

    /// Lets no more than this many megabits a second go to a host; as many as can be if that is none.
    pub(crate) fn throttle(&self, host: &str, megabits: Option<u32>) -> Result {
        network::throttle(host, megabits)
    }

    /// Connects it again.
    pub(crate) fn heal(&self, host: &str) -> Result {
        network::connect(host, true)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.claim.is_some()
            && let Err(error) = network::remove(self.letter)
        {
            eprintln!("warning: {error}");
        }
    }
}

/// An error that says why there can be no virtual hosts here, if so. What is missing is installed where that is
/// allowed.
pub(crate) fn possible() -> Result {
    if !apt::is_root() {
        return Err("virtual hosts need root".into());
    }
    for (program, package) in [("ip", "iproute2"), ("nsenter", "util-linux"), ("mount", "mount")] {
        if apt::folder_of(program).is_none() {
            apt::install(&[package], &format!("virtual hosts need `{program}`"))?;
        }
    }
    Ok(())
}

/// Removes the clusters that belong to no process and are not to stay.
fn remove_leftovers() -> Result {
    for letter in claim::letters() {
        if let Some(_claim) = Claim::of(letter)?
            && !claim::is_kept(letter)
        {
            network::remove(letter)?;
        }
    }
    Ok(())
}
