//! The hosts of the session, and the loss of one.

use super::tasks::TaskState;
use super::{HostLimits, Scheduler};
use crate::network::HostId;
use rustc_hash::{FxHashMap, FxHashSet};
use unidist_common::{DataId, ProcessId, TaskError};

/// What the scheduler knows of a host, beside its resources and its memory.
#[derive(Debug)]
pub(crate) struct Host {
    pub(super) cpus: usize,
    /// Its address, by which clients know it.
    pub(super) address: String,
    pub(super) max_pool: usize,
    /// The processes of its pool, oldest first.
    pub(super) pool: Vec<ProcessId>,
    /// How many of them have not joined.
    pub(super) starting: usize,
    /// How many in a row ended before they joined.
    pub(super) failed_starts: usize,
    /// How many actors have their processes here.
    pub(super) actors: usize,
    /// Calls that are to run here and whose objects are on their way, or there.
    pub(super) fetching: FxHashSet<DataId>,
    pub(super) is_lost: bool,
}

impl Host {
    pub(super) fn new(limits: &HostLimits) -> Self {
        Host {
            cpus: limits.cpus,
            address: limits.address.clone(),
            max_pool: limits.max_pool,
            pool: Vec::new(),
            starting: 0,
            failed_starts: 0,
            actors: 0,
            fetching: FxHashSet::default(),
            is_lost: false,
        }
    }

    /// How many actors there are for each CPU, in thousandths.
    pub(super) fn actor_load(&self) -> usize {
        1000 * self.actors / self.cpus.max(1)
    }

    /// How many more calls may have their objects fetched: some are under way while others run.
    pub(super) fn may_fetch(&self) -> usize {
        (2 * self.cpus.max(1)).saturating_sub(self.fetching.len())
    }
}

impl Scheduler {
    /// All hosts, by their places.
    pub(super) fn host_ids(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len() as u32).map(HostId::new)
    }

    /// The host of a process that is there.
    pub(crate) fn host_of(&self, process: ProcessId) -> Option<HostId> {
        match process {
            ProcessId::CONTROLLER => Some(HostId::CONTROLLER),
            worker => self.workers.get(&worker).map(|worker| worker.host),
        }
    }

    /// The processes of the pool, host by host, oldest first.
    pub(super) fn pool(&self) -> impl Iterator<Item = ProcessId> {
        self.hosts.iter().flat_map(|host| &host.pool).copied()
    }

    /// A host is gone, with its processes and its memory. What ran there is lost as with a process that dies; objects of
    /// which there is no copy elsewhere have no value any more.
    pub(crate) fn host_lost(&mut self, host: HostId, why: &str) {
        let known = self.hosts.get_mut(host.place()).filter(|known| !known.is_lost);
        let Some(known) = known.filter(|_| host != HostId::CONTROLLER) else { return };
        known.is_lost = true;
        known.fetching.clear();
        self.resources.lose(host);
        let were_coming = self.forget_copies_to(host);
        self.bring_home_elsewhere(host);
        let on_host = self.workers.iter().filter(|(_, worker)| worker.host == host);
        let mut processes: Vec<_> = on_host.map(|(process, _)| *process).collect();
        processes.sort_unstable();
        for process in processes {
            self.lost(process, why, &[]);
        }
        // One that is on its way to another host may arrive.
        let gone = |scheduler: &Self, id: &DataId| {
            scheduler.objects.is_outside(*id)
                && !scheduler.memory.is_outside(*id)
                && !scheduler.is_being_copied(*id)
        };
        let mut lost = self.lose_copies(host);
        lost.extend(were_coming);
        lost.sort_unstable();
        lost.dedup();
        lost.retain(|id| gone(self, id));
        self.objects_lost(&lost, why);
    }

    /// Calls that were to run on this host alone may run on any.
    fn bring_home_elsewhere(&mut self, host: HostId) {
        let is_bound = |task: &super::tasks::Task| {
            self.resources.home(task.class) == Some(host) && self.resources.worker(task.class).is_none()
        };
        let mut bound: Vec<_> =
            self.tasks.iter().filter(|(_, task)| is_bound(task)).map(|(id, _)| id).collect();
        bound.sort_unstable();
        self.resources.empty_queues_of(host);
        for id in bound {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            task.class = self.resources.unpinned(task.class);
            if matches!(task.state, TaskState::Ready | TaskState::Fetching) {
                self.make_ready(id);
            }
        }
    }

    /// No host has these objects any more: they have no value, and neither has what needs them.
    pub(super) fn objects_lost(&mut self, ids: &[DataId], why: &str) {
        let lost: FxHashMap<_, _> =
            ids.iter().filter_map(|id| Some((*id, self.object_lost(*id, why)?))).collect();
        if lost.is_empty() {
            return;
        }
        let cause = |task: &super::tasks::Task| match task.state {
            TaskState::Sent(_) => None,
            _ => task.spec.dependencies.iter().find_map(|id| lost.get(id)),
        };
        let failed = self.tasks.iter().filter_map(|(id, task)| Some((id, cause(task)?)));
        let mut failed: Vec<_> = failed.collect();
        failed.sort_unstable_by_key(|(id, _)| *id);
        failed.into_iter().for_each(|(call, cause)| self.fail_dependent(call, cause));
    }

    fn object_lost(&mut self, id: DataId, why: &str) -> Option<TaskError> {
        let mut error = self.objects.lost(id);
        error.message = match self.objects.makers.find(id) {
            Some((name, call)) => format!("object {id}, which `{name}` made (call {call}), is lost: {why}"),
            None => format!("object {id} is lost: {why}"),
        };
        let object = self.objects.lose(id, error.clone())?;
        object.borrowed.iter().for_each(|inner| self.release(*inner));
        self.copy_is_lost(id);
        Some(error)
    }
}
