//! What clients may know of calls and workers, and the end of a worker that is not wanted any more.

use super::Scheduler;
use super::event::{Action, Role};
use super::request::{Reply, RequestId};
use super::tasks::TaskState;
use super::workers::{Phase, Worker};
use unidist_backend::{CallStatus, WorkerInfo};
use unidist_common::{DataId, Error, ProcessId};

/// Who waits for how many workers.
#[derive(Debug)]
pub(crate) struct Awaited {
    process: ProcessId,
    request: RequestId,
    at_least: u64,
}

impl Scheduler {
    /// How far the calls are that make these objects.
    pub(crate) fn status(&mut self, process: ProcessId, request: RequestId, ids: &[DataId]) {
        let found = ids.iter().map(|id| self.status_of(*id)).collect();
        self.actions.push(Action::Reply { process, request, reply: Reply::Status(found) });
    }

    fn status_of(&self, id: DataId) -> CallStatus {
        let task = self.objects.maker(id).and_then(|call| self.tasks.get(&call).map(|task| (call, task)));
        match task.map(|(call, task)| (call, task.state)) {
            None => CallStatus::Ended,
            Some((call, TaskState::Sent(process))) if !self.is_ahead(process, call) => {
                CallStatus::Running(process)
            }
            Some(_) => CallStatus::Waiting,
        }
    }

    /// Whether the call waits at this worker for its turn.
    pub(super) fn is_ahead(&self, process: ProcessId, call: DataId) -> bool {
        self.workers.get(&process).is_some_and(|worker| worker.ahead.contains(&call))
    }

    /// Answers with the workers when there are so many, or no more are to come.
    pub(crate) fn list_workers(&mut self, process: ProcessId, request: RequestId, at_least: u64) {
        self.awaited_workers.push(Awaited { process, request, at_least });
        self.tell_of_workers(None);
    }

    /// Answers those who need not wait any longer, and this request in any case.
    pub(crate) fn tell_of_workers(&mut self, hurried: Option<(ProcessId, RequestId)>) {
        if self.awaited_workers.is_empty() {
            return;
        }
        let workers = self.staff();
        // One that is being killed will be replaced.
        let is_killed = |worker: &Worker| worker.role == Role::Pool && worker.phase == Phase::Killed;
        let is_starting = !self.ending
            && (self.hosts.iter().any(|host| host.starting > 0) || self.workers.values().any(is_killed));
        let is_due = |awaited: &Awaited| {
            workers.len() as u64 >= awaited.at_least
                || !is_starting
                || hurried == Some((awaited.process, awaited.request))
        };
        let (due, kept) = std::mem::take(&mut self.awaited_workers).into_iter().partition(is_due);
        self.awaited_workers = kept;
        let due: Vec<Awaited> = due;
        self.actions.extend(due.into_iter().map(|asked| Action::Reply {
            process: asked.process,
            request: asked.request,
            reply: Reply::Workers(workers.clone()),
        }));
    }

    /// The workers that are there to stay: of each host as many as it has slots, oldest first.
    fn staff(&self) -> Vec<WorkerInfo> {
        let is_live =
            |process: &ProcessId| self.workers.get(process).is_some_and(|worker| worker.phase == Phase::Live);
        let of_host = |host: &super::hosts::Host| {
            let live = host.pool.iter().copied().filter(is_live).take(host.cpus);
            live.map(|process| WorkerInfo::new(process, host.address.clone())).collect::<Vec<_>>()
        };
        self.hosts.iter().flat_map(of_host).collect()
    }

    /// Nobody waits there for workers any more.
    pub(super) fn forget_awaited_workers(&mut self, process: ProcessId) {
        self.awaited_workers.retain(|awaited| awaited.process != process);
    }

    /// Ends a worker once it has ended what it runs; its slot is gone, too.
    pub(crate) fn end_worker(&mut self, process: ProcessId, request: RequestId, worker: ProcessId) {
        let known = self.workers.get(&worker).filter(|known| known.role == Role::Pool);
        let live = known.filter(|known| known.phase == Phase::Live).map(|known| known.host);
        let reply = match live {
            None => Reply::Count(0),
            Some(_) if self.staff().len() <= 1 => Reply::Failed(Error::InvalidArgument {
                call: "end_worker".to_owned(),
                message: format!(
                    "{worker} is the last worker: nothing could run any more; use `shutdown` to end all"
                ),
            }),
            Some(host) => {
                let at_home = &mut self.hosts[host.place()];
                let has_slot = at_home.cpus > 0;
                at_home.cpus -= usize::from(has_slot);
                self.actions.push(Action::SetCpus { host, cpus: at_home.cpus });
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.phase = Phase::Draining;
                    worker.gives_slot_up = has_slot;
                }
                self.draining.push(worker);
                Reply::Count(1)
            }
        };
        self.actions.push(Action::Reply { process, request, reply });
    }

    /// Ends the workers that were to end when they have done what they had begun, and have. What was sent ahead to them
    /// comes back.
    pub(super) fn end_drained(&mut self) {
        if self.draining.is_empty() {
            return; // nearly always
        }
        for process in std::mem::take(&mut self.draining) {
            let Some(worker) = self.workers.get(&process).filter(|worker| worker.phase == Phase::Draining)
            else {
                continue; // it has ended otherwise
            };
            if worker.stack.is_empty() && worker.ahead.is_empty() && worker.recalling.is_none() {
                self.give_slot_up(process);
                self.stop(process);
                continue;
            }
            let ahead = worker.ahead.iter().copied().collect();
            self.recall(process, ahead);
            self.draining.push(process);
        }
    }

    fn give_slot_up(&mut self, process: ProcessId) {
        if let Some(worker) = self.workers.get_mut(&process)
            && std::mem::take(&mut worker.gives_slot_up)
        {
            self.resources.drop_cpu(worker.host);
        }
    }
}
