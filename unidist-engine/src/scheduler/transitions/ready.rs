//! Calls become ready: for the first time, or once more.

use crate::scheduler::state::State;
use crate::scheduler::state::resources::SchedulingClass;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::transitions::cancel_queued::cancel_if_requested;
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::timers::disarm;
use unidist_common::{HostId, Target, TaskError, TaskId};

/// The call joins the end of its queue.
pub(crate) fn make_ready(state: &mut State, id: TaskId) {
    if let Some(task) = state.tasks.get_mut(&id) {
        task.state = TaskState::Ready;
        state.resources.push(task.class, id);
    }
}

/// A call that was sent, or bound to a host, joins the head of its queue.
pub(crate) fn requeue(state: &mut State, id: TaskId) {
    if state.ending {
        return fail_task(state, id, TaskError::session_ended());
    }
    if cancel_if_requested(state, id) {
        return;
    }
    disarm(state, id);
    if let Some(task) = state.tasks.get_mut(&id) {
        if let (TaskState::Sent(_), Target::Pool) = (task.state, task.spec.target) {
            let group = state.resources.group(task.class);
            state.resources.groups().retracted(group);
        }
        task.state = TaskState::Ready;
        state.resources.push_front(task.class, id);
    }
}

/// A worker has died with this call: it runs again or fails.
pub(crate) fn retry(state: &mut State, id: TaskId, error: TaskError) {
    let Some(task) = state.tasks.get_mut(&id) else { return };
    if task.record_loss() {
        return requeue(state, id);
    }
    let mut error = error;
    if task.losses > 1 {
        error.message += &format!("; it was lost {} times this way", task.losses);
    }
    fail_task(state, id, error);
}

/// A ready call that was bound to this host may run on any host.
pub(crate) fn unbind_from_host(state: &mut State, class: SchedulingClass, task: TaskId, home: HostId) {
    let anywhere = state.resources.unbind(class);
    state.resources.pop(class);
    state.hosts[home.place()].fetching.remove(&task);
    if let Some(task) = state.tasks.get_mut(&task) {
        task.class = anywhere;
    }
    requeue(state, task);
}
