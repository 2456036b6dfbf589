//! The command that starts a job.

use super::{Kind, Mpi};
use crate::Result;
use crate::cluster::Cluster;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// How workers are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// mpiexec starts the program alone, which starts the rest.
    Spawn,
    /// mpiexec starts all: the program, a monitor on each host, and the workers.
    Spmd,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Spawn => "spawn",
            Mode::Spmd => "spmd",
        })
    }
}

/// A job: how many ranks, and where.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) ranks: u32,
    /// The hosts with their slots; empty for this machine.
    pub(crate) hosts: Vec<(String, u32)>,
    /// The script in place of ssh, if there are hosts.
    pub(crate) agent: Option<PathBuf>,
    /// The command prefix that enters the first host, if the job is started from outside.
    pub(crate) entry: Vec<OsString>,
}

impl Job {
    /// On this machine.
    pub(crate) fn local(ranks: u32) -> Self {
        Job { ranks, hosts: Vec::new(), agent: None, entry: Vec::new() }
    }

    /// These numbers of ranks on the first hosts of the cluster.
    pub(crate) fn on_cluster(cluster: &Cluster, ranks: &[u32]) -> Self {
        let hosts = cluster.hosts().iter().cloned().zip(ranks.iter().copied()).collect();
        Job { ranks: ranks.iter().sum(), hosts, agent: Some(cluster.ssh_substitute()), entry: Vec::new() }
    }

    /// Started from outside the cluster instead of on its first host.
    pub(crate) fn launched_from_outside(self, cluster: &Cluster) -> Self {
        let first = self.hosts.first().map(|(host, _)| OsString::from(host));
        Job { entry: std::iter::once(cluster.enter_script().into_os_string()).chain(first).collect(), ..self }
    }

    /// Starts only this many ranks; the other slots stay free.
    pub(crate) fn with_initial_ranks(self, ranks: u32) -> Self {
        Job { ranks, ..self }
    }

    /// `a:3,b:2`.
    fn slots(&self) -> String {
        let slots: Vec<String> = self.hosts.iter().map(|(host, room)| format!("{host}:{room}")).collect();
        slots.join(",")
    }
}

impl Mpi {
    /// The command before the program. Allows more ranks than cores, and binds none.
    pub(crate) fn mpiexec(&self, job: &Job) -> Result<Vec<OsString>> {
        let mut words = job.entry.clone();
        words.push(self.bin.join("mpiexec").into_os_string());
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        let (ranks, slots) = (job.ranks.to_string(), job.slots());
        match self.kind {
            Kind::OpenMpi4 => add(&["--oversubscribe", "--bind-to", "none", "-n", &ranks]),
            Kind::OpenMpi5 => add(&["--map-by", ":oversubscribe", "--bind-to", "none", "-n", &ranks]),
            Kind::Mpich | Kind::Intel => add(&["-n", &ranks]),
        }
        let Some(agent) = &job.agent else { return Ok(words) };
        let agent = agent.to_str().ok_or("a path is not valid UTF-8")?;
        match self.kind {
            // Their agent is a variable: see `run_environment`.
            Kind::OpenMpi4 | Kind::OpenMpi5 => add(&["--host", &slots]),
            Kind::Mpich => {
                add(&["-launcher", "rsh", "-launcher-exec", agent, "-iface", "eth0", "-hosts", &slots])
            }
            // It ignores slots, but starts one rank each time a host is named.
            Kind::Intel => {
                let places = job.hosts.iter().flat_map(|(host, room)| vec![host.as_str(); *room as usize]);
                let places = places.collect::<Vec<_>>().join(",");
                add(&["-launcher", "rsh", "-launcher-exec", agent, "-iface", "eth0"]);
                add(&["-ppn", "1", "-hosts", &places]);
            }
        }
        Ok(words)
    }
}
