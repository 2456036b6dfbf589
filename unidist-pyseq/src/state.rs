//! All that a session knows, and what may happen next. No input or output, no threads, no code of the program.
//!
//! # States of a session
//!
//! *open* → *closing* (what is ready still runs, and code that runs may still make calls) → *ending* (nothing new
//! comes in; what has not ended fails) → *ended* (all is gone).

mod cancellation;
mod waiting;

pub(crate) use waiting::Goal;

use crate::directory::{Directory, Freed, Then};
use crate::queue::{Caller, Queue};
use crate::resources::{Host, LOCAL_IP};
use crate::workers::Workers;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::HashSet;
use std::sync::Arc;
use unidist_backend::{Call, CallKind, CallResult, CallStatus, OnStart, Outcome, WorkerInfo};
use unidist_common::{DataId, ErrorKind, Object, ProcessId, Returns, Target, TaskError, TaskSpec};

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    Closing,
    Ending,
    Ended,
}

/// What the sequential thread runs at one place of its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Call(DataId),
    /// A turn of the runner: whatever asynchronous calls were woken.
    Turn,
}

/// What the sequential thread does next.
pub(crate) enum Step {
    Run(TaskSpec),
    /// Drop these asynchronous calls, which are to end.
    Drop(Vec<DataId>),
    Turn,
    DropActor(DataId),
}

/// What is left to do when the lock is no longer held.
#[must_use]
#[derive(Default)]
pub(crate) struct After {
    then: Vec<(Then, Outcome)>,
    freed: Vec<Freed>,
}

impl After {
    pub(crate) fn run(self) {
        for (then, outcome) in self.then {
            then(outcome);
        }
        drop(self.freed);
    }
}

pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) directory: Directory,
    /// What the sequential thread runs now, from the bottom of its stack.
    pub(crate) stack: Vec<Frame>,
    /// Whether the runner has said that a turn has something to do.
    pub(crate) woken: bool,
    /// Whether the sequential thread sleeps in the midst of a call: in a `get` or `wait` that cannot go on yet.
    pub(crate) asleep: bool,
    host: Host,
    workers: Workers,
    queue: Queue,
    /// The calls that have not ended.
    calls: FxHashMap<DataId, Unfinished>,
    /// Calls that end early, or may.
    early: cancellation::Early,
    /// Actors that nobody refers to any more.
    dying: Vec<DataId>,
    /// How many of them are being dropped now.
    dropping: usize,
}

struct Unfinished {
    name: Arc<str>,
    target: Target,
    returns: Returns,
    /// The worker that it runs on, if only in name: none for actors.
    worker: Option<ProcessId>,
    /// One reference to each of these is the call's, as is one to each of its returns.
    pins: Vec<DataId>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Waiting or ready.
    Queued,
    /// On the stack.
    Running,
    /// With the runner.
    Pending,
}

