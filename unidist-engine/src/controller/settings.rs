//! What a session is made of.

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

/// What a session is made of.
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
    /// The folder for objects that do not fit into memory; the system's temporary folder without.
    pub spill_dir: Option<PathBuf>,
    /// Bytes of objects that may lie on disk: 0 for none, `None` for half of what is free there.
    pub spill_limit: Option<u64>,
    /// How many calls the program may have under way before `.remote` waits.
    pub max_pending_tasks: Option<usize>,
    /// The folder of the workers' log files; standard error if there is none.
    pub log_dir: Option<PathBuf>,
    /// Up to this many bytes of an object travel in messages; a buffer of more goes through the store.
    pub inline_limit: u32,
    /// How long a call that was ended early has to leave its worker before that is killed.
    pub cancel_grace: Duration,
    /// The address of this host.
    pub ip: String,
    /// What starts a worker.
    pub launch: LaunchCommand,
}

/// What another host brings into the session.
#[derive(Clone, Debug, PartialEq)]
pub struct HostSettings {
    /// Its address, under which the cluster's resources list it: no two hosts of a session have the same.
    pub ip: String,
    /// What it is called in messages to people.
    pub name: String,
    /// How many tasks run there at once.
    pub cpus: usize,
    /// Its custom resources.
    pub resources: BTreeMap<String, f64>,
    /// The limit of its object store in bytes; that of the controller's host if there is none.
    pub object_store_memory: Option<u64>,
    /// What starts a worker there; what does on the controller's host if there is nothing else.
    pub launch: Option<LaunchCommand>,
}

/// The hosts of a session beside the controller's, and the way to them.
pub struct OtherHosts {
    /// The hosts: the first of them is the second of the session, [`HostId::new`]`(1)`, and so on.
    pub hosts: Vec<HostSettings>,
    /// The way to them.
    pub network: Box<dyn Network>,
    /// The longest nap between two looks at the network while there is work; after some seconds
    /// without any they are up to fifty times as long, and no longer than 100 ms.
    pub backoff: Duration,
    /// Monitors have so long to say that they are ready.
    pub start_timeout: Duration,
    /// Monitors have so long to end their processes when the session ends.
    pub end_timeout: Duration,
    /// Called with the network when nothing of the session uses it any more, or it could not start.
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

/// How many worker processes there may be, so that blocked tasks do not hold up the others for want of processes.
fn max_pool(cpus: usize) -> usize {
    256 + 8 * cpus
}

impl ControllerSettings {
    /// Of how many bytes a buffer may be to travel in messages, where nothing was said.
    pub const INLINE_LIMIT: u32 = INLINE_LIMIT as u32;

    /// What the scheduler is to know of all hosts.
    pub(super) fn all_limits(&self, others: &[HostSettings]) -> Vec<HostLimits> {
        let here = (self.cpus, &self.resources, &self.ip);
        let there = others.iter().map(|other| (other.cpus, &other.resources, &other.ip));
        let all = std::iter::once(here).chain(there);
        let limits = |(cpus, resources, ip): (usize, &BTreeMap<_, _>, &String)| HostLimits {
            cpus,
            resources: resources.clone(),
            address: ip.clone(),
            max_pool: max_pool(cpus),
        };
        all.map(limits).collect()
    }

    /// What the session has, seen from this host.
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

    /// What the monitors of the other hosts are to be told.
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
