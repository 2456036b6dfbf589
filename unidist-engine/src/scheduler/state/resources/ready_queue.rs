//! The queues of ready calls, and what is reserved while they are dispatched.

use crate::scheduler::state::fair_share::GroupPlace;
use crate::scheduler::state::resources::{ResourceRequest, Resources, SchedulingClass};
use rustc_hash::FxHashSet;
use std::cmp::Reverse;
use unidist_common::{HostId, ProcessId, TaskId};

/// The place of a ready call in line, lowest first: priority, turn of its group, arrival.
type Place = (Reverse<i32>, u64, u64);

impl Resources {
    /// A call of this class waits for CPUs, if it needs any: later calls must not take them.
    pub(crate) fn hold_cpus_for(&self, class: SchedulingClass, reserved: &mut Reservations) {
        if self.needs_cpus(class) {
            let more: Vec<_> = self
                .host_ids()
                .filter(|host| self.may_run_on(class, *host) && self.lacks_cpus_only(class, *host))
                .filter(|host| !reserved.cpus_of.contains(host))
                .collect();
            reserved.cpus_of.extend(more);
            reserved.all_cpus =
                reserved.cpus_of.len() == self.hosts.iter().filter(|host| !host.is_lost).count();
        }
    }

    /// The reservations at the start of a dispatch: workers with bound calls that cannot be prefetched.
    pub(crate) fn reserved(&self) -> Reservations {
        let mut reserved = Reservations::default();
        if self.is_any_bound_to_worker() {
            for (number, (request, queue)) in self.requests.iter().zip(&self.queues).enumerate() {
                if let Some(worker) = request.worker
                    && !queue.is_empty()
                    && !self.groups.is_full(request.group)
                    && !self.may_prefetch(SchedulingClass(number as u32))
                {
                    reserved.reserve(worker);
                }
            }
        }
        reserved
    }

    /// How many calls bound to a worker have become ready so far.
    pub(crate) fn bound_arrivals(&self) -> u64 {
        self.bound_arrivals
    }

    fn note_arrival(&mut self, class: SchedulingClass) {
        self.bound_arrivals += u64::from(self.requests[class.index()].worker.is_some());
    }

    /// Adds a call at the end of its queue.
    pub(crate) fn push(&mut self, class: SchedulingClass, task: TaskId) {
        self.note_arrival(class);
        self.arrivals += 1;
        self.queues[class.index()].push_back((self.arrivals, task));
    }

    /// Adds a call that had its turn before at the head of its queue.
    pub(crate) fn push_front(&mut self, class: SchedulingClass, task: TaskId) {
        self.note_arrival(class);
        self.queues[class.index()].push_front((0, task));
    }

    /// The next call that is not held back: highest priority first, then the group whose turn it is, then the longest
    /// wait. Calls for which `is_ready` is false were taken elsewhere and are dropped.
    pub(crate) fn next_ready(
        &mut self,
        reserved: &Reservations,
        is_ready: impl Fn(TaskId) -> bool,
    ) -> Option<(SchedulingClass, TaskId)> {
        let mut best: Option<(Place, SchedulingClass, TaskId)> = None;
        for (number, queue) in self.queues.iter_mut().enumerate() {
            let class = SchedulingClass(number as u32);
            let request = &self.requests[number];
            if queue.is_empty() || reserved.holds(class, request) || self.groups.is_full(request.group) {
                continue;
            }
            while queue.front().is_some_and(|&(_, task)| !is_ready(task)) {
                queue.pop_front();
            }
            let Some(&(arrival, task)) = queue.front() else { continue };
            let place = (Reverse(request.priority), self.groups.turn(request.group), arrival);
            if best.is_none_or(|(first, ..)| place < first) {
                best = Some((place, class, task));
            }
        }
        best.map(|(.., class, task)| (class, task))
    }

    /// The calls of this class, newest first; some may have been taken elsewhere.
    pub(crate) fn newest_first(&self, class: SchedulingClass) -> impl Iterator<Item = TaskId> {
        self.queues[class.index()].iter().rev().map(|&(_, task)| task)
    }

    /// Removes one of the newest calls of this class from its queue, and newer ones that were taken elsewhere.
    pub(crate) fn remove_newest(
        &mut self,
        class: SchedulingClass,
        call: TaskId,
        is_ready: impl Fn(TaskId) -> bool,
    ) {
        let queue = &mut self.queues[class.index()];
        if let Some(at) = queue.iter().rposition(|&(_, task)| task == call) {
            queue.remove(at);
        }
        while queue.back().is_some_and(|&(_, task)| !is_ready(task)) {
            queue.pop_back();
        }
    }

    /// Removes the first call of this class from its queue.
    pub(crate) fn pop(&mut self, class: SchedulingClass) {
        self.queues[class.index()].pop_front();
    }

    /// Removes and returns all queued calls.
    pub(crate) fn drain(&mut self) -> Vec<TaskId> {
        self.queues.iter_mut().flat_map(|queue| queue.drain(..)).map(|(_, task)| task).collect()
    }

    /// The groups that have ready calls now and had none at the last call.
    pub(crate) fn newcomers(&mut self, is_ready: impl Fn(TaskId) -> bool) -> Vec<GroupPlace> {
        if !self.groups.is_in_use() {
            return Vec::new();
        }
        let mut active = FxHashSet::default();
        for (request, queue) in self.requests.iter().zip(&mut self.queues) {
            while queue.front().is_some_and(|&(_, task)| !is_ready(task)) {
                queue.pop_front();
            }
            if !queue.is_empty() {
                active.insert(request.group);
            }
        }
        self.groups.update_active(|group| active.contains(&group))
    }
}

/// What is held back for calls that could not be placed in this dispatch.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    /// Workers at which no call may be prefetched: bound calls wait for them to become idle.
    workers: Vec<ProcessId>,
    classes: Vec<SchedulingClass>,
    /// Hosts whose CPUs are kept for waiting calls.
    cpus_of: Vec<HostId>,
    /// Whether these are all hosts.
    all_cpus: bool,
}

impl Reservations {
    /// Holds back the calls of this class only.
    pub(crate) fn hold(&mut self, class: SchedulingClass) {
        self.classes.push(class);
    }

    /// No call may be prefetched at this worker.
    pub(crate) fn reserve(&mut self, worker: ProcessId) {
        self.workers.push(worker);
    }

    pub(crate) fn is_reserved(&self, worker: ProcessId) -> bool {
        self.workers.contains(&worker)
    }

    /// Whether CPUs of this host are kept for waiting calls.
    pub(crate) fn holds_cpus_of(&self, host: HostId) -> bool {
        self.cpus_of.contains(&host)
    }

    fn holds(&self, class: SchedulingClass, request: &ResourceRequest) -> bool {
        let needs_held = |host: HostId| self.cpus_of.contains(&host);
        self.classes.contains(&class)
            || request.cpus > 0 && (self.all_cpus || request.host.is_some_and(needs_held))
    }
}
