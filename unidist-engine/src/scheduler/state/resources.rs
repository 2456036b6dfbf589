//! CPU slots and custom resources: the totals, what is free, and what each scheduling class needs.

mod ready_queue;
mod scheduling_classes;
mod suspension;

use crate::scheduler::limits::HostLimits;
use crate::scheduler::state::fair_share::{FairShare, GroupPlace};
pub(crate) use ready_queue::Reservations;
use rustc_hash::FxHashMap;
use scheduling_classes::FEW_CLASSES;
use std::collections::{BTreeMap, VecDeque};
use unidist_common::{ErrorKind, HostId, ProcessId, TaskError, TaskId, TaskOptions, amount_in_words};

/// Amounts are counted in thousandths, so that sums are exact.
const UNIT: f64 = 1000.0;

/// The largest amount of a request: in thousandths it is an integer, with room for sums. For memory it is 900 TiB.
const MAX_AMOUNT: f64 = 1e15;

/// The name of the built-in resource.
pub(crate) const CPU: &str = "CPU";

/// Calls with equal resource requests, which are scheduled alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SchedulingClass(u32);

impl SchedulingClass {
    /// One CPU and nothing else: the default.
    pub(crate) const DEFAULT: SchedulingClass = SchedulingClass(0);

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// A custom resource of a host, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CustomResource {
    pub(crate) host: HostId,
    at: usize,
}

/// The resources that a class needs, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ResourceRequest {
    cpus: i64,
    custom: Vec<(usize, i64)>,
    actor: bool,
    priority: i32,
    /// The only host on which its calls may run: their inputs were fetched there, or their worker is there.
    host: Option<HostId>,
    /// The only worker on which its calls may run.
    worker: Option<ProcessId>,
    group: GroupPlace,
    /// Whether its calls leave their threads while they wait.
    asynchronous: bool,
}

impl ResourceRequest {
    /// Asynchronous, with no more than one CPU and nothing else.
    fn is_light(&self) -> bool {
        self.asynchronous
            && self.cpus <= thousandths(1.0)
            && self.custom.is_empty()
            && !self.actor
            && self.priority == 0
    }

    /// Synchronous, with one CPU and nothing else, on any host.
    fn is_plain(&self) -> bool {
        !self.asynchronous
            && self.cpus == thousandths(1.0)
            && self.custom.is_empty()
            && !self.actor
            && self.priority == 0
    }
}

/// Amounts of a host's resources, in thousandths.
#[derive(Debug, PartialEq)]
struct Amounts {
    cpus: i64,
    custom: Vec<i64>,
}

#[derive(Debug)]
struct Host {
    total: Amounts,
    free: Amounts,
    is_lost: bool,
    /// It has no worker, and none can be started.
    has_no_workers: bool,
}

impl Host {
    /// Whether its total resources satisfy the request.
    fn can_ever_serve(&self, request: &ResourceRequest) -> bool {
        !self.is_lost
            && self.total.cpus >= request.cpus
            && request.custom.iter().all(|&(at, amount)| self.total.custom[at] >= amount)
    }

    /// Whether it can serve the request: an actor brings its own process, other calls need a worker.
    fn may_serve(&self, request: &ResourceRequest) -> bool {
        (request.actor || !self.has_no_workers) && self.can_ever_serve(request)
    }
}

/// The resources of the session, and the queues of ready calls.
#[derive(Debug)]
pub(crate) struct Resources {
    names: Vec<String>,
    hosts: Vec<Host>,
    requests: Vec<ResourceRequest>,
    classes: FxHashMap<ResourceRequest, SchedulingClass>,
    /// Classes without calls, for reuse.
    unused: Vec<SchedulingClass>,
    /// With this many classes, unused ones are removed.
    sweep_at: usize,
    groups: FairShare,
    queues: Vec<VecDeque<(u64, TaskId)>>,
    arrivals: u64,
    bound_arrivals: u64,
    /// A host has lost slots.
    has_shrunk: bool,
}

