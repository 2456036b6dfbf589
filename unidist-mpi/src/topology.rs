//! Which process runs on which host, and its role. Every process introduces itself to all others, and all of them compute
//! the same topology.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use unidist_common::{Error, Result, codec};
use unidist_engine::hosts::{is_same_host, make_addresses_distinct};

/// What a process announces of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Introduction {
    /// The version of the crate.
    pub version: String,
    /// The build of the executable.
    pub build_id: String,
    /// The name of the host.
    pub host: String,
    /// The address of the host.
    pub ip: String,
    /// The lowest rank that shares memory with this one.
    pub first_on_host: u32,
    /// The CPU slots of the host.
    pub cpus: u32,
    /// The other resources of the host, by name.
    pub resources: BTreeMap<String, f64>,
    /// The size of the object store of the host in bytes, unless the settings of rank 0 say otherwise.
    pub object_store_memory: u64,
    /// The CPUs to which the launcher has bound this process.
    pub binding: Vec<u32>,
    /// The process id.
    pub pid: u32,
    /// Why it cannot take part, if it cannot.
    pub error: Option<String>,
    /// Settings of the whole session. Those of rank 0 hold for all, because launchers do not pass every variable to each host.
    pub common: CommonSettings,
}

/// The settings that must be the same in all processes of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommonSettings {
    /// Whether MPI spawns the monitors.
    pub spawn: bool,
    /// The silence after which a host is lost.
    pub host_timeout: Duration,
    /// What is logged.
    pub log: LogSettings,
    /// The CPU slots of hosts, as far as the list of hosts gives them.
    pub slots: Vec<(String, u32)>,
}

/// What the processes of a session log, and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Whether each message between hosts is logged, whatever the filter is.
    pub network: bool,
    /// `RUST_LOG` of the program.
    pub filter: String,
    /// The folder of the log files; standard error if there is none.
    pub folder: Option<PathBuf>,
}

/// A host of the session.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its address, or its name if another host has the same address.
    pub ip: String,
    /// Its CPU slots.
    pub cpus: usize,
    /// Its other resources, by name.
    pub resources: BTreeMap<String, f64>,
    /// The size of its object store in bytes, unless the settings of rank 0 say otherwise.
    pub object_store_memory: u64,
    /// The rank of the process that connects it to the network: the controller or a monitor.
    pub engine: usize,
    /// The process id of that process.
    pub engine_pid: u32,
    /// The ranks that each give a worker its slot and its CPUs; none in spawn mode.
    pub workers: Vec<(usize, Vec<u32>)>,
    /// The monitor, in SPMD mode: the lowest rank that is not the controller.
    pub monitor: Option<usize>,
    /// The CPUs of one more worker, if the rank of the engine gives a slot, too.
    pub engine_worker_cpus: Option<Vec<u32>>,
}

impl Host {
    /// Whether its workers take the slots of ranks that the launcher started.
    pub fn has_worker_ranks(&self) -> bool {
        self.monitor.is_some() || self.bindings().next().is_some()
    }

    /// The CPUs of each worker, if workers take the slots of ranks.
    pub fn bindings(&self) -> impl Iterator<Item = &[u32]> {
        self.engine_worker_cpus.iter().chain(self.workers.iter().map(|(_, cpus)| cpus)).map(Vec::as_slice)
    }

    /// The ranks that only sleep: neither the controller nor a monitor that connects its host.
    pub fn sleepers(&self) -> impl Iterator<Item = usize> {
        let monitor = self.monitor.filter(|monitor| *monitor != self.engine);
        monitor.into_iter().chain(self.workers.iter().map(|(rank, _)| *rank))
    }
}

/// The hosts; the first is the controller's.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The hosts, by number.
    pub hosts: Vec<Host>,
}

