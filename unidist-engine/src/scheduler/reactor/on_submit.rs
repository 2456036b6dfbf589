//! A call is submitted: it is checked, classified, and waits for its dependencies.

use crate::scheduler::policy::worker_affinity::locate_worker;
use crate::scheduler::request::Value;
use crate::scheduler::state::State;
use crate::scheduler::state::actors::{Actor, ActorState, RestartPlan};
use crate::scheduler::state::objects::{ObjectState, Waiter};
use crate::scheduler::state::resources::SchedulingClass;
use crate::scheduler::state::tasks::{Task, TaskState};
use crate::scheduler::transitions::actors::call_actor;
use crate::scheduler::transitions::fail_task::{fail_dependent, fail_task};
use crate::scheduler::transitions::ready::make_ready;
use crate::scheduler::transitions::references::retain_inputs;
use crate::scheduler::transitions::release::record_reference;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;
use unidist_backend::NamedActor;
use unidist_common::{
    ActorId, DataId, ErrorKind, ProcessId, Target, TaskError, TaskId, TaskOptions, TaskSpec,
};

/// Adds a call; one that could not be sent fails with its error.
pub(crate) fn on_submit(
    state: &mut State,
    process: ProcessId,
    spec: Box<TaskSpec>,
    caller: Option<TaskId>,
    refused: Option<TaskError>,
) {
    let mut spec = spec;
    let id = spec.id();
    if state.tasks.contains_key(&id) {
        return; // the id is taken: the call is rejected
    }
    for result in spec.returns.ids() {
        if !state.objects.declare(result, id) {
            return; // the process names ids that are not its own: the call is rejected
        }
        record_reference(state, process, result);
    }
    let actor = match spec.target {
        Target::Actor(actor) => Some(actor),
        Target::Pool | Target::NewActor => None,
    };
    let handle = actor.map(ActorId::handle);
    let pinned = spec.dependencies.iter().chain(&spec.borrowed).chain(&handle);
    let gone = pinned.filter(|id| !state.objects.retain(**id)).copied().collect::<Vec<_>>();
    let gone_dependency = spec.dependencies.iter().find(|id| gone.contains(id)).copied();
    if !gone.is_empty() {
        spec.dependencies.retain(|id| !gone.contains(id));
        spec.borrowed.retain(|id| !gone.contains(id));
    }
    let class = match spec.target {
        Target::Pool => classify(state, &spec.options, spec.asynchronous),
        Target::NewActor => state.resources.classify(&spec.options, (true, false), None),
        Target::Actor(_) => Ok(SchedulingClass::DEFAULT),
    };
    let refusal = if state.ending {
        Some(TaskError::session_ended())
    } else {
        refused.or_else(|| class.as_ref().err().cloned()).or_else(|| name_actor(state, &spec).err())
    };
    let class = class.unwrap_or(SchedulingClass::DEFAULT);
    state.arrivals += 1;
    let arrival = state.arrivals;
    let task = Task {
        spec,
        class,
        caller: (process, caller),
        arrival,
        missing: 0,
        losses: 0,
        collateral_losses: 0,
        state: TaskState::Waiting,
    };
    if let Target::NewActor = task.spec.target {
        declare_actor(state, &task.spec);
    }
    if state.tasks.insert(id, task).is_err() {
        return; // checked above
    }
    match refusal {
        Some(error) => fail_task(state, id, error),
        None => resolve(state, id, gone_dependency),
    }
}

/// The scheduling class of a task with these options. Removes unused classes first, from time to time.
pub(crate) fn classify(
    state: &mut State,
    options: &TaskOptions,
    asynchronous: bool,
) -> Result<SchedulingClass, TaskError> {
    if state.resources.is_to_be_swept() {
        let frames = state.workers.values().flat_map(|worker| &worker.stack).map(|frame| frame.class);
        let suspended = state.workers.values().flat_map(|worker| worker.suspended.values().copied());
        let canceling = state.canceling.values().map(|canceling| canceling.class);
        let used = state
            .tasks
            .iter()
            .map(|(_, task)| task.class)
            .chain(frames)
            .chain(suspended)
            .chain(canceling)
            .collect();
        state.resources.sweep(&used);
    }
    let only = options.worker.map(|worker| locate_worker(state, worker)).transpose()?;
    state.resources.classify(options, (false, asynchronous), only)
}

/// Counts the dependencies that have no value yet; without any, the call is ready.
fn resolve(state: &mut State, id: TaskId, gone: Option<DataId>) {
    let Some(task) = state.tasks.get_mut(&id) else {
        return;
    };
    let mut failed = gone.map(|id| Arc::new(state.objects.lost_error(id)));
    for dependency in &task.spec.dependencies {
        match state.objects.known(*dependency) {
            ObjectState::Settled(Value::Ready(_)) => {}
            ObjectState::Settled(Value::Failed(error)) => failed = failed.or(Some(error)),
            ObjectState::Lost => failed = failed.or(Some(Arc::new(state.objects.lost_error(*dependency)))),
            ObjectState::Pending => {
                task.missing += 1;
                state.objects.add_waiter(*dependency, Waiter::Task(id));
            }
        }
    }
    let (target, ready) = (task.spec.target, task.missing == 0);
    match (failed, target) {
        (Some(cause), _) => fail_dependent(state, id, &cause),
        (None, Target::Actor(actor)) => call_actor(state, actor, id),
        (None, _) if ready => make_ready(state, id),
        (None, _) => {}
    }
}

/// Gives a new actor the name that it asks for, unless another one has it.
fn name_actor(state: &mut State, spec: &TaskSpec) -> Result<(), TaskError> {
    let (Target::NewActor, Some(name)) = (spec.target, &spec.options.name) else { return Ok(()) };
    if state.actor_names.find(name).is_some_and(|other| state.objects.contains(other.handle)) {
        let message = format!(
            "an actor named `{name}` exists in this session: get it by `get_actor`, or choose another name"
        );
        return Err(TaskError::new(ErrorKind::NameTaken, message));
    }
    let handle = ActorId::of_constructor(spec.id()).handle();
    state.actor_names.give(name, NamedActor { handle, constructor: spec.function });
    Ok(())
}

fn declare_actor(state: &mut State, spec: &TaskSpec) {
    let name = spec.options.name.as_deref().map_or_else(|| spec.name.clone(), Arc::from);
    let actor = Actor {
        name,
        state: ActorState::New,
        process: None,
        waiting: FxHashMap::default(),
        sent: FxHashSet::default(),
        restart_plan: restart_plan(state, spec),
        restarts: 0,
    };
    state.actors.insert(ActorId::of_constructor(spec.id()), actor);
}

/// The plan to restart an actor, if it may be restarted.
fn restart_plan(state: &mut State, spec: &TaskSpec) -> Option<Box<RestartPlan>> {
    let remaining = spec.options.max_restarts.filter(|times| *times > 0)?;
    retain_inputs(state, spec);
    Some(Box::new(RestartPlan { spec: Box::new(spec.clone()), remaining }))
}
