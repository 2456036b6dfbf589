//! Calls that end early: cancelled, or out of time.
//!
//! The results of such a call fail at once. One that was not sent anywhere is gone with that. One that was sent is
//! *doomed*: its process is told, and until that says that the call is gone (or is gone itself), the call keeps its
//! place there, its slot and what it refers to. A worker of the pool that does not get rid of it in time is killed.
//!
//! A doomed call that is blocked in `get` or `wait` gets an error, but not before it is known what its worker has
//! started by itself meanwhile: what it waits for and lies ahead there is asked back first.

use super::Scheduler;
use super::event::{Action, Role};
use super::request::{Reply, RequestId, Value};
use super::resources::Class;
use super::tasks::TaskState;
use super::workers::{FrameState, Phase};
use crate::network::HostId;
use std::sync::Arc;
use unidist_backend::Which;
use unidist_common::{DataId, ErrorKind, ProcessId, Target, TaskError, TaskSpec};

/// A call whose results have failed and that may still be with its process.
#[derive(Debug)]
pub(crate) struct Doomed {
    process: ProcessId,
    pub(crate) class: Class,
    error: Arc<TaskError>,
    /// Its dependencies and what it borrows stay: it may be reading them.
    spec: Box<TaskSpec>,
}

impl Scheduler {
    /// Ends the calls that make these objects, as far as they have not ended, and replies with their number.
    pub(crate) fn cancel(&mut self, process: ProcessId, request: RequestId, ids: &[DataId], which: Which) {
        if which == Which::Unstarted {
            return self.cancel_unstarted(process, request, ids);
        }
        let mut ended = 0;
        for id in ids {
            let Some(call) = self.objects.maker(*id) else { continue };
            // What an actor's id names is the actor: its constructor is not to be had alone.
            if self.tasks.get(&call).is_some_and(|task| task.spec.target != Target::NewActor) {
                self.end_early(call, TaskError::new(ErrorKind::Cancelled, ""));
                ended += 1;
            }
        }
        self.actions.push(Action::Reply { process, request, reply: Reply::Count(ended) });
    }

    /// The call's results fail now, wherever it is.
    pub(crate) fn end_early(&mut self, id: DataId, error: TaskError) {
        match self.tasks.get(&id).map(|task| task.state) {
            None => {}
            Some(TaskState::Waiting | TaskState::Ready | TaskState::Fetching) => self.fail_task(id, error),
            Some(TaskState::Sent(process)) => self.doom(process, id, error),
        }
    }

    fn doom(&mut self, process: ProcessId, id: DataId, error: TaskError) {
        let Some(task) = self.tasks.remove(&id) else { return };
        self.keep_unwanted(id);
        self.disarm(id);
        let error = Arc::new(error.of_function(&task.spec.name));
        if task.spec.returns.count == 0 {
            self.actions.push(Action::Unobserved((*error).clone()));
        }
        for result in task.spec.returns.ids() {
            self.settle(result, HostId::CONTROLLER, Value::Failed(error.clone()));
        }
        self.actions.push(Action::CancelTask { process, task: id, error: error.clone() });
        let actor = match task.spec.target {
            Target::Actor(actor) => Some(actor),
            Target::Pool | Target::NewActor => None,
        };
        if let Some(actor) = actor {
            self.actor_call_ended(actor, &task);
        }
        self.no_room.remove(&id);
        self.doomed.insert(id, Doomed { process, class: task.class, error, spec: task.spec });
        match actor {
            Some(actor) => {
                self.refuse_all(process, id);
                self.release(actor);
            }
            None => {
                self.arm(id, self.limits.cancel_grace);
                self.recall_from(process, id);
                self.free_doomed(process);
            }
        }
    }

    /// Asks for everything back that was sent to this worker after the call: also for what was to run on top of it, as
    /// that may not have started, and will not before the call waits again.
    fn recall_from(&mut self, process: ProcessId, call: DataId) {
        let Some(worker) = self.workers.get(&process) else { return };
        let Some(at) = worker.stack.iter().position(|frame| frame.task == call) else { return };
        let above = worker.stack[at + 1..].iter().map(|frame| frame.task);
        let later = above.chain(worker.ahead.iter().copied()).filter(|task| !self.is_doomed(*task));
        self.recall(process, later.collect());
    }

    /// What a call of an actor waits for is not waited for any more.
    fn refuse_all(&mut self, process: ProcessId, call: DataId) {
        let Some(worker) = self.workers.get(&process) else { return };
        let is_its = |request: &&RequestId| {
            self.requests.get(&(process, **request)).is_some_and(|open| open.blocks(call))
        };
        let requests: Vec<_> = worker.blocking.iter().filter(is_its).copied().collect();
        let Some(error) = self.doomed.get(&call).map(|doomed| doomed.error.clone()) else { return };
        requests.into_iter().for_each(|request| self.refuse(process, request, &error));
    }

