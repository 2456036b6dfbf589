//! A call has ended on its process.

use crate::scheduler::event::Role;
use crate::scheduler::state::State;
use crate::scheduler::state::tasks::{Task, TaskState};
use crate::scheduler::transitions::block::find_work;
use crate::scheduler::transitions::cancel::end_cancel;
use crate::scheduler::transitions::fail_task::{complete_task, fail_task};
use crate::scheduler::transitions::notify::notify_waiters;
use crate::scheduler::transitions::run::remove_from_worker;
use crate::scheduler::transitions::settle::free_object;
use crate::scheduler::transitions::views::unpin_arguments;
use crate::store::StoredObject;
use unidist_common::{ProcessId, TaskError, TaskId};

/// A call has ended: its objects are settled and its worker gets other work.
pub(crate) fn on_done(
    state: &mut State,
    process: ProcessId,
    id: TaskId,
    result: Result<Vec<StoredObject>, TaskError>,
) {
    unpin_arguments(state, process, id);
    let Some(host) = state.host_of(process) else { return };
    let sent_here = |task: &Task| task.state == TaskState::Sent(process);
    if !state.tasks.get(&id).is_some_and(sent_here) {
        // It has failed before: it was canceled, or the session ends.
        for object in result.into_iter().flatten() {
            free_object(state, host, &object);
        }
        return canceled_call_left(state, process, id);
    }
    let in_pool = state.workers.get(&process).is_some_and(|worker| worker.role == Role::Pool);
    let left = in_pool && remove_from_worker(state, process, id);
    match result {
        Ok(objects) => complete_task(state, id, host, objects),
        Err(error) => fail_task(state, id, error.on_worker(&state.process_name(process, host))),
    }
    if left {
        notify_waiters(state); // the blocked task below may wait for this result
        find_work(state, process);
    }
}

/// A canceled call has left its process.
fn canceled_call_left(state: &mut State, process: ProcessId, id: TaskId) {
    end_cancel(state, process, id);
    let in_pool = state.workers.get(&process).is_some_and(|worker| worker.role == Role::Pool);
    // A known task is assigned elsewhere, so the message is bogus.
    if in_pool && !state.tasks.contains_key(&id) && remove_from_worker(state, process, id) {
        find_work(state, process);
    }
}
