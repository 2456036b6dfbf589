//! The processes that run calls, as the scheduler sees them.
//!
//! A pool worker runs one task at a time. The task may block in `get`; then its slot is free, and the worker runs, on
//! top of it, tasks that it waits for. So what runs is a stack of frames, of which only the last can be active. Behind
//! it lie the tasks that were sent ahead to hide the wire: the worker starts them in order, each when the stack is
//! empty, or earlier if the blocked task waits for them.

use super::Scheduler;
use super::event::{Action, Role};
use super::hosts::Host;
use super::request::RequestId;
use super::resources::Class;
use crate::network::HostId;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use unidist_common::{DataId, ErrorKind, ProcessId, TaskError};

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) role: Role,
    pub(crate) host: HostId,
    pub(crate) phase: Phase,
    /// What runs: the last frame on top of the others. Unused for actors, whose calls may overlap.
    pub(crate) stack: Vec<Frame>,
    /// What was sent and waits for its turn there.
    pub(crate) ahead: VecDeque<DataId>,
    /// These calls were asked back and the answer is not here yet.
    pub(crate) recalling: Option<Vec<DataId>>,
    /// Its open requests that block a call.
    pub(crate) blocking: Vec<RequestId>,
    /// The references that the process holds.
    pub(crate) references: FxHashMap<DataId, u32>,
    /// The failure of the call because of which it is being killed.
    pub(crate) killed_for: Option<Arc<TaskError>>,
    /// While it waited for this request, and so many calls had become ready that are for one worker alone, it was asked
    /// whether what waits behind it can ever run.
    pub(crate) looked_behind: Option<(RequestId, u64)>,
    /// Its CPU slot goes with it.
    pub(crate) gives_slot_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was started and has not joined.
    Starting,
    /// It runs what it is sent.
    Live,
    /// It is to end when it has done what it has begun, and is sent nothing more.
    Draining,
    /// It was told to end.
    Stopping,
    /// It is being killed.
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) task: DataId,
    pub(crate) class: Class,
    pub(crate) state: FrameState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameState {
    /// It holds its slot.
    Active,
    /// It waits for this request and has given its slot back.
    Blocked(RequestId),
    /// Its request was answered while another task ran on top of it; it goes on, with its slot, after that.
    Answered,
    /// It is asynchronous, waits for several requests, and has given its slot back until one is answered.
    Yielded,
}

impl Worker {
    pub(crate) fn new(role: Role, host: HostId) -> Self {
        Worker {
            role,
            host,
            phase: Phase::Starting,
            stack: Vec::new(),
            ahead: VecDeque::new(),
            recalling: None,
            blocking: Vec::new(),
            references: FxHashMap::default(),
            killed_for: None,
            looked_behind: None,
            gives_slot_up: false,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Live && self.stack.is_empty() && self.ahead.is_empty()
    }

    /// Whether the last frame runs, so that the worker comes to what was sent ahead by itself.
    pub(crate) fn is_active(&self) -> bool {
        self.phase == Phase::Live && self.stack.last().is_some_and(|frame| frame.state == FrameState::Active)
    }

    pub(crate) fn blocked_on(&self) -> Option<RequestId> {
        match self.stack.last()?.state {
            FrameState::Blocked(request) => Some(request),
            FrameState::Active | FrameState::Answered | FrameState::Yielded => None,
        }
    }
}

impl Scheduler {
    /// A process as errors name it.
    pub(crate) fn name_of(&self, process: ProcessId, host: HostId) -> String {
        match self.hosts.get(host.place()) {
            Some(host) => format!("{process} on {}", host.address),
            None => process.to_string(),
        }
    }

    /// Starts a process for the pool of this host.
    pub(crate) fn start_pool_worker(&mut self, host: HostId) {
        if let Some(process) = self.start(Role::Pool, host) {
            let host = &mut self.hosts[host.place()];
            host.pool.push(process);
            host.starting += 1;
        }
    }