impl State {
    pub(crate) fn new(host: Host) -> Self {
        State {
            phase: Phase::Open,
            directory: Directory::default(),
            stack: Vec::new(),
            woken: false,
            asleep: false,
            workers: Workers::new(host.cpus()),
            host,
            queue: Queue::default(),
            calls: FxHashMap::default(),
            early: cancellation::Early::default(),
            dying: Vec::new(),
            dropping: 0,
        }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn workers(&self) -> Vec<WorkerInfo> {
        self.workers.list(LOCAL_IP)
    }

    /// The worker that this call runs on.
    pub(crate) fn worker_of(&self, call: DataId) -> Option<ProcessId> {
        self.calls.get(&call)?.worker
    }

    /// Gives up a worker and its slot; `None` if it is the last.
    pub(crate) fn end_worker(&mut self, worker: ProcessId) -> Option<bool> {
        let ended = self.workers.end(worker)?;
        if ended {
            self.host.drop_cpu();
        }
        Some(ended)
    }

    /// How far the call is that makes this object.
    pub(crate) fn status(&self, id: DataId) -> CallStatus {
        let call = self.directory.unsettled_by(id).and_then(|call| self.calls.get(&call));
        match call.map(|call| (call.progress, call.worker)) {
            None => CallStatus::Ended,
            Some((Progress::Queued, _)) => CallStatus::Waiting,
            Some((Progress::Running | Progress::Pending, worker)) => {
                CallStatus::Running(worker.unwrap_or(ProcessId::CONTROLLER))
            }
        }
    }

    /// Takes a call in.
    pub(crate) fn submit(&mut self, spec: TaskSpec, caller: Caller) -> After {
        if self.phase >= Phase::Ending {
            return After::default();
        }
        self.asleep = false; // it has to look at this first
        let id = spec.id();
        let actor = match spec.target {
            Target::Actor(actor) => Some(actor),
            Target::Pool | Target::NewActor => None,
        };
        for returned in spec.returns.ids() {
            let is_actor = spec.target == Target::NewActor;
            self.directory.announce(returned, id, is_actor, 2); // the caller's and the call's own
        }
        let pins: Vec<_> = spec.dependencies.iter().chain(&spec.borrowed).copied().chain(actor).collect();
        for &pin in &pins {
            self.directory.retain(pin);
        }
        let worker = self.workers.choose(&spec);
        let call = Unfinished {
            name: spec.name.clone(),
            target: spec.target,
            returns: spec.returns,
            worker: worker.as_ref().copied().unwrap_or_default(),
            pins,
            progress: Progress::Queued,
        };
        self.calls.insert(id, call);
        if let Err(error) = self.host.check(&spec).and(worker) {
            return self.settle(id, Err(error));
        }
        let directory = &mut self.directory;
        self.queue.push(spec, caller, |object, number| directory.await_by(object, number));
        After::default()
    }

    /// Takes the next thing to do: for `goal` where there is one.
    pub(crate) fn next(&mut self, goal: Option<Goal<'_>>) -> Option<Step> {
        if let Some(actor) = self.dying.pop() {
            self.dropping += 1;
            return Some(Step::DropActor(actor));
        }
        if let Some(calls) = self.early.take_to_drop() {
            return Some(Step::Drop(calls));
        }
        let helpful = match goal {
            Some(goal) if self.queue.has_choice() => self.helpful(goal),
            _ => FxHashSet::default(),
        };
        let is_helpful = |id: &DataId| self.queue.is_ready(*id);
        let may_turn = goal.is_some() || self.phase == Phase::Open; // a turn may lead to another without end
        if self.woken && may_turn && !helpful.iter().any(is_helpful) {
            self.woken = false;
            return Some(Step::Turn);
        }
        self.queue.take_ready(&helpful).map(Step::Run)
    }

    /// Takes this call if it can start now.
    pub(crate) fn take_if_ready(&mut self, id: DataId) -> Option<TaskSpec> {
        self.queue.take_if_ready(id)
    }

    /// Whether somebody who has just made this call should let the sequential thread go on first: it is about to run
    /// the call, or does so, and is not held up, in this call or in another.
    pub(crate) fn is_about_to_run(&self, id: DataId) -> bool {
        let is_due = self.queue.is_ready(id) || self.is_running(id);
        let is_free = match self.stack.first() {
            Some(Frame::Call(bottom)) => *bottom == id,
            Some(Frame::Turn) | None => true,
        };
        is_due && is_free && !self.asleep && self.phase < Phase::Ending
    }

    /// What the runner needs in order to run this call, or why it cannot.
    pub(crate) fn begin(&mut self, spec: TaskSpec) -> Result<Call, TaskError> {
        let id = spec.id();
        if let Some(worker) = spec.options.worker {
            self.workers.check(worker)?; // it may have been ended since
        }
        let kind = match spec.target {
            Target::Pool => CallKind::Task,
            Target::NewActor => CallKind::NewActor { max_concurrency: spec.options.max_concurrency },
            Target::Actor(actor) => {
                self.check_actor(actor)?;
                CallKind::Method { actor }
            }
        };
        let mut seen = HashSet::new();
        let mut objects = Vec::with_capacity(spec.dependencies.len());
        for dependency in spec.dependencies.iter().filter(|id| seen.insert(**id)) {
            match self.outcome(*dependency) {
                Ok(payload) => objects.push((*dependency, payload)),
                Err(cause) => return Err(TaskError::dependency(&spec.name, &cause)),
            }
        }
        if let Some(call) = self.calls.get_mut(&id) {
            call.progress = Progress::Running;
        }
        self.stack.push(Frame::Call(id));
        Ok(Call {
            id,
            function: spec.function,
            body: spec.body,
            kind,
            args: spec.args,
            objects,
            returns: spec.returns.count,
            on_start: OnStart::default(),
        })
    }

    /// The call on top of the stack has returned: with its result, or to be gone on with in turns.
    pub(crate) fn returned(&mut self, id: DataId, result: Option<CallResult>) -> After {
        self.stack.pop();
        self.early.came_back(id, result.is_none());
        match result {
            Some(result) => self.settle(id, result.map_err(here)),
            None => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.progress = Progress::Pending;
                }
                After::default()
            }
        }
    }

    /// A turn has ended.
    pub(crate) fn turned(&mut self, ended: Vec<(DataId, CallResult)>) -> After {
        self.stack.pop();
        self.settle_all(ended)
    }

    /// These calls have ended.
    pub(crate) fn settle_all(&mut self, ended: Vec<(DataId, CallResult)>) -> After {
        let mut after = After::default();
        for (id, result) in ended {
            self.early.came_back(id, false);
            after.extend(self.settle(id, result.map_err(here)));
        }
        after
    }

    /// Gives a call its result.
    pub(crate) fn settle(&mut self, id: DataId, result: CallResult) -> After {
        let mut after = After::default();
        let Some(call) = self.calls.remove(&id) else {
            return after;
        };
        let result = self.early.in_time(id, result);
        let objects = self.outcomes(&call, result);
        for (returned, (outcome, borrowed)) in call.returns.ids().zip(objects) {
            borrowed.iter().for_each(|inner| self.directory.retain(*inner));
            let settled = self.directory.settle(returned, outcome.clone(), borrowed);
            after.then.extend(settled.then.into_iter().map(|then| (then, outcome.clone())));
            for number in settled.waiting {
                self.queue.settled_one(number);
            }
        }
        for id in call.returns.ids().chain(call.pins) {
            self.release_into(id, &mut after.freed);
        }
        after
    }

    /// One outcome for each return of the call.
    fn outcomes(&mut self, call: &Unfinished, result: CallResult) -> Vec<(Outcome, Vec<DataId>)> {
        let count = call.returns.count as usize;
        let error = match result {
            Ok(objects) if objects.len() == count => {
                return objects.into_iter().map(|object| (Ok(object.payload), object.borrowed)).collect();
            }
            Ok(objects) => {
                let message = format!("{} results came back where {count} are wanted", objects.len());
                TaskError::new(ErrorKind::Encode, message)
            }
            Err(error) => error,
        };
        let error = error.of_function(&call.name);
        (0..count).map(|_| (Err(error.clone()), Vec::new())).collect()
    }

    pub(crate) fn actor_dropped(&mut self) {
        self.dropping -= 1;
    }

    pub(crate) fn put(&mut self, id: DataId, object: Object) {
        self.directory.put(id, object);
    }

    pub(crate) fn release(&mut self, id: DataId) -> After {
        let mut after = After::default();
        self.release_into(id, &mut after.freed);
        after
    }

    fn release_into(&mut self, id: DataId, freed: &mut Vec<Freed>) {
        let before = freed.len();
        self.directory.release(id, freed);
        let actors = freed[before..].iter().filter(|freed| freed.is_actor);
        self.dying.extend(actors.map(|freed| freed.id));
    }

    /// The outcome of an object that is settled.
    pub(crate) fn outcome(&self, id: DataId) -> Outcome {
        match self.directory.outcome(id) {
            Some(outcome) => outcome.clone(),
            None if self.phase >= Phase::Ending => Err(TaskError::new(ErrorKind::SessionEnded, "")),
            None => Err(TaskError::new(ErrorKind::ObjectLost, format!("there is no object {id}"))),
        }
    }

    /// Whether there is no actor to be dropped.
    pub(crate) fn is_idle(&self) -> bool {
        self.dying.is_empty() && !self.early.has_to_drop()
    }

    fn is_running(&self, id: DataId) -> bool {
        self.calls.get(&id).is_some_and(|call| call.progress == Progress::Running)
    }

    fn check_actor(&self, actor: DataId) -> Result<(), TaskError> {
        match self.directory.outcome(actor) {
            Some(Ok(_)) => Ok(()),
            Some(Err(cause)) => {
                Err(TaskError::new(ErrorKind::ActorDied, "it could not be made").because(cause.clone()))
            }
            None => Err(TaskError::new(ErrorKind::ActorDied, format!("there is no actor {actor}"))),
        }
    }

    /// How many objects and actors there are, and calls that make none.
    pub(crate) fn live(&self) -> usize {
        let silent = self.calls.values().filter(|call| call.returns.count == 0);
        self.directory.len() + self.dying.len() + self.dropping + silent.count()
    }

    /// Fails whatever has not ended. Nothing new comes in from now on.
    pub(crate) fn fail_unfinished(&mut self) -> After {
        self.phase = self.phase.max(Phase::Ending);
        self.queue.drain();
        let mut calls: Vec<_> = self.calls.keys().copied().collect();
        calls.sort_unstable();
        let mut after = After::default();
        for call in calls {
            after.extend(self.settle(call, Err(TaskError::new(ErrorKind::SessionEnded, ""))));
        }
        after
    }

    /// The actors that are left, for the runner to drop.
    pub(crate) fn remaining_actors(&mut self) -> Vec<DataId> {
        let mut actors = std::mem::take(&mut self.dying);
        actors.extend(self.directory.actors());
        actors
    }

    /// Forgets everything.
    pub(crate) fn end(&mut self) -> After {
        let mut after = self.fail_unfinished();
        self.phase = Phase::Ended;
        after.freed.extend(self.directory.clear());
        self.dying.clear();
        after
    }
}

impl After {
    pub(crate) fn extend(&mut self, other: After) {
        self.then.extend(other.then);
        self.freed.extend(other.freed);
    }
}

/// The error of a call that ran in this process.
fn here(error: TaskError) -> TaskError {
    error.on_worker(&ProcessId::CONTROLLER.to_string())
}
