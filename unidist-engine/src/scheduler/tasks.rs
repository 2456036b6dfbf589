//! Calls: from their submission, over their dependencies, to their results.

use super::Scheduler;
use super::directory::{Known, Waiter};
use super::event::Run;
use super::event::{Action, Role};
use super::request::Value;
use super::resources::Class;
use crate::network::HostId;
use crate::store::StoredObject;
use std::sync::Arc;
use unidist_backend::CallKind;
use unidist_common::{DataId, ErrorKind, ProcessId, Target, TaskError, TaskOptions, TaskSpec};

/// A call that has not ended.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) spec: Box<TaskSpec>,
    pub(crate) class: Class,
    pub(crate) caller: Caller,
    /// How many calls were submitted before it.
    pub(crate) arrival: u64,
    /// How many dependencies have no value yet.
    pub(crate) missing: usize,
    /// How often a worker has died with it.
    pub(crate) lost: u16,
    /// How often a worker was killed with it because of another call.
    pub(crate) spared: u16,
    pub(crate) state: TaskState,
}

// As many as there are calls under way.
const _: () = assert!(size_of::<Option<Task>>() <= 80);

/// Whose calls of an actor run in order: a process and in it the program, a task or an actor.
pub(crate) type Caller = (ProcessId, Option<DataId>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// For its dependencies, or for its turn at the actor.
    Waiting,
    /// For a worker.
    Ready,
    /// For objects that are on their way to the host where it is to run.
    Fetching,
    /// It was sent to this process.
    Sent(ProcessId),
}

/// A call that was lost with so many workers has probably killed them.
const MOST_LOSSES: u16 = 3;

impl Task {
    /// The actor that it is a call of, if it is.
    pub(super) fn actor(&self) -> Option<DataId> {
        match self.spec.target {
            Target::Actor(actor) => Some(actor),
            Target::Pool | Target::NewActor => None,
        }
    }

    /// Its process has died with it: whether it may run once more.
    pub(crate) fn may_run_again(&mut self) -> bool {
        self.lost += 1;
        self.lost < MOST_LOSSES && self.has_retries_left()
    }

    /// The same, but another call is to blame.
    pub(crate) fn may_run_again_unblamed(&mut self) -> bool {
        self.spared = self.spared.saturating_add(1);
        self.has_retries_left()
    }

    fn has_retries_left(&self) -> bool {
        u32::from(self.lost) + u32::from(self.spared) <= self.spec.options.max_retries.unwrap_or(0)
    }
}

impl Scheduler {
    /// A new call; one that was refused before it came here fails with that error.
    pub(crate) fn submit(
        &mut self,
        process: ProcessId,
        spec: Box<TaskSpec>,
        caller: Option<DataId>,
        refused: Option<TaskError>,
    ) {
        let mut spec = spec;
        let id = spec.id();
        if self.tasks.contains_key(&id) {
            return; // see below
        }
        for result in spec.returns.ids() {
            if !self.objects.declare(result, id) {
                return; // a process names ids that are not its own: nothing of it is believed
            }
            self.note_reference(process, result);
        }
        let actor = match spec.target {
            Target::Actor(actor) => Some(actor),
            Target::Pool | Target::NewActor => None,
        };
        let pinned = spec.dependencies.iter().chain(&spec.borrowed).chain(&actor);
        let gone = pinned.filter(|id| !self.objects.retain(**id)).copied().collect::<Vec<_>>();
        let gone_dependency = spec.dependencies.iter().find(|id| gone.contains(id)).copied();
        if !gone.is_empty() {
            spec.dependencies.retain(|id| !gone.contains(id));
            spec.borrowed.retain(|id| !gone.contains(id));
        }
        let class = match spec.target {
            Target::Pool => self.classify(&spec.options),
            Target::NewActor => self.resources.classify(&spec.options, true, None),
            Target::Actor(_) => Ok(Class::DEFAULT),
        };
        let refusal = if self.ending {
            Some(TaskError::new(ErrorKind::SessionEnded, "the session is shutting down"))
        } else {
            refused.or_else(|| class.as_ref().err().cloned())
        };
        let class = class.unwrap_or(Class::DEFAULT);
        self.arrivals += 1;
        let arrival = self.arrivals;
        let task = Task {
            spec,
            class,
            caller: (process, caller),
            arrival,
            missing: 0,
            lost: 0,
            spared: 0,
            state: TaskState::Waiting,
        };
        if let Target::NewActor = task.spec.target {
            self.declare_actor(&task.spec);
        }
        if self.tasks.insert(id, task).is_err() {
            return; // it was looked up above
        }
        match refusal {
            Some(error) => self.fail_task(id, error),
            None => self.resolve(id, gone_dependency),
        }
    }