    /// Starts a process; `None` if the session has used up its process numbers.
    pub(crate) fn start(&mut self, role: Role, host: HostId) -> Option<ProcessId> {
        let process = ProcessId::new(self.next_process)?;
        self.next_process += 1;
        self.workers.insert(process, Worker::new(role, host));
        self.actions.push(Action::StartProcess { process, role, host });
        if role != Role::Pool {
            self.hosts[host.place()].actors += 1;
        }
        Some(process)
    }

    pub(crate) fn joined(&mut self, process: ProcessId) {
        let Some(worker) = self.workers.get_mut(&process) else {
            return;
        };
        if worker.phase != Phase::Starting {
            return;
        }
        worker.phase = Phase::Live;
        let role = worker.role;
        match role {
            Role::Pool => {
                let host = &mut self.hosts[worker.host.place()];
                host.starting -= 1;
                host.failed_starts = 0;
                if self.ending {
                    self.stop(process);
                }
                self.tell_of_workers(None);
            }
            Role::Actor(actor) => self.actor_process_joined(process, actor),
        }
    }

    /// Tells a process to finish what runs and end.
    pub(crate) fn stop(&mut self, process: ProcessId) {
        if let Some(worker) = self.workers.get_mut(&process)
            && matches!(worker.phase, Phase::Live | Phase::Draining)
        {
            worker.phase = Phase::Stopping;
            self.actions.push(Action::Stop(process));
        }
    }

    /// The task gives its slot back, until the request is answered or, if there is none named, any of the process is.
    pub(crate) fn block(&mut self, process: ProcessId, task: DataId, request: Option<RequestId>) {
        let Some(worker) = self.workers.get_mut(&process) else {
            return;
        };
        if worker.role != Role::Pool {
            return; // an actor keeps what it holds for its lifetime
        }
        let Some(frame) = worker.stack.iter_mut().find(|frame| frame.task == task) else {
            return;
        };
        // Not active: it was answered and went on before the task on top of it, which it may do if that had not started.
        if frame.state == FrameState::Active {
            self.resources.give_cpus(frame.class, worker.host);
        }
        frame.state = request.map_or(FrameState::Yielded, FrameState::Blocked);
        self.keep_busy(process);
    }

    /// The worker has ended a task or cannot go on with one: finds something that it can run now.
    pub(crate) fn keep_busy(&mut self, process: ProcessId) {
        self.promote(process);
        self.free_doomed(process);
        let Some(worker) = self.workers.get(&process) else {
            return;
        };
        if worker.stack.is_empty() || worker.is_active() {
            return;
        }
        let request = worker.blocked_on();
        self.recall_all(process);
        if let Some(request) = request {
            self.run_nested(process, request);
        }
    }

    /// A request of the process was answered: what was blocked by it goes on.
    pub(crate) fn unblock(&mut self, process: ProcessId, blocks: Option<DataId>, request: RequestId) {
        let Some(worker) = self.workers.get_mut(&process) else {
            return;
        };
        for frame in &mut worker.stack {
            let goes_on = match frame.state {
                FrameState::Active | FrameState::Answered => false,
                FrameState::Blocked(on) => on == request,
                FrameState::Yielded => blocks.is_none(),
            };
            if goes_on {
                frame.state = FrameState::Answered;
            }
        }
        self.resume(process);
    }

    /// The last frame goes on if what it waited for is there.
    fn resume(&mut self, process: ProcessId) {
        if let Some(worker) = self.workers.get_mut(&process)
            && let Some(frame) = worker.stack.last_mut()
            && frame.state == FrameState::Answered
        {
            frame.state = FrameState::Active;
            self.resources.take_cpus(frame.class, worker.host);
        }
    }