impl Resources {
    pub(crate) fn new(hosts: &[HostLimits]) -> Self {
        let mut names: Vec<_> = hosts.iter().flat_map(|host| host.resources.keys().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        let amounts = |host: &HostLimits| Amounts {
            cpus: thousandths(host.cpus as f64),
            custom: names
                .iter()
                .map(|name| thousandths(host.resources.get(name).copied().unwrap_or_default()))
                .collect(),
        };
        let hosts = hosts
            .iter()
            .map(|host| Host {
                total: amounts(host),
                free: amounts(host),
                is_lost: false,
                has_no_workers: false,
            })
            .collect();
        let mut resources = Resources {
            names,
            hosts,
            requests: Vec::new(),
            classes: FxHashMap::default(),
            unused: Vec::new(),
            sweep_at: FEW_CLASSES,
            groups: FairShare::default(),
            queues: Vec::new(),
            arrivals: 0,
            bound_arrivals: 0,
            has_shrunk: false,
        };
        resources.intern(ResourceRequest {
            cpus: thousandths(1.0),
            custom: Vec::new(),
            actor: false,
            priority: 0,
            host: None,
            worker: None,
            group: GroupPlace::DEFAULT,
            asynchronous: false,
        });
        resources
    }

    /// The class of a call with these options, optionally bound to one worker on one host; the error if no host can
    /// ever satisfy it.
    pub(crate) fn classify(
        &mut self,
        options: &TaskOptions,
        (actor, asynchronous): (bool, bool),
        only: Option<(ProcessId, HostId)>,
    ) -> Result<SchedulingClass, TaskError> {
        let priority = options.priority.unwrap_or(0);
        let no_resources = options.resources.is_empty() && options.memory.is_none();
        let asks_for_nothing = options.num_cpus.is_none() && no_resources && priority == 0;
        if !actor && !asynchronous && asks_for_nothing && only.is_none() && options.group.is_none() {
            return Ok(SchedulingClass::DEFAULT);
        }
        let cpus = options.num_cpus.unwrap_or(if actor { 0.0 } else { 1.0 });
        let mut missing = Vec::new();
        let most_cpus = self.most(|host| host.cpus);
        if !amount_is_valid(cpus) || thousandths(cpus) > most_cpus {
            missing.push(format!("{CPU}={cpus} (there are {})", most_cpus as f64 / UNIT));
        }
        let mut custom: BTreeMap<usize, i64> = BTreeMap::new();
        for (name, amount) in options.requested_resources().filter(|(_, amount)| *amount != 0.0) {
            match self.names.iter().position(|known| known == name) {
                Some(at) if amount_is_valid(amount) => {
                    let sum = custom.entry(at).or_default();
                    *sum = sum.saturating_add(thousandths(amount));
                }
                Some(_) => missing.push(format!("{name}={amount}, which is not a valid amount")),
                None => {
                    missing.push(format!("{name}={} (there is none)", amount_in_words(name, amount)));
                }
            }
        }
        for (&at, &amount) in &custom {
            let most = self.most(|host| host.custom[at]);
            if amount > most {
                let name = self.names[at].as_str();
                let in_words = |amount: i64| amount_in_words(name, amount as f64 / UNIT);
                missing.push(format!("{name}={} (there are {})", in_words(amount), in_words(most)));
            }
        }
        let custom = custom.into_iter().collect();
        let (worker, host) = only.unzip();
        let group = GroupPlace::DEFAULT;
        let mut request = ResourceRequest {
            cpus: thousandths(cpus),
            custom,
            actor,
            priority,
            host,
            worker,
            group,
            asynchronous,
        };
        let may_ever = |id: HostId| {
            host.is_none_or(|home| home == id) && self.hosts[id.place()].can_ever_serve(&request)
        };
        if missing.is_empty() && !self.host_ids().any(may_ever) {
            missing.push(format!("{} together", self.in_words(&request)));
        }
        if missing.is_empty() {
            request.group = self.groups.intern(options.group.filter(|_| !actor));
            return Ok(self.intern(request));
        }
        let message = format!(
            "no host has {}: declare it with UNIDIST_RESOURCES or UNIDIST_CPUS, or request less",
            missing.join(", ")
        );
        Err(TaskError::new(ErrorKind::Unsatisfiable, message))
    }

    /// The largest amount that a single host has.
    fn most(&self, of: impl Fn(&Amounts) -> i64) -> i64 {
        self.hosts.iter().filter(|host| !host.is_lost).map(|host| of(&host.total)).max().unwrap_or(0)
    }

    fn in_words(&self, request: &ResourceRequest) -> String {
        let custom = request.custom.iter().map(|(at, amount)| (self.names[*at].as_str(), *amount));
        let all = std::iter::once((CPU, request.cpus)).chain(custom).filter(|(_, amount)| *amount > 0);
        all.map(|(name, amount)| format!("{name}={}", amount_in_words(name, amount as f64 / UNIT)))
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// The same class, bound to this host.
    pub(crate) fn bind_to_host(&mut self, class: SchedulingClass, host: HostId) -> SchedulingClass {
        let request = ResourceRequest { host: Some(host), ..self.requests[class.index()].clone() };
        self.intern(request)
    }

    /// The same class, for any host; a class bound to a worker stays as it is.
    pub(crate) fn unbind(&mut self, class: SchedulingClass) -> SchedulingClass {
        match self.bound_host(class) {
            Some(_) if self.bound_worker(class).is_none() => {
                let request = ResourceRequest { host: None, ..self.requests[class.index()].clone() };
                self.intern(request)
            }
            _ => class,
        }
    }

    /// The worker to which the class is bound.
    pub(crate) fn bound_worker(&self, class: SchedulingClass) -> Option<ProcessId> {
        self.requests[class.index()].worker
    }

    /// Whether there may be calls bound to this worker.
    pub(crate) fn is_any_bound_to(&self, worker: ProcessId) -> bool {
        self.requests.iter().any(|request| request.worker == Some(worker))
    }

    /// Whether there may be calls bound to a worker.
    pub(crate) fn is_any_bound_to_worker(&self) -> bool {
        self.requests.len() > 1 && self.requests.iter().any(|request| request.worker.is_some())
    }

    /// The host to which the class is bound.
    pub(crate) fn bound_host(&self, class: SchedulingClass) -> Option<HostId> {
        self.requests[class.index()].host
    }

    /// Whether calls of this class may ever run on this host.
    pub(crate) fn may_run_on(&self, class: SchedulingClass, host: HostId) -> bool {
        let request = &self.requests[class.index()];
        request.host.is_none_or(|home| home == host) && self.hosts[host.place()].may_serve(request)
    }

    /// The error of calls of this class, if no host can run them any more.
    pub(crate) fn unsatisfiable_error(&self, class: SchedulingClass) -> Option<TaskError> {
        let is_as_ever =
            !self.has_shrunk && self.hosts.iter().all(|host| !host.is_lost && !host.has_no_workers);
        if is_as_ever || self.host_ids().any(|host| self.may_run_on(class, host)) {
            return None;
        }
        let request = &self.requests[class.index()];
        let mut homes = self.host_ids().filter(|host| request.host.is_none_or(|home| home == *host));
        Some(match homes.any(|host| self.hosts[host.place()].can_ever_serve(request)) {
            true => {
                let message = "no worker process can be started: see the log for the reason";
                TaskError::new(ErrorKind::WorkerDied, message)
            }
            false => {
                let message = "no remaining host has the resources that the call needs";
                TaskError::new(ErrorKind::Unsatisfiable, message)
            }
        })
    }

    /// Records whether the host has no worker and cannot start one.
    pub(crate) fn set_without_workers(&mut self, host: HostId, has_none: bool) {
        self.hosts[host.place()].has_no_workers = has_none;
    }

    fn host_ids(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len() as u32).map(HostId::new)
    }

    /// Empties the queues of the classes bound to this host.
    pub(crate) fn empty_queues_of(&mut self, host: HostId) {
        let queues = self.requests.iter().zip(&mut self.queues);
        queues.filter(|(request, _)| request.host == Some(host)).for_each(|(_, queue)| queue.clear());
    }

    /// Removes a CPU slot of the host.
    pub(crate) fn drop_cpu(&mut self, host: HostId) {
        let host = &mut self.hosts[host.place()];
        host.total.cpus -= thousandths(1.0);
        host.free.cpus -= thousandths(1.0);
        self.has_shrunk = true;
    }

    /// The host is lost; resources taken there are not released.
    pub(crate) fn lose(&mut self, host: HostId) {
        self.hosts[host.place()].is_lost = true;
    }

    /// Whether another call of its group may run.
    pub(crate) fn has_room_in_group(&self, class: SchedulingClass) -> bool {
        !self.groups.is_full(self.requests[class.index()].group)
    }

    pub(crate) fn group(&self, class: SchedulingClass) -> GroupPlace {
        self.requests[class.index()].group
    }

    pub(crate) fn groups(&mut self) -> &mut FairShare {
        &mut self.groups
    }

    /// Whether the resources of the class are free on this host now.
    pub(crate) fn fits(&self, class: SchedulingClass, host: HostId) -> bool {
        let (request, free) = (&self.requests[class.index()], &self.hosts[host.place()].free);
        (request.cpus == 0 || free.cpus >= request.cpus) && has_custom(free, request)
    }

    /// Whether the class lacks nothing but CPUs on this host.
    pub(crate) fn lacks_cpus_only(&self, class: SchedulingClass, host: HostId) -> bool {
        has_custom(&self.hosts[host.place()].free, &self.requests[class.index()])
    }

    /// The custom resources that ready calls of these classes lack, on any host.
    pub(crate) fn lacking(&self, classes: &[SchedulingClass]) -> Vec<CustomResource> {
        let mut lacking: Vec<_> = classes.iter().flat_map(|class| self.lacking_for(*class).0).collect();
        lacking.sort_unstable();
        lacking.dedup();
        lacking
    }

    /// The custom resources that a ready call of this class lacks, and how many of them must be released before it may
    /// run. None if a host has enough.
    pub(crate) fn lacking_for(&self, class: SchedulingClass) -> (Vec<CustomResource>, usize) {
        let request = &self.requests[class.index()];
        let mut lacking = Vec::new();
        let mut hosts = 0;
        // Hosts other than the bound one count too: calls may leave it, unless they are bound to a worker.
        let is_meant = |id: HostId| request.worker.is_none() || request.host == Some(id);
        for (id, host) in self.host_ids().zip(&self.hosts) {
            if !host.may_serve(request) || !is_meant(id) {
                continue;
            }
            let before = lacking.len();
            let too_little = request.custom.iter().filter(|&&(at, amount)| host.free.custom[at] < amount);
            lacking.extend(too_little.map(|&(at, _)| CustomResource { host: id, at }));
            if lacking.len() == before {
                return (Vec::new(), 0);
            }
            hosts += 1;
        }
        // With several hosts, one of them may be enough.
        let needed = if hosts > 1 { 1 } else { lacking.len() };
        (lacking, needed)
    }

    pub(crate) fn asks_for(&self, class: SchedulingClass, resource: CustomResource) -> bool {
        self.requests[class.index()].custom.iter().any(|&(at, _)| at == resource.at)
    }

    pub(crate) fn name(&self, resource: CustomResource) -> &str {
        &self.names[resource.at]
    }

    pub(crate) fn needs_cpus(&self, class: SchedulingClass) -> bool {
        self.requests[class.index()].cpus > 0
    }

    pub(crate) fn is_actor(&self, class: SchedulingClass) -> bool {
        self.requests[class.index()].actor
    }

    /// Whether its calls may be prefetched at a busy worker.
    pub(crate) fn may_prefetch(&self, class: SchedulingClass) -> bool {
        let is_free = |request: &ResourceRequest| {
            (request.is_plain() || request.is_light()) && !self.groups.is_limited(request.group)
        };
        class == SchedulingClass::DEFAULT || is_free(&self.requests[class.index()])
    }

    /// Synchronous, with one CPU and nothing else, on whatever host.
    pub(crate) fn is_plain(&self, class: SchedulingClass) -> bool {
        class == SchedulingClass::DEFAULT || self.requests[class.index()].is_plain()
    }

    /// Acquires all resources of the class. The number of free CPUs may become negative: a call that proceeds after a
    /// wait does not wait for its slot again.
    pub(crate) fn acquire(&mut self, class: SchedulingClass, host: HostId) {
        self.acquire_cpus(class, host);
        for &(at, amount) in &self.requests[class.index()].custom {
            self.hosts[host.place()].free.custom[at] -= amount;
        }
    }

    /// Releases all resources of the class.
    pub(crate) fn release(&mut self, class: SchedulingClass, host: HostId) {
        self.release_cpus(class, host);
        self.release_custom(class, host);
    }

    /// The call starts or proceeds: acquires its CPUs and its place in its group.
    pub(crate) fn acquire_cpus(&mut self, class: SchedulingClass, host: HostId) {
        let request = &self.requests[class.index()];
        self.groups.started(request.group);
        self.hosts[host.place()].free.cpus -= request.cpus;
    }

    pub(crate) fn release_cpus(&mut self, class: SchedulingClass, host: HostId) {
        let request = &self.requests[class.index()];
        self.groups.ended(request.group);
        self.hosts[host.place()].free.cpus += request.cpus;
    }

    /// Releases the custom resources; the CPUs were released before.
    pub(crate) fn release_custom(&mut self, class: SchedulingClass, host: HostId) {
        for &(at, amount) in &self.requests[class.index()].custom {
            self.hosts[host.place()].free.custom[at] += amount;
        }
    }

    /// Whether all resources are free.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn all_free(&self) -> bool {
        self.hosts.iter().all(|host| host.is_lost || host.free == host.total)
    }

    #[cfg(test)]
    pub(crate) fn classes(&self) -> usize {
        self.requests.len()
    }

    #[cfg(test)]
    pub(crate) fn free_cpus(&self) -> f64 {
        self.hosts.iter().map(|host| host.free.cpus).sum::<i64>() as f64 / UNIT
    }
}

fn has_custom(free: &Amounts, request: &ResourceRequest) -> bool {
    request.custom.iter().all(|&(at, amount)| free.custom[at] >= amount)
}

fn amount_is_valid(amount: f64) -> bool {
    amount.is_finite() && (0.0..=MAX_AMOUNT).contains(&amount)
}

fn thousandths(amount: f64) -> i64 {
    (amount * UNIT).round() as i64
}