impl Introduction {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let bytes = codec::encode(self).map_err(|error| Error::Encode {
            type_name: "Introduction".into(),
            message: error.to_string(),
        })?;
        Ok(bytes.into())
    }

    /// All introductions, by rank.
    pub(crate) fn decode_all(said: &[Vec<u8>]) -> Result<Vec<Introduction>> {
        let decoded = said.iter().enumerate().map(|(rank, bytes)| {
            codec::decode(bytes).map_err(|_| {
                launch(format!(
                    "rank {rank} runs another version of unidist: start the same executable on all hosts"
                ))
            })
        });
        decoded.collect()
    }

    fn host(&self, first: u32) -> Host {
        Host {
            name: self.host.clone(),
            ip: self.ip.clone(),
            cpus: self.cpus as usize,
            resources: self.resources.clone(),
            object_store_memory: self.object_store_memory,
            engine: first as usize,
            engine_pid: self.pid,
            workers: Vec::new(),
            monitor: None,
            engine_worker_cpus: None,
        }
    }
}

fn launch(message: String) -> Error {
    Error::Launch { message }
}

/// Checks that all processes run the same executable, and can take part.
fn check(all: &[Introduction]) -> Result<()> {
    let Some(first) = all.first() else { return Ok(()) };
    if let Some((host, why)) = all.iter().find_map(|one| Some((&one.host, one.error.as_ref()?))) {
        return Err(launch(format!("on {host}: {why}")));
    }
    for (rank, other) in all.iter().enumerate() {
        let what = if other.version != first.version {
            format!("another version of unidist ({}, not {})", other.version, first.version)
        } else if other.build_id != first.build_id {
            format!("another executable (build {}, not {})", other.build_id, first.build_id)
        } else {
            continue;
        };
        return Err(launch(format!(
            "rank {rank}, on {}, runs {what} than rank 0 on {}: start the same executable on all hosts",
            other.host, first.host
        )));
    }
    Ok(())
}

impl Topology {
    /// The topology of spawn mode: the first process has spawned the others, one on each further host.
    ///
    /// # Errors
    ///
    /// They run different executables, or MPI has put two of them on one host.
    pub fn of_spawned(all: &[Introduction]) -> Result<Topology> {
        check(all)?;
        let hosts: Vec<_> = (0..).zip(all).map(|(rank, one)| one.host(rank)).collect();
        let mut seen = BTreeSet::new();
        for host in &hosts {
            if !seen.insert((&host.name, &host.ip)) {
                return Err(launch(format!(
                    "MPI started two monitors on {} instead of one on each host: name each host once in UNIDIST_MPI_HOSTS, under the name \
                     that the MPI launcher knows",
                    host.name
                )));
            }
        }
        Ok(Topology { hosts }.with_settings_of_root(all))
    }

    /// The topology of SPMD mode, in which a launcher started all processes: the first is the controller, the next one on each
    /// host is its monitor, and each other one gives its slot to a worker.
    ///
    /// # Errors
    ///
    /// They run different executables, or a host has no process for a worker.
    pub fn of_ranks(all: &[Introduction]) -> Result<Topology> {
        check(all)?;
        if all.first().is_some_and(|first| first.common.spawn) {
            return Err(launch(format!(
                "the MPI launcher started {} processes: start one (`mpiexec -n 1`) and let unidist spawn its own, or set \
                 UNIDIST_MPI_SPAWN=false to use the others as worker slots",
                all.len()
            )));
        }
        if all.len() < 3 {
            return Err(launch(format!(
                "with UNIDIST_MPI_SPAWN=false at least three processes are needed (the program, a monitor, a worker), \
                 and there {}: start more (`mpiexec -n 4`), or let unidist spawn its own (unset UNIDIST_MPI_SPAWN)",
                if all.len() == 1 { "is one".to_owned() } else { format!("are {}", all.len()) }
            )));
        }
        let mut hosts: Vec<Host> = Vec::new();
        let mut places = BTreeMap::new();
        for (rank, one) in (0..).zip(all) {
            let place = *places.entry((&one.host, one.first_on_host)).or_insert_with(|| {
                hosts.push(one.host(rank));
                hosts.len() - 1
            });
            let host = &mut hosts[place];
            let rank = rank as usize;
            match (rank, host.monitor) {
                (0, _) => {}
                (_, None) => host.monitor = Some(rank),
                _ => host.workers.push((rank, one.binding.clone())),
            }
        }
        for host in &hosts {
            if host.workers.is_empty() {
                let first = host.engine == 0;
                return Err(launch(format!(
                    "{} has no process for a worker: with UNIDIST_MPI_SPAWN=false it needs at least {}",
                    host.name,
                    if first {
                        "three (the program, a monitor, a worker)"
                    } else {
                        "two (a monitor, a worker)"
                    },
                )));
            }
        }
        Ok(Topology { hosts }.with_settings_of_root(all))
    }

