//! The hosts of the session, and the loss of one.

use super::tasks::TaskState;
use super::{HostLimits, Scheduler};
use crate::network::HostId;
use rustc_hash::FxHashSet;
use unidist_common::{DataId, ErrorKind, ProcessId, TaskError};

/// What the scheduler knows of a host, beside its resources and its memory.
#[derive(Debug)]
pub(crate) struct Host {
    pub(super) cpus: usize,
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
        self.forget_copies_to(host);
        self.bring_home_elsewhere(host);
        let on_host = self.workers.iter().filter(|(_, worker)| worker.host == host);
        let mut processes: Vec<_> = on_host.map(|(process, _)| *process).collect();
        processes.sort_unstable();
        for process in processes {
            self.lost(process, why, &[]);
        }
        for id in self.lose_copies(host) {
            // One that is on its way to another host may arrive.
            if !self.is_being_copied(id) {
                self.object_lost(id, why);
            }
        }
    }

    /// Calls that were to run on this host alone may run on any.
    fn bring_home_elsewhere(&mut self, host: HostId) {
        let is_bound = |task: &super::tasks::Task| self.resources.home(task.class) == Some(host);
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

    /// No host has this object any more: it has no value, and neither has what needs it.
    pub(super) fn object_lost(&mut self, id: DataId, why: &str) {
        let mut error = self.objects.lost(id);
        error.message = match self.objects.makers.find(id) {
            Some((name, call)) => format!("object {id}, which `{name}` made (call {call}), is lost: {why}"),
            None => format!("object {id} is lost: {why}"),
        };
        let Some(object) = self.objects.lose(id, error.clone()) else { return };
        object.borrowed.iter().for_each(|inner| self.release(*inner));
        self.copy_is_lost(id);
        let needs_it = |task: &super::tasks::Task| {
            task.spec.dependencies.contains(&id) && !matches!(task.state, TaskState::Sent(_))
        };
        let mut failed: Vec<_> =
            self.tasks.iter().filter(|(_, task)| needs_it(task)).map(|(id, _)| id).collect();
        failed.sort_unstable();
        failed.into_iter().for_each(|call| self.fail_dependent(call, &error));
    }

    /// The error of a call that no host can run that is left.
    pub(super) fn no_host_left() -> TaskError {
        TaskError::new(ErrorKind::Unsatisfiable, "no host that is left has what the call asks for")
    }
}
