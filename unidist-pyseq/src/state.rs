//! The state of a session and its transitions. No I/O, no threads, no user code.
//!
//! # States of a session
//!
//! *open* → *closing* (ready calls still run, and running code may still make calls) → *ending* (no new calls are
//! accepted; unfinished calls fail) → *ended* (everything is freed).

mod cancellation;
mod live;
mod waiting;

use cancellation::Cancellations;
pub(crate) use waiting::Goal;

use crate::actor_names::ActorNames;
use crate::directory::{Callback, Directory, Freed};
use crate::queue::{Caller, Queue};
use crate::resources::{Host, LOCAL_IP};
use crate::workers::Workers;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use unidist_backend::{Call, CallKind, CallResult, CallStatus, NamedActor, OnStart, Outcome, WorkerInfo};
use unidist_common::{
    ActorId, DataId, ErrorKind, Object, ProcessId, Returns, Target, TaskError, TaskId, TaskSpec,
};

/// The phase of a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    Closing,
    Ending,
    Ended,
}

/// A frame of the sequential thread's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Call(TaskId),
    /// A turn of the runner, which polls the asynchronous calls that were woken.
    Turn,
}

/// The next step of the sequential thread.
pub(crate) enum Step {
    Run(TaskSpec),
    /// Drop these asynchronous calls: they were cancelled or ran out of time.
    Drop(Vec<TaskId>),
    Turn,
    DropActor(ActorId),
}

/// Work to do after the lock is released: user code may run in it.
#[must_use]
#[derive(Default)]
pub(crate) struct Effects {
    then: Vec<(Callback, Outcome)>,
    freed: Vec<Freed>,
    /// The failures of calls without results, which no `get` can return.
    unobserved: Vec<TaskError>,
}

impl Effects {
    pub(crate) fn run(self) {
        for error in self.unobserved {
            log::error!("a call without results failed, so no `get` can return its error: {error}");
        }
        for (then, outcome) in self.then {
            call(then, outcome);
        }
        drop(self.freed);
    }
}

/// Calls a callback. The thread may be within any other call, which a panic must not unwind.
pub(crate) fn call(then: Callback, outcome: Outcome) {
    if catch_unwind(AssertUnwindSafe(|| then(outcome))).is_err() {
        log::error!("a callback panicked: see its message on standard error");
    }
}

pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) directory: Directory,
    /// What the sequential thread is running, from the bottom of its stack.
    pub(crate) stack: Vec<Frame>,
    /// Whether the runner has asked for a turn.
    pub(crate) woken: bool,
    /// Whether the sequential thread is asleep inside a call: blocked in `get` or `wait`.
    pub(crate) asleep: bool,
    host: Host,
    workers: Workers,
    actor_names: ActorNames,
    queue: Queue,
    /// The calls that have not ended.
    calls: FxHashMap<TaskId, Unfinished>,
    /// Cancelled calls and calls with a time limit.
    cancellations: Cancellations,
    /// Actors without references, still to be dropped.
    dying: Vec<ActorId>,
    /// The number of actors being dropped now.
    dropping: usize,
}

struct Unfinished {
    name: Arc<str>,
    target: Target,
    returns: Returns,
    /// The worker it nominally runs on; `None` for actors.
    worker: Option<ProcessId>,
    /// The call holds one reference to each of these, and one to each of its returns.
    pins: Vec<DataId>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Waiting or ready.
    Queued,
    /// Taken from the queue by the sequential thread: on its stack, or about to be.
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
            actor_names: ActorNames::default(),
            queue: Queue::default(),
            calls: FxHashMap::default(),
            cancellations: Cancellations::default(),
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

    /// The worker that this call nominally runs on.
    pub(crate) fn worker_of(&self, call: TaskId) -> Option<ProcessId> {
        self.calls.get(&call)?.worker
    }

    /// Removes a worker and its slot: whether it existed; `None` if it is the last.
    pub(crate) fn end_worker(&mut self, worker: ProcessId) -> Option<bool> {
        let ended = self.workers.end(worker)?;
        if ended {
            self.host.drop_cpu();
        }
        Some(ended)
    }

    /// The status of the call that makes this object.
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

