//! A client cancels calls.

use crate::scheduler::event::Action;
use crate::scheduler::request::{Reply, RequestId};
use crate::scheduler::state::State;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::transitions::cancel::cancel_call;
use crate::scheduler::transitions::cancel_queued::retract_queued_cancels;
use crate::scheduler::transitions::fail_task::fail_task;
use unidist_backend::Which;
use unidist_common::{DataId, ErrorKind, ProcessId, Target, TaskError};

/// Cancels the calls that make these objects, unless they have ended, and replies with how many were canceled.
pub(crate) fn on_cancel(
    state: &mut State,
    process: ProcessId,
    request: RequestId,
    ids: &[DataId],
    which: Which,
) {
    if which == Which::Unstarted {
        return on_cancel_queued(state, process, request, ids);
    }
    let mut ended = 0;
    for id in ids {
        let Some(call) = state.objects.maker(*id) else { continue };
        // An actor's id names the actor: its constructor cannot be canceled.
        if state.tasks.get(&call).is_some_and(|task| task.spec.target != Target::NewActor) {
            cancel_call(state, call, TaskError::new(ErrorKind::Cancelled, ""));
            ended += 1;
        }
    }
    state.actions.push(Action::Reply { process, request, reply: Reply::Count(ended) });
}

/// Cancels those of the calls that have not started. Prefetched ones are retracted first: see `QueuedCancels`.
fn on_cancel_queued(state: &mut State, process: ProcessId, request: RequestId, ids: &[DataId]) {
    let (mut canceled, mut waiting) = (0, 0);
    let mut to_retract: Vec<ProcessId> = Vec::new();
    for id in ids {
        let Some(call) = state.objects.maker(*id) else { continue };
        let Some(task) = state.tasks.get(&call) else { continue };
        match task.state {
            _ if task.spec.target == Target::NewActor => {}
            TaskState::Waiting | TaskState::Ready | TaskState::Fetching => {
                fail_task(state, call, TaskError::new(ErrorKind::Cancelled, ""));
                canceled += 1;
            }
            TaskState::Sent(worker) if state.is_prefetched(worker, call) => {
                if state.queued_cancels.add(call, (process, request)) {
                    waiting += 1;
                    to_retract.push(worker);
                }
            }
            TaskState::Sent(_) => {}
        }
    }
    if waiting == 0 {
        return state.actions.push(Action::Reply { process, request, reply: Reply::Count(canceled) });
    }
    state.queued_cancels.open((process, request), waiting, canceled);
    to_retract.sort_unstable();
    to_retract.dedup();
    to_retract.into_iter().for_each(|worker| retract_queued_cancels(state, worker));
}