    /// The error of a wait that is about to begin, if the call that is to wait is doomed. On a worker of the pool the
    /// wait begins all the same: see the module's documentation.
    pub(crate) fn refusal(&self, process: ProcessId, call: Option<DataId>) -> Option<TaskError> {
        let doomed = self.doomed.get(&call?)?;
        let in_pool = self.workers.get(&process).is_some_and(|worker| worker.role == Role::Pool);
        (!in_pool).then(|| (*doomed.error).clone())
    }

    /// Where this call is, if it is doomed.
    pub(crate) fn doomed_on(&self, call: DataId) -> Option<ProcessId> {
        self.doomed.get(&call).map(|doomed| doomed.process)
    }

    pub(crate) fn is_doomed(&self, call: DataId) -> bool {
        !self.doomed.is_empty() && self.doomed.contains_key(&call)
    }

    /// Whether what this process runs, or waits with, is doomed.
    pub(crate) fn top_is_doomed(&self, process: ProcessId) -> bool {
        let top = self.workers.get(&process).and_then(|worker| worker.stack.last());
        top.is_some_and(|frame| self.is_doomed(frame.task))
    }

    /// Nothing is to wait behind a doomed call, and a doomed call is not to wait.
    pub(crate) fn free_doomed(&mut self, process: ProcessId) {
        if self.doomed.is_empty() {
            return;
        }
        let Some(worker) = self.workers.get(&process) else { return };
        if !worker.stack.iter().any(|frame| self.is_doomed(frame.task)) {
            return;
        }
        let mut free = Vec::new();
        for frame in &worker.stack {
            let (FrameState::Blocked(on), Some(doomed)) = (frame.state, self.doomed.get(&frame.task)) else {
                continue;
            };
            let open = self.requests.get(&(process, on));
            let awaited = open.map_or(&[][..], |open| open.run_by_itself());
            if !worker.ahead.iter().any(|task| self.makes_one_of(*task, awaited)) {
                free.push((on, doomed.error.clone()));
            }
        }
        let behind = worker.ahead.iter().copied().filter(|task| !self.is_doomed(*task)).collect();
        self.recall(process, behind);
        free.into_iter().for_each(|(request, error)| self.refuse(process, request, &error));
    }

    /// A call that is no longer known has ended on this process.
    pub(crate) fn doomed_left(&mut self, process: ProcessId, id: DataId) {
        self.forget_doomed(process, id);
        let in_pool = self.workers.get(&process).is_some_and(|worker| worker.role == Role::Pool);
        // One that is known runs elsewhere, or will: then this is a lie.
        if in_pool && !self.tasks.contains_key(&id) && self.remove_from_worker(process, id) {
            self.keep_busy(process);
        }
    }

    /// The call is not on this process any more: what it kept is given back.
    pub(crate) fn forget_doomed(&mut self, process: ProcessId, id: DataId) {
        if self.doomed.get(&id).is_none_or(|doomed| doomed.process != process) {
            return;
        }
        self.disarm(id);
        if let Some(doomed) = self.doomed.remove(&id) {
            doomed.spec.dependencies.iter().chain(&doomed.spec.borrowed).for_each(|id| self.release(*id));
        }
    }

    /// The process has ended.
    pub(crate) fn doomed_lost(&mut self, process: ProcessId) {
        let of_process = self.doomed.iter().filter(|(_, doomed)| doomed.process == process);
        let mut calls: Vec<_> = of_process.map(|(id, _)| *id).collect();
        calls.sort_unstable();
        calls.into_iter().for_each(|call| self.forget_doomed(process, call));
    }

    /// A doomed call has not left its worker in time: the worker is killed, unless others run on top of the call, for
    /// which it cannot help waiting. Whether they do is asked.
    pub(crate) fn grace_is_over(&mut self, id: DataId) {
        let Some(doomed) = self.doomed.get(&id) else { return };
        let process = doomed.process;
        let Some(worker) = self.workers.get_mut(&process) else { return };
        let below = worker.stack.iter().rev().skip(1).any(|frame| frame.task == id);
        if below {
            self.recall_from(process, id);
            return self.arm(id, self.limits.cancel_grace);
        }
        worker.killed_for = Some(doomed.error.clone());
        worker.phase = Phase::Killed;
        self.actions.push(Action::Kill(process));
    }

    /// The call was lost with a worker that was killed because of another one.
    pub(crate) fn lost_beside(&mut self, id: DataId, error: &TaskError, culprit: &TaskError) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.may_run_again_unblamed() {
            return self.make_ready_again(id);
        }
        let message = format!(
            "its worker was killed because `{}`, which ran there too, had to end and did not",
            culprit.function
        );
        let error = TaskError { message, ..error.clone() };
        self.fail_task(id, error.because(culprit.clone()));
    }
}
