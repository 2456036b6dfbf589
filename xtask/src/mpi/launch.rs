//! Which command starts a job.

use super::{Kind, Mpi};
use crate::Result;
use crate::cluster::Cluster;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// How workers come to be.
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

/// What is to be started: how many ranks, and where.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) ranks: u32,
    /// The hosts, with the number of ranks that each has room for. None: this machine.
    pub(crate) hosts: Vec<(String, u32)>,
    /// What takes the place of ssh, where there are hosts.
    pub(crate) agent: Option<PathBuf>,
    /// The words that have a command run on the first host, where the job is started from another one.
    pub(crate) entry: Vec<OsString>,
}

impl Job {
    /// On this machine.
    pub(crate) fn here(ranks: u32) -> Self {
        Job { ranks, hosts: Vec::new(), agent: None, entry: Vec::new() }
    }

    /// So many ranks on each of the first virtual hosts.
    pub(crate) fn across(cluster: &Cluster, ranks: &[u32]) -> Self {
        let hosts = cluster.hosts().iter().cloned().zip(ranks.iter().copied()).collect();
        Job { ranks: ranks.iter().sum(), hosts, agent: Some(cluster.agent()), entry: Vec::new() }
    }

    /// Started from outside of the cluster, and not on its first host.
    pub(crate) fn started_outside(self, cluster: &Cluster) -> Self {
        let first = self.hosts.first().map(|(host, _)| OsString::from(host));
        Job { entry: std::iter::once(cluster.entry().into_os_string()).chain(first).collect(), ..self }
    }

    /// Only so many ranks at first; the hosts have room for more.
    pub(crate) fn starting_with(self, ranks: u32) -> Self {
        Job { ranks, ..self }
    }

    /// `a:3,b:2`.
    fn rooms(&self) -> String {
        let rooms: Vec<String> = self.hosts.iter().map(|(host, room)| format!("{host}:{room}")).collect();
        rooms.join(",")
    }
}

impl Mpi {
    /// The words before the program. There may be more ranks than cores, and no rank is bound to one.
    pub(crate) fn mpiexec(&self, job: &Job) -> Result<Vec<OsString>> {
        let mut words = job.entry.clone();
        words.push(self.bin.join("mpiexec").into_os_string());
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        let (ranks, rooms) = (job.ranks.to_string(), job.rooms());
        match self.kind {
            Kind::OpenMpi4 => add(&["--oversubscribe", "--bind-to", "none", "-n", &ranks]),
            Kind::OpenMpi5 => add(&["--map-by", ":oversubscribe", "--bind-to", "none", "-n", &ranks]),
            Kind::Mpich | Kind::Intel => add(&["-n", &ranks]),
        }
        let Some(agent) = &job.agent else { return Ok(words) };
        let agent = agent.to_str().ok_or("a path that is no text")?;
        match self.kind {
            // Their agent is a setting: see `run_environment`.
            Kind::OpenMpi4 | Kind::OpenMpi5 => add(&["--host", &rooms]),
            Kind::Mpich => {
                add(&["-launcher", "rsh", "-launcher-exec", agent, "-iface", "eth0", "-hosts", &rooms])
            }
            // It does not heed rooms, but takes a host as often as it is named.
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
