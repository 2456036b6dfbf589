//! Cancellation of prefetched calls that turn out not to have started: see `QueuedCancels`.

use crate::scheduler::event::Action;
use crate::scheduler::request::Reply;
use crate::scheduler::state::State;
use crate::scheduler::state::queued_cancels::ClientRequest;
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::retract::retract;
use unidist_common::{ErrorKind, ProcessId, TaskError, TaskId};

/// Retracts the prefetched calls of this worker that have a cancel request.
pub(crate) fn retract_queued_cancels(state: &mut State, process: ProcessId) {
    if state.queued_cancels.is_empty() {
        return;
    }
    let Some(worker) = state.workers.get(&process) else { return };
    let is_wanted = |call: &TaskId| state.queued_cancels.contains(*call);
    let calls = worker.retractable().filter(is_wanted).collect();
    retract(state, process, calls);
}

/// The call has not started: fails it if a request wants it canceled. True if so.
pub(crate) fn cancel_if_requested(state: &mut State, call: TaskId) -> bool {
    let Some(request) = state.queued_cancels.take(call) else { return false };
    if let Some(group) = state.tasks.get(&call).map(|task| state.resources.group(task.class)) {
        state.resources.groups().retracted(group);
    }
    state.queued_cancels.count_canceled(request);
    fail_task(state, call, TaskError::new(ErrorKind::Cancelled, ""));
    reply_if_complete(state, request);
    true
}

/// The call has started or ended, so it can no longer be canceled as a queued one.
pub(crate) fn drop_queued_cancel(state: &mut State, call: TaskId) {
    if let Some(request) = state.queued_cancels.take(call) {
        reply_if_complete(state, request);
    }
}

fn reply_if_complete(state: &mut State, request: ClientRequest) {
    if let Some(canceled) = state.queued_cancels.close_if_complete(request) {
        let (process, request) = request;
        state.actions.push(Action::Reply { process, request, reply: Reply::Count(canceled) });
    }
}
