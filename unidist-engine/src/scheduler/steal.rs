//! What was sent ahead to busy workers comes back, for those that could run it now.

use super::Scheduler;
use super::resources::Class;
use super::tasks::TaskState;
use super::workers::Worker;
use crate::network::HostId;
use unidist_common::{DataId, ProcessId};

/// How many of the objects that a blocked task waits for are looked for at busy workers.
const RECALL_LIMIT: usize = 64;

impl Scheduler {
    /// An idle worker takes over half of what the busiest has waiting; a blocked one what it waits for.
    pub(super) fn steal(&mut self) {
        let mut is_any_free = false;
        for host in self.host_ids() {
            let is_free = self.resources.fits(Class::DEFAULT, host);
            is_any_free |= is_free;
            if is_free && self.idle_worker_of(host).is_some() && self.steal_for(host) {
                return;
            }
        }
        if is_any_free {
            self.recall_awaited();
        }
    }

    /// False if nobody has what an idle worker of this host could run.
    fn steal_for(&mut self, thief: HostId) -> bool {
        let later_half =
            |worker: &Worker| self.movable(worker.ahead.iter().skip(worker.ahead.len() / 2).copied(), thief);
        let is_all_movable = self.hosts.len() == 1 && !self.resources.is_anything_pinned();
        let busiest = self
            .pool()
            .filter_map(|process| Some((process, self.workers.get(&process)?)))
            .filter(|(_, worker)| worker.recalling.is_none() && !worker.ahead.is_empty())
            .filter(|(_, worker)| is_all_movable || !later_half(worker).is_empty())
            .max_by_key(|(_, worker)| worker.ahead.len());
        let Some((process, worker)) = busiest else { return false };
        let tasks = later_half(worker);
        self.recall(process, tasks);
        true
    }

    /// Those of these calls that may run on this host: with their objects there, or so few without that they can come.
    fn movable(&self, calls: impl Iterator<Item = DataId>, to: HostId) -> Vec<DataId> {
        if self.hosts.len() == 1 {
            return calls.filter(|call| !self.is_pinned(*call)).collect();
        }
        let mut left = self.hosts[to.place()].may_fetch();
        let mut is_movable = |call: &DataId| {
            let Some(task) = self.tasks.get(call) else { return false };
            if !self.resources.may_run_on(task.class, to) || self.resources.worker(task.class).is_some() {
                return false;
            }
            let is_near = self.may_start_on(*call, to);
            if !is_near && left > 0 {
                left -= 1;
                return true;
            }
            is_near
        };
        calls.filter(|call| is_movable(call)).collect()
    }

    /// There is a free slot, and blocked tasks wait for what lies ahead at busy workers: it comes back.
    fn recall_awaited(&mut self) {
        let blocked = self.pool().filter_map(|process| {
            let request = self.workers.get(&process)?.blocked_on()?;
            self.requests.get(&(process, request))
        });
        let mut awaited: Vec<(ProcessId, DataId)> = Vec::new();
        for id in blocked.flat_map(|request| request.ids.iter().rev().take(RECALL_LIMIT)) {
            let Some(maker) = self.objects.maker(*id) else { continue };
            if let Some(TaskState::Sent(process)) = self.tasks.get(&maker).map(|task| task.state)
                && self.workers.get(&process).is_some_and(|w| w.is_active() && w.ahead.contains(&maker))
                && !self.is_pinned(maker)
            {
                awaited.push((process, maker));
            }
        }
        awaited.sort_unstable();
        awaited.dedup();
        for calls in awaited.chunk_by(|one, other| one.0 == other.0) {
            self.recall(calls[0].0, calls.iter().map(|(_, call)| *call).collect());
        }
    }
}
