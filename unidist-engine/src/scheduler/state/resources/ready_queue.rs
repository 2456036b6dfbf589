//! The calls that are ready, in line for resources.

use crate::scheduler::state::fair_share::GroupId;
use crate::scheduler::state::resources::{ResourceRequest, Resources, SchedulingClass};
use rustc_hash::FxHashSet;
use std::cmp::Reverse;
use unidist_common::{DataId, HostId, ProcessId};

/// Where a ready call stands in line: lower comes first. Priority, turn of its group, arrival.
type Place = (Reverse<i32>, u64, u64);

impl Resources {
    /// A call of this class waits for CPUs, if it needs any: later calls do not take those.
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

    /// Nothing held back but what is for calls for one worker alone that cannot be sent ahead to it.
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

    /// How many calls for one worker alone have become ready so far.
    pub(crate) fn bound_arrivals(&self) -> u64 {
        self.bound_arrivals
    }

    fn note_arrival(&mut self, class: SchedulingClass) {
        self.bound_arrivals += u64::from(self.requests[class.index()].worker.is_some());
    }

    /// Puts a call at the end of its queue.
    pub(crate) fn push(&mut self, class: SchedulingClass, task: DataId) {
        self.note_arrival(class);
        self.arrivals += 1;
        self.queues[class.index()].push_back((self.arrivals, task));
    }

    /// Puts a call that had its turn already back to the start of its queue.
    pub(crate) fn push_front(&mut self, class: SchedulingClass, task: DataId) {
        self.note_arrival(class);
        self.queues[class.index()].push_front((0, task));
    }

    /// The call of the highest priority, of those the one whose group has its turn, and of those the one that has waited
    /// longest, leaving out what is held back. Calls for which
    /// `is_ready` is false have been taken elsewhere and are forgotten.
    pub(crate) fn next_ready(
        &mut self,
        reserved: &Reservations,
        is_ready: impl Fn(DataId) -> bool,
    ) -> Option<(SchedulingClass, DataId)> {
        let mut best: Option<(Place, SchedulingClass, DataId)> = None;
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

    /// Takes the first call of this class off its queue.
    pub(crate) fn pop(&mut self, class: SchedulingClass) {
        self.queues[class.index()].pop_front();
    }

    /// Every call that is queued.
    pub(crate) fn drain(&mut self) -> Vec<DataId> {
        self.queues.iter_mut().flat_map(|queue| queue.drain(..)).map(|(_, task)| task).collect()
    }

    /// The groups that have ready calls now and had none when this was asked last.
    pub(crate) fn newcomers(&mut self, is_ready: impl Fn(DataId) -> bool) -> Vec<GroupId> {
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

/// What cannot be handed out now, so that what comes after it is not either.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    /// Nothing more is sent ahead to these workers: calls wait for them that cannot be.
    workers: Vec<ProcessId>,
    classes: Vec<SchedulingClass>,
    /// Calls wait for CPUs of these hosts.
    cpus_of: Vec<HostId>,
    /// Which are all there are.
    all_cpus: bool,
}

impl Reservations {
    /// These calls are held back, and nothing else is.
    pub(crate) fn hold(&mut self, class: SchedulingClass) {
        self.classes.push(class);
    }

    /// Nothing is to be sent ahead to this worker.
    pub(crate) fn reserve(&mut self, worker: ProcessId) {
        self.workers.push(worker);
    }

    pub(crate) fn is_reserved(&self, worker: ProcessId) -> bool {
        self.workers.contains(&worker)
    }

    /// Whether CPUs of this host are kept for a call that waits for them.
    pub(crate) fn holds_cpus_of(&self, host: HostId) -> bool {
        self.cpus_of.contains(&host)
    }

    fn holds(&self, class: SchedulingClass, request: &ResourceRequest) -> bool {
        let needs_held = |host: HostId| self.cpus_of.contains(&host);
        self.classes.contains(&class)
            || request.cpus > 0 && (self.all_cpus || request.host.is_some_and(needs_held))
    }
}
