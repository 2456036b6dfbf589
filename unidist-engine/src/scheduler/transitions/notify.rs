//! Notification of the waiters of objects that got a value.

use crate::scheduler::request::Value;
use crate::scheduler::state::State;
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::transitions::actors::send_waiting_of;
use crate::scheduler::transitions::fail_task::fail_dependent;
use crate::scheduler::transitions::ready::make_ready;
use crate::scheduler::transitions::requests::request_progress;
use crate::scheduler::transitions::watches::watch_progress;
use unidist_common::{Target, TaskId};

/// Notifies the waiters of all objects that got a value, until none is left.
pub(crate) fn notify_waiters(state: &mut State) {
    while let Some(id) = state.settled.pop_front() {
        let waiters = state.objects.take_waiters(id);
        if waiters.is_empty() {
            continue;
        }
        let value = state.objects.value(id);
        for waiter in waiters.into_iter() {
            match waiter {
                Waiter::Task(task) => dependency_settled(state, task, &value),
                Waiter::Request(process, request) => request_progress(state, process, request),
                Waiter::Watch(process, watch) => watch_progress(state, process, watch, id),
            }
        }
    }
}

/// A dependency of the call has its value.
fn dependency_settled(state: &mut State, id: TaskId, value: &Value) {
    let Some(task) = state.tasks.get_mut(&id) else {
        return;
    };
    if let Value::Failed(cause) = value {
        return fail_dependent(state, id, cause);
    }
    task.missing -= 1;
    if task.missing == 0 {
        let caller = task.caller;
        match task.spec.target {
            Target::Actor(actor) => send_waiting_of(state, actor, caller),
            Target::Pool | Target::NewActor => make_ready(state, id),
        }
    }
}