    /// Follows the worker in what it starts by itself: with nothing on its stack, the first task that was sent ahead;
    /// while it is blocked, the first that it waits for.
    fn promote(&mut self, process: ProcessId) {
        let Some(worker) = self.workers.get(&process) else {
            return;
        };
        let next = match worker.stack.last() {
            None => (!worker.ahead.is_empty()).then_some(0),
            Some(_) => worker.blocked_on().and_then(|request| {
                let awaited = self.requests.get(&(process, request))?.run_by_itself();
                worker.ahead.iter().position(|task| self.makes_one_of(*task, awaited))
            }),
        };
        let Some(task) = next.and_then(|at| self.workers.get_mut(&process)?.ahead.remove(at)) else {
            return;
        };
        self.push_frame(process, task);
    }

    /// The task runs on this worker from now on.
    pub(crate) fn push_frame(&mut self, process: ProcessId, task: DataId) {
        self.keep_unwanted(task);
        let (class, timeout) = match (self.tasks.get(&task), self.doomed.get(&task)) {
            (Some(task), _) => (task.class, task.spec.options.timeout),
            (None, Some(doomed)) => (doomed.class, None),
            (None, None) => return,
        };
        let Some(worker) = self.workers.get_mut(&process) else { return };
        worker.stack.push(Frame { task, class, state: FrameState::Active });
        self.resources.take(class, worker.host);
        if let Some(limit) = timeout
            && worker.role == Role::Pool
        {
            self.arm(task, limit);
        }
    }

    /// Takes the task off the worker, wherever it is there; false if it is not there.
    pub(crate) fn remove_from_worker(&mut self, process: ProcessId, task: DataId) -> bool {
        let Some(worker) = self.workers.get_mut(&process) else {
            return false;
        };
        if let Some(at) = worker.stack.iter().rposition(|frame| frame.task == task) {
            let (frame, host) = (worker.stack.remove(at), worker.host);
            self.give_back(frame, host);
            self.resume(process);
            return true;
        }
        match worker.ahead.iter().position(|ahead| *ahead == task) {
            Some(at) => worker.ahead.remove(at).is_some(),
            None => false,
        }
    }

    fn give_back(&mut self, frame: Frame, host: HostId) {
        match frame.state {
            FrameState::Active => self.resources.give(frame.class, host),
            FrameState::Blocked(_) | FrameState::Answered | FrameState::Yielded => {
                self.resources.give_rest(frame.class, host);
            }
        }
    }

    /// Asks for everything back that was sent ahead to a worker that is blocked, but for what it waits for.
    fn recall_all(&mut self, process: ProcessId) {
        let Some(worker) = self.workers.get(&process) else {
            return;
        };
        let request = worker.blocked_on().and_then(|request| self.requests.get(&(process, request)));
        let awaited = request.map_or(&[][..], |request| request.run_by_itself());
        let stuck = |task: &DataId| !self.makes_one_of(*task, awaited);
        let tasks: Vec<_> = worker.ahead.iter().copied().filter(stuck).collect();
        self.recall(process, tasks);
    }

    /// Asks for calls back, unless an answer to an earlier such question is still open.
    pub(crate) fn recall(&mut self, process: ProcessId, tasks: Vec<DataId>) {
        let Some(worker) = self.workers.get_mut(&process) else { return };
        if !tasks.is_empty() && worker.recalling.is_none() {
            worker.recalling = Some(tasks.clone());
            self.actions.push(Action::RetractTasks { process, tasks });
        }
    }

    /// The answer to a recall: these had not started, the others have.
    pub(crate) fn returned(&mut self, process: ProcessId, tasks: Vec<DataId>) {
        let Some(recalled) = self.workers.get_mut(&process).and_then(|worker| worker.recalling.take()) else {
            return;
        };
        for task in tasks.into_iter().rev() {
            self.call_left(process, task);
            if recalled.contains(&task) && self.remove_from_worker(process, task) {
                self.forget_doomed(process, task);
                self.make_ready_again(task);
            }
        }
        for task in recalled {
            let worker = self.workers.get_mut(&process);
            let started = worker.and_then(|worker| {
                let at = worker.ahead.iter().position(|ahead| *ahead == task)?;
                worker.ahead.remove(at)
            });
            if let Some(task) = started {
                self.push_frame(process, task);
            }
        }
        self.recall_unwanted(process);
        self.keep_busy(process);
    }

