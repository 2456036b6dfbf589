//! Calls end, with results or with an error.

use crate::scheduler::event::Action;
use crate::scheduler::request::Value;
use crate::scheduler::state::State;
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::state::tasks::{Task, TaskState};
use crate::scheduler::transitions::actors::{actor_call_ended, constructor_ended};
use crate::scheduler::transitions::cancel_queued::drop_queued_cancel;
use crate::scheduler::transitions::fetch::cancel_copy_request;
use crate::scheduler::transitions::release::release;
use crate::scheduler::transitions::settle::settle;
use crate::scheduler::transitions::timers::disarm;
use crate::store::StoredObject;
use std::sync::Arc;
use unidist_common::{ActorId, ErrorKind, HostId, Target, TaskError, TaskId};

/// The call has succeeded: its results get their values.
pub(crate) fn complete_task(state: &mut State, id: TaskId, host: HostId, objects: Vec<StoredObject>) {
    let Some(task) = state.tasks.remove(&id) else {
        return;
    };
    let returns = task.spec.returns;
    let promised = returns.count as usize;
    if objects.len() == promised {
        for (id, object) in returns.ids().zip(objects) {
            settle(state, id, host, Value::Ready(Arc::new(object)));
        }
    } else {
        let text = format!("its worker sent {} results instead of {promised}", objects.len());
        objects
            .iter()
            .flat_map(StoredObject::blocks)
            .for_each(|block| state.actions.push(Action::Free { host, block }));
        let error = Arc::new(TaskError::new(ErrorKind::Decode, text).of_function(&task.spec.name));
        returns.ids().for_each(|id| settle(state, id, host, Value::Failed(error.clone())));
    }
    task_ended(state, &task, None);
    state.objects.history.record(returns, task.spec.name);
}

/// The call fails: its results get the error in place of values.
pub(crate) fn fail_task(state: &mut State, id: TaskId, error: TaskError) {
    let Some(task) = state.tasks.remove(&id) else {
        return;
    };
    let error = Arc::new(error.of_function(&task.spec.name));
    if task.spec.returns.count == 0 {
        state.actions.push(Action::Unobserved((*error).clone()));
    }
    for result in task.spec.returns.ids() {
        settle(state, result, HostId::CONTROLLER, Value::Failed(error.clone()));
    }
    task_ended(state, &task, Some(error));
    state.objects.history.record(task.spec.returns, task.spec.name);
}

/// The call fails because an input has failed.
pub(crate) fn fail_dependent(state: &mut State, id: TaskId, cause: &TaskError) {
    if let Some(task) = state.tasks.get(&id) {
        let error = TaskError::dependency(&task.spec.name, cause);
        fail_task(state, id, error);
    }
}

/// The call has ended: its actor is notified, and its references are released.
fn task_ended(state: &mut State, task: &Task, error: Option<Arc<TaskError>>) {
    if let Some(host) = state.resources.bound_host(task.class) {
        state.hosts[host.place()].fetching.remove(&task.spec.id());
        if task.state == TaskState::Fetching {
            let waiter = Waiter::Task(task.spec.id());
            task.spec.dependencies.iter().for_each(|id| cancel_copy_request(state, *id, host, waiter));
        }
    }
    if task.state == TaskState::Waiting && task.missing > 0 {
        // A canceled call: the inputs that it waited for may have other waiters and live long.
        let waiter = Waiter::Task(task.spec.id());
        let pending = task.spec.dependencies.iter().filter(|id| state.objects.is_pending(**id));
        let pending: Vec<_> = pending.copied().collect();
        pending.into_iter().for_each(|id| state.objects.remove_waiter(id, waiter));
    }
    if !state.failed_fetches.is_empty() {
        state.failed_fetches.remove(&task.spec.id());
    }
    disarm(state, task.spec.id());
    drop_queued_cancel(state, task.spec.id());
    match task.spec.target {
        Target::Pool => {}
        Target::NewActor => constructor_ended(state, ActorId::of_constructor(task.spec.id()), error),
        Target::Actor(actor) => {
            actor_call_ended(state, actor, task);
            release(state, actor.handle());
        }
    }
    for id in task.spec.dependencies.iter().chain(&task.spec.borrowed) {
        release(state, *id);
    }
}
