//! Virtual hosts on this machine, for tests across hosts.
//!
//! A virtual host has a network namespace with an address on a private switch, a host name, and a `/dev/shm`. To the
//! processes on it, which are ordinary processes of this machine, it looks like a host: MPI sees several nodes, shared
//! memory ends at the host, and a host can be cut off. Files and process ids are the machine's. Nothing leaves the
//! machine.
//!
//! [`Cluster`] is the value, [`lock`] its owner, [`network`] creates it, [`cpus`] gives its hosts CPUs,
//! [`command`] is `cluster` of the command line. It needs root and `ip`.

pub(crate) mod command;
mod cpus;
mod lock;
mod network;
#[cfg(test)]
mod tests;

use crate::{Result, apt};
use lock::ClusterLock;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The highest number of hosts of a cluster.
pub(crate) const MAX_HOSTS: usize = 99;

/// Virtual hosts. Unless persistent, they and all processes on them end with this value; if this process is killed, the
/// next one that creates a cluster removes them.
#[derive(Debug)]
pub(crate) struct Cluster {
    letter: char,
    hosts: Vec<String>,
    /// None if it outlives this value.
    lock: Option<ClusterLock>,
}

impl Cluster {
    /// Creates a cluster with unique names, after removing abandoned ones.
    pub(crate) fn up(hosts: usize) -> Result<Self> {
        check_available()?;
        if !(1..=MAX_HOSTS).contains(&hosts) {
            return Err(format!("a cluster has 1 to {MAX_HOSTS} hosts, not {hosts}").into());
        }
        remove_abandoned()?;
        for letter in lock::LETTERS {
            if let Some(lock) = ClusterLock::try_acquire(letter)?
                && !lock::is_persistent(letter)
            {
                network::remove(letter)?;
                // Dropping this removes what has been created, if the rest fails.
                let mut cluster = Cluster { letter, hosts: Vec::new(), lock: Some(lock) };
                network::make(letter, hosts)?;
                cluster.hosts = network::hosts(letter);
                return Ok(cluster);
            }
        }
        Err("all cluster letters are in use: see `cargo xtask cluster list`".into())
    }

    /// Gives each host a share of this machine's CPUs, exclusive among the hosts.
    pub(crate) fn partition_cpus(&self) -> Result {
        for (host, group) in self.hosts.iter().zip(cpus::partition(&self.hosts)?) {
            fs::write(
                network::group_file(self.letter, host),
                group.join("cgroup.procs").display().to_string(),
            )?;
        }
        Ok(())
    }

    /// The cluster of a host, created by any process.
    pub(crate) fn of(host: &str) -> Result<Self> {
        check_available()?;
        let found = network::letter_of(host).map(Self::with_letter);
        found
            .filter(|cluster| cluster.hosts.iter().any(|name| name == host))
            .ok_or_else(|| format!("there is no host {host}: `cargo xtask cluster list`").into())
    }

    fn with_letter(letter: char) -> Self {
        Cluster { letter, hosts: network::hosts(letter), lock: None }
    }

    /// Makes it exist until `cluster down`.
    pub(crate) fn make_persistent(mut self) -> Result<Self> {
        if let Some(lock) = &self.lock {
            lock.make_persistent()?;
        }
        self.lock = None;
        Ok(self)
    }

    /// The names of the hosts.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// A command on a host.
    pub(crate) fn command(&self, host: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(self.enter_script());
        command.arg(host).arg(program);
        command
    }

    /// A script that runs a command on a host: `SCRIPT HOST COMMAND..`.
    pub(crate) fn enter_script(&self) -> PathBuf {
        lock::folder_of(self.letter).join("enter")
    }

    /// A script in place of ssh, with the same arguments.
    pub(crate) fn ssh_substitute(&self) -> PathBuf {
        lock::folder_of(self.letter).join("agent")
    }

    /// The folders that are the hosts' /dev/shm.
    pub(crate) fn shared_memory(&self) -> Result<Vec<PathBuf>> {
        self.hosts.iter().map(|host| network::shared_memory(host)).collect()
    }

    /// Disconnects a host from the switch, without notice: packets are dropped.
    pub(crate) fn cut(&self, host: &str) -> Result {
        network::connect(host, false)
    }

    /// Limits the rate towards a host, in Mbit/s; none removes the limit.
    pub(crate) fn throttle(&self, host: &str, megabits: Option<u32>) -> Result {
        network::throttle(host, megabits)
    }

    /// Reconnects a host.
    pub(crate) fn heal(&self, host: &str) -> Result {
        network::connect(host, true)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.lock.is_some()
            && let Err(error) = network::remove(self.letter)
        {
            eprintln!("warning: {error}");
        }
    }
}

/// Fails with the reason if virtual hosts cannot be created here. Installs missing programs where permitted.
pub(crate) fn check_available() -> Result {
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

/// Removes clusters without an owner that are not persistent.
fn remove_abandoned() -> Result {
    for letter in lock::letters() {
        if let Some(_lock) = ClusterLock::try_acquire(letter)?
            && !lock::is_persistent(letter)
        {
            network::remove(letter)?;
        }
    }
    Ok(())
}
