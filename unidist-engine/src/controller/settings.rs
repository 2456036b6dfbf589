//! The settings of a session.

use super::driver::{MonitorSpec, RemoteHosts};
use crate::network::{HostId, Network};
use crate::protocol::monitor::Greeting;
use crate::scheduler::HostLimits;
use crate::store::client::INLINE_LIMIT;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use unidist_backend::ClusterInfo;
use unidist_backend::LaunchCommand;

/// The settings of a session.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// The value of `UNIDIST_BACKEND`.
    pub backend: &'static str,
    /// How many tasks run at once.
    pub cpus: usize,
    /// Custom resources of this host.
    pub resources: BTreeMap<String, f64>,
    /// The limit of the object store in bytes.
    pub object_store_memory: u64,
    /// The folder of the spill file; the system's temporary folder by default.
    pub spill_dir: Option<PathBuf>,
    /// The most bytes of objects on disk: 0 disables spilling, `None` is half of the free space.
    pub spill_limit: Option<u64>,
    /// The most calls of the program that may be pending before `.remote` blocks.
    pub max_pending_tasks: Option<usize>,
    /// The most worker processes of each host, blocked ones included and actors not; `None` is 256 and 8 more for each CPU slot.
    pub max_processes: Option<usize>,
    /// The folder of the workers' log files; standard error by default.
    pub log_dir: Option<PathBuf>,
    /// The largest buffer that travels in messages, in bytes; larger ones go through the store.
    pub inline_limit: u32,
    /// How long a cancelled call has to return before its worker is killed.
    pub cancel_grace: Duration,
    /// The address of this host.
    pub ip: String,
    /// How a worker is started.
    pub launch: LaunchCommand,
}

/// A remote host of the session.
#[derive(Clone, Debug, PartialEq)]
pub struct HostSettings {
    /// Its address, under which the cluster's resources list it. It must be distinct in the session.
    pub ip: String,
    /// Its name in messages.
    pub name: String,
    /// How many tasks run there at once.
    pub cpus: usize,
    /// Its custom resources.
    pub resources: BTreeMap<String, f64>,
    /// The limit of its object store in bytes; by default that of the controller's host.
    pub object_store_memory: Option<u64>,
    /// How a worker is started there; by default as on the controller's host.
    pub launch: Option<LaunchCommand>,
}

/// The other hosts of a session, and the network to them.
pub struct OtherHosts {
    /// The hosts; their ids count from [`HostId::new`]`(1)`.
    pub hosts: Vec<HostSettings>,
    /// The network to them.
    pub network: Box<dyn Network>,
    /// The longest sleep between two polls of the network while there is work. After some seconds without work, sleeps
    /// grow up to fifty times as long, and never beyond 100 ms.
    pub backoff: Duration,
    /// How long monitors may take to get ready.
    pub start_timeout: Duration,
    /// How long monitors may take to end their processes when the session ends.
    pub end_timeout: Duration,
    /// Called with the network once the session does not use it any more, or could not start.
    pub on_end: Box<dyn FnOnce(Box<dyn Network>) + Send>,
}

impl OtherHosts {
    /// The default of [`backoff`](OtherHosts::backoff).
    pub const BACKOFF: Duration = Duration::from_millis(1);
    /// The default of [`start_timeout`](OtherHosts::start_timeout).
    pub const START_TIMEOUT: Duration = Duration::from_secs(60);

    /// The default of [`end_timeout`](OtherHosts::end_timeout).
    pub const END_TIMEOUT: Duration = Duration::from_secs(10);

    /// These hosts with the defaults. The network is dropped at the end.
    pub fn new(hosts: Vec<HostSettings>, network: Box<dyn Network>) -> Self {
        OtherHosts {
            hosts,
            network,
            backoff: OtherHosts::BACKOFF,
            start_timeout: OtherHosts::START_TIMEOUT,
            end_timeout: OtherHosts::END_TIMEOUT,
            on_end: Box::new(drop),
        }
    }
}

impl OtherHosts {
    pub(super) fn split(self) -> (Vec<HostSettings>, RemoteHosts) {
        let OtherHosts { hosts, network, backoff, start_timeout, end_timeout, on_end } = self;
        let there = RemoteHosts::new(network, hosts.len(), on_end, backoff, [start_timeout, end_timeout]);
        (hosts, there)
    }
}

impl fmt::Debug for OtherHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherHosts").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// The most worker processes of a host by default. Blocked tasks keep theirs, so that others need more.
fn max_pool(cpus: usize) -> usize {
    256 + 8 * cpus
}

impl ControllerSettings {
    /// The default of [`inline_limit`](ControllerSettings::inline_limit).
    pub const INLINE_LIMIT: u32 = INLINE_LIMIT as u32;

    /// The scheduler's description of all hosts.
    pub(super) fn all_limits(&self, others: &[HostSettings]) -> Vec<HostLimits> {
        let here = (self.cpus, &self.resources, &self.ip, self.object_store_memory);
        let memory = |other: &HostSettings| other.object_store_memory.unwrap_or(self.object_store_memory);
        let there = others.iter().map(|other| (other.cpus, &other.resources, &other.ip, memory(other)));
        let all = std::iter::once(here).chain(there);
        let limits =
            |(cpus, resources, ip, store_memory): (usize, &BTreeMap<_, _>, &String, u64)| HostLimits {
                cpus,
                resources: resources.clone(),
                address: ip.clone(),
                store_memory,
                max_pool: self.max_processes.unwrap_or_else(|| max_pool(cpus)).max(cpus),
            };
        all.map(limits).collect()
    }

    /// The cluster as this host sees it.
    pub(super) fn cluster(&self, others: &[HostSettings]) -> ClusterInfo {
        let host = |cpus: usize, resources: &BTreeMap<String, f64>| {
            let mut host = resources.clone();
            host.insert("CPU".into(), cpus as f64);
            host
        };
        let mut hosts = BTreeMap::from([(self.ip.clone(), host(self.cpus, &self.resources))]);
        hosts.extend(others.iter().map(|other| (other.ip.clone(), host(other.cpus, &other.resources))));
        ClusterInfo { local_ip: self.ip.clone(), hosts }
    }

    /// The specifications of the other hosts' monitors.
    pub(super) fn monitor_specs(
        &self,
        others: &[HostSettings],
        build_id: &str,
        backoff: Duration,
    ) -> Vec<MonitorSpec> {
        let stranger = |(place, other): (u32, &HostSettings)| MonitorSpec {
            name: other.name.clone(),
            ip: other.ip.clone(),
            greeting: Greeting {
                build_id: build_id.to_owned(),
                host: HostId::new(place),
                launch: other.launch.clone().unwrap_or_else(|| self.launch.clone()),
                object_store_memory: other.object_store_memory.unwrap_or(self.object_store_memory),
                spill_dir: self.spill_dir.clone(),
                spill_limit: self.spill_limit,
                log_dir: self.log_dir.clone(),
                inline_limit: self.inline_limit,
                backoff,
            },
        };
        (1..).zip(others).map(stranger).collect()
    }
}