    /// Accepts a call.
    pub(crate) fn submit(&mut self, spec: TaskSpec, caller: Caller) -> Effects {
        if self.phase >= Phase::Ending {
            return Effects::default();
        }
        self.asleep = false; // the sequential thread has to look at this call first
        let id = spec.id();
        let actor = match spec.target {
            Target::Actor(actor) => Some(actor.handle()),
            Target::Pool | Target::NewActor => None,
        };
        for returned in spec.returns.ids() {
            let is_actor = spec.target == Target::NewActor;
            self.directory.insert_pending(returned, &spec, is_actor, 2); // one reference of the caller, one of the call
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
        let checked = self.host.check(&spec).and(worker).and_then(|_| self.name_actor(&spec));
        if let Err(error) = checked {
            return self.settle(id, Err(error));
        }
        let directory = &mut self.directory;
        self.queue.push(spec, caller, |object, number| directory.await_by(object, number));
        Effects::default()
    }

    /// Takes the next step, preferring steps that `goal` needs.
    pub(crate) fn next(&mut self, goal: Option<Goal<'_>>) -> Option<Step> {
        if let Some(actor) = self.dying.pop() {
            self.dropping += 1;
            return Some(Step::DropActor(actor));
        }
        if let Some(calls) = self.cancellations.take_to_drop() {
            return Some(Step::Drop(calls));
        }
        let helpful = match goal {
            Some(goal) if self.queue.has_choice() => self.calls_needed_for(goal),
            _ => FxHashSet::default(),
        };
        let is_helpful = |id: &TaskId| self.queue.is_ready(*id);
        let may_turn = goal.is_some() || self.phase == Phase::Open; // while closing, turns could follow each other endlessly
        if self.woken && may_turn && !helpful.iter().any(is_helpful) {
            self.woken = false;
            return Some(Step::Turn);
        }
        self.queue.take_ready(&helpful).map(|spec| Step::Run(self.taken(spec)))
    }

    /// Takes this call if it is ready.
    pub(crate) fn take_if_ready(&mut self, id: TaskId) -> Option<TaskSpec> {
        self.queue.take_if_ready(id).map(|spec| self.taken(spec))
    }

    /// A call that was taken is running at once, so that no thread sees it neither ready nor running.
    fn taken(&mut self, spec: TaskSpec) -> TaskSpec {
        if let Some(call) = self.calls.get_mut(&spec.id()) {
            call.progress = Progress::Running;
        }
        spec
    }

    /// Whether the submitter of this call should wait: the sequential thread is about to run the call or is running
    /// it, and is not blocked in it or in another call.
    pub(crate) fn is_about_to_run(&self, id: TaskId) -> bool {
        let is_due = self.queue.is_ready(id) || self.is_running(id);
        let is_free = match self.stack.first() {
            Some(Frame::Call(bottom)) => *bottom == id,
            Some(Frame::Turn) | None => true,
        };
        is_due && is_free && !self.asleep && self.phase < Phase::Ending
    }

    /// The call as the runner takes it, or the error for which it cannot run.
    pub(crate) fn begin(&mut self, spec: TaskSpec) -> Result<Call, TaskError> {
        let id = spec.id();
        if let Some(why) = self.why_cancelled(id) {
            return Err(why); // after it was taken
        }
        if let Some(worker) = spec.options.worker {
            self.workers.check(worker)?; // it may have been ended after the submit
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

    /// The call on top of the stack has returned: with its result, or `None` if it continues in turns.
    pub(crate) fn returned(&mut self, id: TaskId, result: Option<CallResult>) -> Effects {
        self.stack.pop();
        self.cancellations.code_returned(id, result.is_none());
        match result {
            Some(result) => self.settle(id, result.map_err(here)),
            None => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.progress = Progress::Pending;
                }
                Effects::default()
            }
        }
    }

    /// A call that was taken cannot start.
    pub(crate) fn not_started(&mut self, id: TaskId, error: TaskError) -> Effects {
        self.cancellations.code_returned(id, false);
        self.settle(id, Err(error))
    }

    /// Ends a turn.
    pub(crate) fn turned(&mut self) {
        self.stack.pop();
    }

    /// Gives these calls their results.
    pub(crate) fn settle_all(&mut self, ended: Vec<(TaskId, CallResult)>) -> Effects {
        let mut effects = Effects::default();
        for (id, result) in ended {
            self.cancellations.code_returned(id, false);
            effects.extend(self.settle(id, result.map_err(here)));
        }
        effects
    }

    /// Gives a call its result.
    pub(crate) fn settle(&mut self, id: TaskId, result: CallResult) -> Effects {
        let mut effects = Effects::default();
        let Some(call) = self.calls.remove(&id) else {
            return effects;
        };
        let result = self.cancellations.check_deadline(id, result);
        if let (Err(error), 0) = (&result, call.returns.count) {
            effects.unobserved.push(error.clone().of_function(&call.name));
        }
        if call.target == Target::NewActor && result.is_err() {
            self.actor_names.free(id.first_return());
        }
        let objects = self.outcomes(&call, result);
        for (returned, (outcome, borrowed)) in call.returns.ids().zip(objects) {
            borrowed.iter().for_each(|inner| self.directory.retain(*inner));
            let settled = self.directory.settle(returned, outcome.clone(), borrowed);
            effects.then.extend(settled.then.into_iter().map(|then| (then, outcome.clone())));
            for number in settled.waiting {
                self.queue.settled_one(number);
            }
        }
        for id in call.returns.ids().chain(call.pins) {
            self.release_into(id, &mut effects.freed);
        }
        effects
    }

    /// One outcome for each return of the call.
    fn outcomes(&mut self, call: &Unfinished, result: CallResult) -> Vec<(Outcome, Vec<DataId>)> {
        let count = call.returns.count as usize;
        let error = match result {
            Ok(objects) if objects.len() == count => {
                return objects.into_iter().map(|object| (Ok(object.payload), object.borrowed)).collect();
            }
            Ok(objects) => {
                let message =
                    format!("the call returned {} results, but {count} were requested", objects.len());
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

    pub(crate) fn release(&mut self, id: DataId) -> Effects {
        let mut effects = Effects::default();
        self.release_into(id, &mut effects.freed);
        effects
    }

    fn release_into(&mut self, id: DataId, freed: &mut Vec<Freed>) {
        let before = freed.len();
        self.directory.release(id, freed);
        let actors = freed[before..].iter().filter(|freed| freed.is_actor);
        actors.clone().for_each(|freed| self.actor_names.free(freed.id));
        self.dying.extend(actors.map(|freed| ActorId::of_handle(freed.id)));
    }

    /// The living actor of this name, with one more reference.
    pub(crate) fn find_actor(&mut self, name: &str) -> Option<NamedActor> {
        let actor = self.actor_names.find(name)?;
        self.directory.retain(actor.handle);
        Some(actor)
    }

    /// Gives a new actor the name that it asks for.
    fn name_actor(&mut self, spec: &TaskSpec) -> Result<(), TaskError> {
        match (spec.target, &spec.options.name) {
            (Target::NewActor, Some(name)) => {
                let actor = NamedActor { handle: spec.returns.first, constructor: spec.function };
                self.actor_names.give(name, actor)
            }
            _ => Ok(()),
        }
    }

    /// The outcome of a settled object.
    pub(crate) fn outcome(&self, id: DataId) -> Outcome {
        match self.directory.outcome(id) {
            Some(outcome) => outcome.clone(),
            None if self.phase >= Phase::Ending => Err(TaskError::session_ended()),
            None => Err(TaskError::new(ErrorKind::ObjectLost, format!("object {id} does not exist"))),
        }
    }

    /// Whether the sequential thread has no actor or call to drop.
    pub(crate) fn is_idle(&self) -> bool {
        self.dying.is_empty() && !self.cancellations.has_to_drop()
    }

    fn is_running(&self, id: TaskId) -> bool {
        self.calls.get(&id).is_some_and(|call| call.progress == Progress::Running)
    }

    fn check_actor(&self, actor: ActorId) -> Result<(), TaskError> {
        match self.directory.outcome(actor.handle()) {
            Some(Ok(_)) => Ok(()),
            Some(Err(cause)) => {
                Err(TaskError::new(ErrorKind::ActorDied, "its constructor failed").because(cause.clone()))
            }
            None => Err(TaskError::new(ErrorKind::ActorDied, format!("actor {actor} does not exist"))),
        }
    }

    /// Fails all unfinished calls and accepts no new ones.
    pub(crate) fn fail_unfinished(&mut self) -> Effects {
        self.phase = self.phase.max(Phase::Ending);
        self.queue.drain();
        let mut calls: Vec<_> = self.calls.keys().copied().collect();
        calls.sort_unstable();
        let mut effects = Effects::default();
        for call in calls {
            effects.extend(self.settle(call, Err(TaskError::session_ended())));
        }
        effects
    }

    /// The remaining actors, for the runner to drop.
    pub(crate) fn remaining_actors(&mut self) -> Vec<ActorId> {
        let mut actors = std::mem::take(&mut self.dying);
        actors.extend(self.directory.actors());
        actors
    }

    /// Frees everything.
    pub(crate) fn end(&mut self) -> Effects {
        let mut effects = self.fail_unfinished();
        self.phase = Phase::Ended;
        effects.freed.extend(self.directory.clear());
        self.dying.clear();
        effects
    }
}

impl Effects {
    pub(crate) fn extend(&mut self, other: Effects) {
        self.then.extend(other.then);
        self.freed.extend(other.freed);
        self.unobserved.extend(other.unobserved);
    }
}

/// The error of a call that ran in this process.
fn here(error: TaskError) -> TaskError {
    error.on_worker(&ProcessId::CONTROLLER.to_string())
}