    /// The topology of a session on a communicator: the first rank is the controller, and each other one gives its slot to a
    /// worker. The first of these on each further host also runs the monitor. A single rank is controller and slot.
    ///
    /// # Errors
    ///
    /// They run different executables.
    pub fn of_communicator(all: &[Introduction]) -> Result<Topology> {
        check(all)?;
        let mut hosts: Vec<Host> = Vec::new();
        let mut places = BTreeMap::new();
        for (rank, one) in (0..).zip(all) {
            match places.get(&(&one.host, one.first_on_host)) {
                Some(place) => {
                    let host: &mut Host = &mut hosts[*place];
                    host.workers.push((rank as usize, one.binding.clone()));
                }
                None => {
                    places.insert((&one.host, one.first_on_host), hosts.len());
                    let works = rank > 0 || all.len() == 1;
                    hosts.push(Host {
                        engine_worker_cpus: works.then(|| one.binding.clone()),
                        ..one.host(rank)
                    });
                }
            }
        }
        Ok(Topology { hosts }.with_distinct_addresses())
    }

    /// Applies the slots that rank 0 knows, and makes the addresses distinct.
    fn with_settings_of_root(mut self, all: &[Introduction]) -> Self {
        let slots = all.first().map(|first| first.common.slots.as_slice()).unwrap_or_default();
        for host in &mut self.hosts {
            let named = slots.iter().find(|(name, _)| is_same_host(name, &host.name, &host.ip));
            if let Some((_, cpus)) = named {
                host.cpus = *cpus as usize;
            }
        }
        self.with_distinct_addresses()
    }

    /// The number of the host that this rank connects to the network, if it does.
    pub fn place_of_engine(&self, rank: usize) -> Option<u16> {
        let place = self.hosts.iter().position(|host| host.engine == rank)?;
        u16::try_from(place).ok()
    }

    /// The host on which a rank sleeps.
    pub fn host_of_sleeper(&self, rank: usize) -> Option<&Host> {
        self.hosts
            .iter()
            .find(|host| host.monitor == Some(rank) || host.workers.iter().any(|(worker, _)| *worker == rank))
    }

