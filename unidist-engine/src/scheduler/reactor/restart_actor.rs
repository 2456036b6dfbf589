//! Restart of actors whose process has died: `max_restarts`.
//!
//! The constructor runs again with the same arguments, which are kept for it. Calls that the process had not received,
//! and those that may be retried, run before those that still waited, so each caller's calls stay in order.

use crate::scheduler::request::Value;
use crate::scheduler::state::State;
use crate::scheduler::state::actors::ActorState;
use crate::scheduler::state::resources::SchedulingClass;
use crate::scheduler::state::tasks::{Task, TaskState};
use crate::scheduler::transitions::fail_task::{fail_dependent, fail_task};
use crate::scheduler::transitions::ready::requeue;
use crate::scheduler::transitions::references::retain_inputs;
use crate::scheduler::transitions::release::drop_restart_plan;
use crate::scheduler::transitions::timers::disarm;
use unidist_common::{ActorId, ErrorKind, ProcessId, TaskError, TaskId, TaskSpec};

/// The process of the actor has died: restarts it, if it may be. False if the actor is dead.
pub(crate) fn restart_actor(
    state: &mut State,
    id: ActorId,
    error: &TaskError,
    undelivered: &[TaskId],
) -> bool {
    if state.ending || !state.objects.contains(id.handle()) {
        return false;
    }
    let plan = state.actors.get(&id).and_then(|actor| actor.restart_plan.as_ref());
    let Some(options) = plan.map(|plan| plan.spec.options.clone()) else { return false };
    if state.resources.classify(&options, (true, false), None).is_err() {
        return false; // the only host with its resources is lost
    }
    let Some(actor) = state.actors.get_mut(&id) else { return false };
    let Some(plan) = actor.restart_plan.as_mut() else { return false };
    plan.remaining -= 1;
    let (spec, is_last) = (plan.spec.clone(), plan.remaining == 0);
    actor.restarts += 1;
    actor.state = ActorState::New;
    let name = actor.name.clone();
    let mut sent: Vec<_> = actor.sent.drain().collect();
    sent.sort_unstable_by_key(|call| state.tasks.get(call).map_or(0, |task| task.arrival));
    if !state.tasks.contains_key(&id.constructor()) {
        add_constructor(state, spec);
    }
    if is_last {
        drop_restart_plan(state, id);
    }
    requeue(state, id.constructor());
    fail_if_inputs_lost(state, id);
    let mut lost = Vec::new();
    for call in sent.into_iter().rev() {
        if !put_back(state, id, call, undelivered.contains(&call)) {
            lost.push(call);
        }
    }
    for call in lost.into_iter().rev() {
        let message = format!("the process of actor `{name}` died, and the actor is being restarted");
        let error = TaskError::new(ErrorKind::ActorDied, message).because(error.clone());
        fail_task(state, call, error);
    }
    true
}

/// The inputs of the constructor may have been lost since it ran.
fn fail_if_inputs_lost(state: &mut State, id: ActorId) {
    let dependencies =
        state.tasks.get(&id.constructor()).map(|task| task.spec.dependencies.clone()).unwrap_or_default();
    let failed = dependencies.into_iter().find_map(|needed| match state.objects.value(needed) {
        Value::Failed(cause) => Some(cause),
        Value::Ready(_) => None,
    });
    if let Some(cause) = failed {
        fail_dependent(state, id.constructor(), &cause);
    }
}

/// The constructor becomes a pending call again.
fn add_constructor(state: &mut State, spec: Box<TaskSpec>) {
    retain_inputs(state, &spec);
    let class =
        state.resources.classify(&spec.options, (true, false), None).unwrap_or(SchedulingClass::DEFAULT);
    let task = Task {
        class,
        caller: (ProcessId::CONTROLLER, None),
        arrival: 0,
        missing: 0,
        losses: 0,
        collateral_losses: 0,
        state: TaskState::Waiting,
        spec,
    };
    // The first one ended when the actor was created, so the id is free.
    let _ = state.tasks.insert(task.spec.id(), task);
}

/// A call that was sent to the dead process is queued before those that wait, if it may run again. False if it is
/// lost.
fn put_back(state: &mut State, id: ActorId, call: TaskId, is_undelivered: bool) -> bool {
    let Some(task) = state.tasks.get_mut(&call) else { return true };
    if !is_undelivered && !task.record_loss() {
        return false;
    }
    task.state = TaskState::Waiting;
    let caller = task.caller;
    if let Some(actor) = state.actors.get_mut(&id) {
        actor.waiting.entry(caller).or_default().push_front(call);
    }
    disarm(state, call);
    true
}
