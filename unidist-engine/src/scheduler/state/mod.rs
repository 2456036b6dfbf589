//! The lowest layer: the tables of a session.
//!
//! Each table is a type of its own that keeps its own invariants, calls no other layer and is tested alone. [`State`]
//! puts them side by side: a step of a higher layer borrows the tables that it touches. The methods of `State` look
//! something up over several tables and change nothing.

pub(crate) mod actor_names;
pub(crate) mod actors;
pub(crate) mod canceling;
pub(crate) mod deadlock_search;
pub(crate) mod fair_share;
pub(crate) mod hosts;
pub(crate) mod id_map;
pub(crate) mod object_locations;
pub(crate) mod objects;
pub(crate) mod queued_cancels;
pub(crate) mod requests;
pub(crate) mod resources;
pub(crate) mod task_history;
pub(crate) mod tasks;
pub(crate) mod timers;
pub(crate) mod transfers;
pub(crate) mod waiters;
pub(crate) mod watches;
pub(crate) mod worker_queries;
pub(crate) mod workers;

use crate::scheduler::event::Action;
use crate::scheduler::limits::Limits;
use crate::scheduler::request::{RequestId, Value};
use actor_names::ActorNames;
use actors::Actor;
use canceling::Canceling;
use deadlock_search::DeadlockSearches;
use hosts::{Candidate, Host};
use id_map::IdMap;
use object_locations::ObjectLocations;
use objects::Objects;
use queued_cancels::QueuedCancels;
use requests::{OpenRequest, RequestKind};
use resources::Resources;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tasks::Task;
use timers::Timers;
use transfers::{FailedFetches, Transfers};
use unidist_common::{ActorId, DataId, HostId, ProcessId, TaskId};
use watches::Watch;
use worker_queries::WorkerQuery;
use workers::Worker;

/// The state of a session.
#[derive(Debug)]
pub(crate) struct State {
    /// How long a canceled call may stay on its worker.
    pub(crate) cancel_grace: Duration,
    pub(crate) hosts: Vec<Host>,
    pub(crate) objects: Objects,
    pub(crate) tasks: IdMap<TaskId, Task>,
    pub(crate) actors: FxHashMap<ActorId, Actor>,
    pub(crate) actor_names: ActorNames,
    pub(crate) workers: FxHashMap<ProcessId, Worker>,
    pub(crate) next_process: u32,
    /// The number of calls submitted so far.
    pub(crate) arrivals: u64,
    pub(crate) requests: FxHashMap<(ProcessId, RequestId), OpenRequest>,
    pub(crate) watches: FxHashMap<(ProcessId, RequestId), Watch>,
    pub(crate) resources: Resources,
    pub(crate) locations: ObjectLocations,
    pub(crate) transfers: Transfers,
    /// Calls whose inputs could not be fetched because a store was full.
    pub(crate) failed_fetches: FxHashMap<TaskId, FailedFetches>,
    /// Objects that have a value and whose waiters have not been notified.
    pub(crate) settled: VecDeque<DataId>,
    /// Canceled calls that may still be with their process.
    pub(crate) canceling: FxHashMap<TaskId, Canceling>,
    pub(crate) timers: Timers,
    pub(crate) worker_queries: Vec<WorkerQuery>,
    /// Workers that are stopped once they have finished what they run.
    pub(crate) draining: Vec<ProcessId>,
    pub(crate) queued_cancels: QueuedCancels,
    pub(crate) deadlocks: DeadlockSearches,
    /// The actions of this event so far.
    pub(crate) actions: Vec<Action>,
    /// The candidates for the call being placed; kept for its memory.
    pub(crate) candidates: Vec<Candidate>,
    /// The session is shutting down.
    pub(crate) ending: bool,
    /// How many objects searches for awaited calls have looked at.
    #[cfg(test)]
    pub(crate) looked_at: std::cell::Cell<usize>,
}

impl State {
    /// A session without processes.
    pub(crate) fn new(limits: &Limits) -> Self {
        State {
            cancel_grace: limits.cancel_grace,
            hosts: limits.hosts.iter().map(Host::new).collect(),
            objects: Objects::default(),
            tasks: IdMap::default(),
            actors: FxHashMap::default(),
            actor_names: ActorNames::default(),
            workers: FxHashMap::default(),
            next_process: ProcessId::CONTROLLER.number() + 1,
            arrivals: 0,
            requests: FxHashMap::default(),
            watches: FxHashMap::default(),
            resources: Resources::new(&limits.hosts),
            locations: ObjectLocations::new(limits.hosts.len()),
            transfers: Transfers::default(),
            failed_fetches: FxHashMap::default(),
            settled: VecDeque::new(),
            canceling: FxHashMap::default(),
            timers: Timers::default(),
            worker_queries: Vec::new(),
            draining: Vec::new(),
            queued_cancels: QueuedCancels::default(),
            deadlocks: DeadlockSearches::default(),
            actions: Vec::new(),
            candidates: Vec::new(),
            ending: false,
            #[cfg(test)]
            looked_at: std::cell::Cell::default(),
        }
    }