    /// The process has ended.
    pub(crate) fn lost(&mut self, process: ProcessId, why: &str, unseen: &[DataId]) {
        let requests: Vec<_> = self.requests.keys().filter(|key| key.0 == process).copied().collect();
        for (process, request) in requests {
            self.close(process, request);
        }
        let Some(mut worker) = self.workers.remove(&process) else {
            return;
        };
        let host = worker.host;
        let error = TaskError::new(ErrorKind::WorkerDied, why).on_worker(&self.name_of(process, host));
        let at_home = &mut self.hosts[host.place()];
        at_home.pool.retain(|other| *other != process);
        if worker.role != Role::Pool {
            at_home.actors -= 1;
        }
        let expected = worker.phase == Phase::Stopping;
        if worker.gives_slot_up {
            self.resources.drop_cpu(host);
        }
        if worker.phase == Phase::Starting && worker.role == Role::Pool {
            at_home.starting -= 1;
            at_home.failed_starts += 1;
        }
        for frame in std::mem::take(&mut worker.stack) {
            self.give_back(frame, host);
            if worker.role != Role::Pool {
                // Of the one frame of an actor, the actor makes what is to be made.
            } else if unseen.contains(&frame.task) {
                self.make_ready_again(frame.task);
            } else if let Some(culprit) = &worker.killed_for {
                self.lost_beside(frame.task, &error, culprit);
            } else {
                self.retry(frame.task, error.clone());
            }
        }
        let host_is_lost = self.hosts[host.place()].is_lost;
        for task in worker.ahead.into_iter().rev() {
            match host_is_lost {
                false => self.make_ready_again(task),
                // Nobody knows what it has run before its end, or runs still behind a cut.
                true => self.retry(task, error.clone()),
            }
        }
        self.doomed_lost(process);
        self.fail_pinned(process, &error);
        if let Role::Actor(actor) = worker.role {
            self.actor_process_lost(actor, process, error.clone(), expected, unseen);
        }
        self.process_left(process);
        self.forget_awaited_workers(process);
        for (id, count) in worker.references {
            (0..count).for_each(|_| self.release(id));
        }
        let at_home = &self.hosts[host.place()];
        let has_no_workers = at_home.pool.is_empty() && at_home.failed_starts >= MAX_FAILED_STARTS;
        self.resources.set_without_workers(host, has_no_workers);
        if at_home.failed_starts >= MAX_FAILED_STARTS {
            self.give_up_starting(&error);
        } else if worker.role == Role::Pool
            && !(expected || self.ending || at_home.is_lost)
            && self.staffed(host) < at_home.cpus
        {
            self.start_pool_worker(host);
        }
        self.tell_of_workers(None);
    }

    /// How many workers this host has that are there to stay.
    fn staffed(&self, host: HostId) -> usize {
        let stays = |process: &&ProcessId| {
            self.workers
                .get(process)
                .is_some_and(|worker| matches!(worker.phase, Phase::Starting | Phase::Live))
        };
        self.hosts[host.place()].pool.iter().filter(stays).count()
    }

    /// No process can be started: what waits for one fails, rather than wait for ever.
    fn give_up_starting(&mut self, error: &TaskError) {
        let is_hopeless = |host: &Host| host.is_lost || host.failed_starts >= MAX_FAILED_STARTS;
        if self.pool().next().is_none() && self.hosts.iter().all(is_hopeless) {
            for task in self.resources.drain() {
                self.fail_task(task, error.clone());
            }
        }
    }
}

/// So many processes in a row that end before they join mean that none ever will.
pub(crate) const MAX_FAILED_STARTS: usize = 3;