    fn classify(&mut self, options: &TaskOptions) -> Result<Class, TaskError> {
        if self.resources.is_to_be_swept() {
            let frames = self.workers.values().flat_map(|worker| &worker.stack).map(|frame| frame.class);
            let doomed = self.doomed.values().map(|doomed| doomed.class);
            let used = self.tasks.iter().map(|(_, task)| task.class).chain(frames).chain(doomed).collect();
            self.resources.sweep(&used);
        }
        let only = options.worker.map(|worker| self.home_of_worker(worker)).transpose()?;
        self.resources.classify(options, false, only)
    }

    /// Looks at the dependencies of a new call.
    fn resolve(&mut self, id: DataId, gone: Option<DataId>) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let mut failed = gone.map(|id| Arc::new(self.objects.lost(id)));
        for dependency in &task.spec.dependencies {
            match self.objects.known(*dependency) {
                Known::Settled(Value::Ready(_)) => {}
                Known::Settled(Value::Failed(error)) => failed = failed.or(Some(error)),
                Known::Lost => failed = failed.or(Some(Arc::new(self.objects.lost(*dependency)))),
                Known::Pending => {
                    task.missing += 1;
                    self.objects.add_waiter(*dependency, Waiter::Task(id));
                }
            }
        }
        let (target, ready) = (task.spec.target, task.missing == 0);
        match (failed, target) {
            (Some(cause), _) => self.fail_dependent(id, &cause),
            (None, Target::Actor(actor)) => self.call_actor(actor, id),
            (None, _) if ready => self.make_ready(id),
            (None, _) => {}
        }
    }

    /// A dependency of the call has its value now.
    pub(crate) fn dependency_settled(&mut self, id: DataId, value: &Value) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        if let Value::Failed(cause) = value {
            return self.fail_dependent(id, cause);
        }
        task.missing -= 1;
        if task.missing == 0 {
            let caller = task.caller;
            match task.spec.target {
                Target::Actor(actor) => self.flush_caller(actor, caller),
                Target::Pool | Target::NewActor => self.make_ready(id),
            }
        }
    }

    pub(super) fn fail_dependent(&mut self, id: DataId, cause: &TaskError) {
        if let Some(task) = self.tasks.get(&id) {
            let error = TaskError::dependency(&task.spec.name, cause);
            self.fail_task(id, error);
        }
    }

    pub(super) fn make_ready(&mut self, id: DataId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.state = TaskState::Ready;
            self.resources.push(task.class, id);
        }
    }

    /// A call that was sent somewhere is to be sent somewhere else, before others.
    pub(crate) fn make_ready_again(&mut self, id: DataId) {
        if self.ending {
            return self
                .fail_task(id, TaskError::new(ErrorKind::SessionEnded, "the session is shutting down"));
        }
        if self.drop_unwanted(id) {
            return;
        }
        self.disarm(id);
        if let Some(task) = self.tasks.get_mut(&id) {
            if let (TaskState::Sent(_), Target::Pool) = (task.state, task.spec.target) {
                let group = self.resources.group(task.class);
                self.resources.groups().came_back(group);
            }
            task.state = TaskState::Ready;
            self.resources.push_front(task.class, id);
        }
    }

    /// A worker has died with this call: it is run again or fails.
    pub(crate) fn retry(&mut self, id: DataId, error: TaskError) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.may_run_again() {
            return self.make_ready_again(id);
        }
        let mut error = error;
        if task.lost > 1 {
            error.message += &format!("; it was lost so {} times", task.lost);
        }
        self.fail_task(id, error);
    }

    /// Sends a call to a process.
    pub(crate) fn send(&mut self, process: ProcessId, id: DataId, nested: bool) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let Some(host) = self.workers.get(&process).map(|worker| worker.host) else { return };
        task.state = TaskState::Sent(process);
        if task.spec.target == Target::Pool {
            let group = self.resources.group(task.class);
            self.resources.groups().sent(group);
        }
        self.hosts[host.place()].fetching.remove(&id);
        let Some(task) = self.tasks.get(&id) else { return };
        let spec = &task.spec;
        let kind = match spec.target {
            Target::Pool => CallKind::Task,
            Target::NewActor => CallKind::NewActor { max_concurrency: spec.options.max_concurrency },
            Target::Actor(actor) => CallKind::Method { actor },
        };
        let mut objects: Vec<(DataId, Arc<StoredObject>)> = Vec::with_capacity(spec.dependencies.len());
        for dependency in &spec.dependencies {
            if let Value::Ready(object) = self.value_on(host, *dependency) {
                objects.push((*dependency, object));
            }
        }
        self.memory.note_call(&mut self.objects, (process, host), id, &objects);
        let run = Run {
            id,
            function: spec.function,
            body: spec.body.clone(),
            kind,
            args: spec.args.clone(),
            objects,
            returns: spec.returns.count,
            nested,
            timed: spec.options.timeout.is_some(),
        };
        self.actions.push(Action::Run { process, run });
    }

    /// A call has ended.
    pub(crate) fn done(
        &mut self,
        process: ProcessId,
        id: DataId,
        result: Result<Vec<StoredObject>, TaskError>,
    ) {
        self.call_left(process, id);
        let Some(host) = self.host_of(process) else { return };
        let sent_here = |task: &Task| task.state == TaskState::Sent(process);
        if !self.tasks.get(&id).is_some_and(sent_here) {
            // It has failed already, because it was cancelled or the session ends.
            for object in result.into_iter().flatten() {
                self.actions.extend(object.blocks().map(|block| Action::Free { host, block }));
            }
            return self.doomed_left(process, id);
        }
        let in_pool = self.workers.get(&process).is_some_and(|worker| worker.role == Role::Pool);
        let left = in_pool && self.remove_from_worker(process, id);
        match result {
            Ok(objects) => self.complete(id, host, objects),
            Err(error) => self.fail_task(id, error.on_worker(&self.name_of(process, host))),
        }
        if left {
            self.tell_waiters(); // what runs below may go on with this result
            self.keep_busy(process);
        }
    }

    fn complete(&mut self, id: DataId, host: HostId, objects: Vec<StoredObject>) {
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        let returns = task.spec.returns;
        let promised = returns.count as usize;
        if objects.len() == promised {
            for (id, object) in returns.ids().zip(objects) {
                self.settle(id, host, Value::Ready(Arc::new(object)));
            }
        } else {
            let text = format!("{} results came back instead of {promised}", objects.len());
            objects
                .iter()
                .flat_map(StoredObject::blocks)
                .for_each(|block| self.actions.push(Action::Free { host, block }));
            let error = Arc::new(TaskError::new(ErrorKind::Decode, text).of_function(&task.spec.name));
            returns.ids().for_each(|id| self.settle(id, host, Value::Failed(error.clone())));
        }
        self.task_left(&task, None);
        self.objects.makers.note(returns, task.spec.name);
    }

    /// The call ends without a value.
    pub(crate) fn fail_task(&mut self, id: DataId, error: TaskError) {
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        let error = Arc::new(error.of_function(&task.spec.name));
        if task.spec.returns.count == 0 {
            self.actions.push(Action::Unobserved((*error).clone()));
        }
        for result in task.spec.returns.ids() {
            self.settle(result, HostId::CONTROLLER, Value::Failed(error.clone()));
        }
        self.task_left(&task, Some(error));
        self.objects.makers.note(task.spec.returns, task.spec.name);
    }

    /// The call is over: the actor it concerns is told, and what it kept alive is given back.
    fn task_left(&mut self, task: &Task, error: Option<Arc<TaskError>>) {
        if let Some(host) = self.resources.home(task.class) {
            self.hosts[host.place()].fetching.remove(&task.spec.id());
            if task.state == TaskState::Fetching {
                let waiter = Waiter::Task(task.spec.id());
                task.spec.dependencies.iter().for_each(|id| self.unwant(*id, host, waiter));
            }
        }
        if !self.no_room.is_empty() {
            self.no_room.remove(&task.spec.id());
        }
        self.disarm(task.spec.id());
        self.keep_unwanted(task.spec.id());
        match task.spec.target {
            Target::Pool => {}
            Target::NewActor => self.actor_made(task.spec.id(), error),
            Target::Actor(actor) => {
                self.actor_call_ended(actor, task);
                self.release(actor);
            }
        }
        for id in task.spec.dependencies.iter().chain(&task.spec.borrowed) {
            self.release(*id);
        }
    }

    /// Whether this call makes one of these objects.
    pub(crate) fn makes_one_of(&self, task: DataId, ids: &[DataId]) -> bool {
        ids.iter().any(|id| self.objects.maker(*id) == Some(task))
    }
}