    /// All hosts, in order.
    pub(crate) fn host_ids(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len() as u32).map(HostId::new)
    }

    /// The host of a process that exists.
    pub(crate) fn host_of(&self, process: ProcessId) -> Option<HostId> {
        match process {
            ProcessId::CONTROLLER => Some(HostId::CONTROLLER),
            worker => self.workers.get(&worker).map(|worker| worker.host),
        }
    }

    /// The pool workers, host by host, oldest first.
    pub(crate) fn pool(&self) -> impl Iterator<Item = ProcessId> {
        self.hosts.iter().flat_map(|host| &host.pool).copied()
    }

    /// A process as errors name it.
    pub(crate) fn process_name(&self, process: ProcessId, host: HostId) -> String {
        match self.hosts.get(host.place()) {
            Some(host) => format!("{process} on {}", host.address),
            None => process.to_string(),
        }
    }

    /// An idle worker of this host.
    pub(crate) fn idle_worker_of(&self, host: HostId) -> Option<ProcessId> {
        let mut pool = self.hosts[host.place()].pool.iter().copied();
        pool.find(|process| self.workers.get(process).is_some_and(Worker::is_idle))
    }

    /// Whether the call was sent to this worker and waits there for its turn.
    pub(crate) fn is_prefetched(&self, process: ProcessId, call: TaskId) -> bool {
        self.workers.get(&process).is_some_and(|worker| worker.position_of(call).is_some())
    }

    /// The objects that this request waits for, of which some are pending.
    pub(crate) fn awaited<'a>(&'a self, process: ProcessId, request: &'a OpenRequest) -> &'a [DataId] {
        match request.kind {
            RequestKind::Next { watch, .. } => self.watches.get(&(process, watch)).map_or(&[], Watch::ids),
            RequestKind::Get | RequestKind::Wait { .. } => request.unsettled(),
        }
    }

    /// Whether a worker that is blocked by this request starts this call by itself.
    pub(crate) fn is_startable_by_worker(&self, task: TaskId, request: Option<&OpenRequest>) -> bool {
        let (Some(request), Some(task)) = (request, self.tasks.get(&task)) else { return false };
        task.spec.returns.ids().any(|id| self.objects.is_pending(id) && request.is_startable_by_worker(id))
    }

    /// Whether the call was canceled and may still be with its process.
    pub(crate) fn is_canceling(&self, call: TaskId) -> bool {
        !self.canceling.is_empty() && self.canceling.contains_key(&call)
    }

    /// The value of an object that has one, as processes of this host can read it.
    pub(crate) fn value_on(&self, host: HostId, id: DataId) -> Value {
        match self.objects.value(id) {
            Value::Ready(object) if object.has_external_parts() => match self.locations.copy_on(id, host) {
                Some(copy) => Value::Ready(copy.clone()),
                None => Value::Failed(Arc::new(self.objects.lost_error(id))),
            },
            value => value,
        }
    }

    /// Whether this object, which has a value, must be copied to this host before it can be read there.
    pub(crate) fn is_missing_on(&self, id: DataId, host: HostId) -> bool {
        self.hosts.len() > 1
            && self.objects.has_external_parts(id)
            && self.locations.copy_on(id, host).is_none()
    }

    /// Describes a call or request that has not ended, if there is one.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn describe_unfinished(&self) -> Option<String> {
        if !self.tasks.is_empty() {
            let workers = self.workers.iter().map(|(process, worker)| format!("\n  {process}: {worker:?}"));
            let calls = self.tasks.iter().map(|(id, task)| {
                let spec = &task.spec;
                format!("\n  call {id}: {:?}, {:?}, needs {:?}", task.state, spec.target, spec.dependencies)
            });
            return Some(format!("unfinished:{}{}", workers.collect::<String>(), calls.collect::<String>()));
        }
        self.requests.keys().next().map(|(process, request)| format!("request {} of {process}", request.0))
    }

    /// Describes an entry of a table that should be empty once all references are released, if there is one.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn describe_leftovers(&self) -> Option<String> {
        self.describe_unfinished().or_else(|| {
            let left = [
                ("objects", self.objects.len()),
                ("actors", self.actors.len()),
                ("canceled calls", self.canceling.len()),
                ("timers", self.timers.len()),
                ("transfers", self.transfers.len()),
                ("calls with failed fetches", self.failed_fetches.len()),
                ("queued cancels", self.queued_cancels.len()),
                ("watches", self.watches.len()),
            ];
            let left = left.into_iter().find(|(_, count)| *count > 0);
            let left = left.map(|(what, count)| format!("{count} {what}"));
            let left = left.or_else(|| self.locations.describe());
            left.or_else(|| {
                (!self.resources.all_free()).then(|| format!("a slot in use: {:?}", self.resources))
            })
        })
    }
}