    /// The addresses tell the hosts apart, as the engine lists hosts by address.
    fn with_distinct_addresses(mut self) -> Self {
        make_addresses_distinct(self.hosts.iter_mut().map(|host| (host.name.as_str(), &mut host.ip)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(hosts: &[&str]) -> Vec<Introduction> {
        let first = |host: &str| hosts.iter().position(|other| *other == host).unwrap() as u32;
        (0..)
            .zip(hosts)
            .map(|(rank, host)| Introduction {
                version: "1".into(),
                build_id: "a".into(),
                host: (*host).into(),
                ip: format!("ip-{host}"),
                first_on_host: first(host),
                cpus: 2,
                resources: BTreeMap::new(),
                object_store_memory: 1 << 20,
                binding: vec![rank],
                pid: 100 + rank,
                error: None,
                common: CommonSettings {
                    spawn: false,
                    host_timeout: Duration::ZERO,
                    log: LogSettings::default(),
                    slots: Vec::new(),
                },
            })
            .collect()
    }

    #[test]
    fn introductions_survive_their_encoding() {
        let all = ranks(&["a", "b"]);
        let said: Vec<_> = all.iter().map(|one| one.encode().unwrap()).collect();
        assert_eq!(Introduction::decode_all(&said), Ok(all));
        assert!(Introduction::decode_all(&[vec![1, 2]]).unwrap_err().to_string().contains("rank 0"));
    }

    #[test]
    fn process_that_cannot_take_part_says_why() {
        let mut all = ranks(&["a", "b"]);
        all[1].error = Some("no".into());
        assert_eq!(Topology::of_spawned(&all).unwrap_err(), launch("on b: no".into()));
    }

    #[test]
    fn roles_are_assigned_in_rank_order() {
        let topology = Topology::of_ranks(&ranks(&["a", "b", "a", "b", "a", "b"])).unwrap();
        let [a, b] = &topology.hosts[..] else { panic!("{topology:?}") };
        assert_eq!((a.engine, a.monitor, &a.workers[..]), (0, Some(2), &[(4, vec![4])][..]));
        assert_eq!((b.engine, b.monitor, &b.workers[..]), (1, Some(1), &[(3, vec![3]), (5, vec![5])][..]));
        assert_eq!((a.engine_pid, b.engine_pid), (100, 101));
        let sleepers: Vec<_> = topology.hosts.iter().flat_map(Host::sleepers).collect();
        assert_eq!(sleepers, [2, 4, 3, 5]);
        assert_eq!([0, 1, 2].map(|rank| topology.place_of_engine(rank)), [Some(0), Some(1), None]);
        assert_eq!(topology.host_of_sleeper(3).unwrap().name, "b");
    }

    #[test]
    fn too_few_ranks_are_refused() {
        let text = |hosts: &[&str]| Topology::of_ranks(&ranks(hosts)).unwrap_err().to_string();
        assert!(text(&["a", "a"]).contains("there are 2"));
        assert!(text(&["a"]).contains("there is one"));
        assert!(text(&["a", "a", "b", "b"]).contains("a has no process for a worker"));
        assert!(text(&["a", "a", "a", "b"]).contains("b has no process for a worker"));
        let mut all = ranks(&["a", "a", "a", "a"]);
        all[0].common.spawn = true;
        assert!(Topology::of_ranks(&all).unwrap_err().to_string().contains("started 4 processes"));
    }

    #[test]
    fn different_executables_are_refused() {
        let mut all = ranks(&["a", "a", "a"]);
        all[2].build_id = "b".into();
        let text = Topology::of_ranks(&all).unwrap_err().to_string();
        assert!(text.contains("rank 2") && text.contains("another executable"), "{text}");
        all[2].version = "2".into();
        assert!(
            Topology::of_spawned(&all).unwrap_err().to_string().contains("version of unidist (2, not 1)")
        );
    }

    #[test]
    fn two_monitors_on_one_host_are_refused() {
        let topology = Topology::of_spawned(&ranks(&["a", "b", "c"])).unwrap();
        assert_eq!(topology.hosts[2].engine, 2);
        assert!(topology.hosts.iter().all(|host| host.sleepers().next().is_none()));
        let text = Topology::of_spawned(&ranks(&["a", "b", "b"])).unwrap_err().to_string();
        assert!(text.contains("two monitors on b"));
    }

    #[test]
    fn slots_of_the_list_override_cpus() {
        let mut all = ranks(&["a", "b.example.org"]);
        all[0].common.slots = vec![("B".into(), 7)];
        all[1].common.slots = vec![("a".into(), 9)];
        let topology = Topology::of_spawned(&all).unwrap();
        assert_eq!(topology.hosts.iter().map(|host| host.cpus).collect::<Vec<_>>(), [2, 7]);
    }

    #[test]
    fn names_replace_equal_addresses() {
        let mut all = ranks(&["a", "b"]);
        all.iter_mut().for_each(|one| one.ip = "127.0.0.1".into());
        let topology = Topology::of_spawned(&all).unwrap();
        assert_eq!(topology.hosts.iter().map(|host| host.ip.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}
