//! Retraction of calls that were sent to a worker and have not started.

use crate::scheduler::event::Action;
use crate::scheduler::state::State;
use unidist_common::{ProcessId, TaskId};

/// Retracts these calls, unless an earlier retraction of the worker is pending.
pub(crate) fn retract(state: &mut State, process: ProcessId, tasks: Vec<TaskId>) {
    let Some(worker) = state.workers.get_mut(&process) else { return };
    if !tasks.is_empty() && worker.retracting.is_none() {
        worker.retracting = Some(tasks.clone());
        state.actions.push(Action::RetractTasks { process, tasks });
    }
}

/// Retracts the calls that are prefetched at a blocked worker, except those that it waits for.
pub(crate) fn retract_unneeded(state: &mut State, process: ProcessId) {
    let Some(worker) = state.workers.get(&process) else {
        return;
    };
    let request = worker.nests_on().and_then(|request| state.requests.get(&(process, request)));
    let stuck = |task: &TaskId| !state.is_startable_by_worker(*task, request);
    let tasks: Vec<_> = worker.retractable().filter(stuck).collect();
    retract(state, process, tasks);
}

/// Retracts the calls that wait at this worker, also those sent to run on top of others.
pub(crate) fn retract_all(state: &mut State, process: ProcessId) {
    let Some(worker) = state.workers.get(&process) else { return };
    let all = worker.prefetched.iter().map(|prefetched| prefetched.task);
    retract(state, process, all.filter(|task| !state.is_canceling(*task)).collect());
}

/// Retracts the calls that were sent to this worker after this one, including those to run on top of it: they may not
/// have started, and will not before the call blocks again.
pub(crate) fn retract_after(state: &mut State, process: ProcessId, call: TaskId) {
    let Some(worker) = state.workers.get(&process) else { return };
    let Some(at) = worker.stack.iter().position(|frame| frame.task == call) else { return };
    let above = worker.stack[at + 1..].iter().map(|frame| frame.task);
    let later = above
        .chain(worker.prefetched.iter().map(|prefetched| prefetched.task))
        .filter(|task| !state.is_canceling(*task));
    retract(state, process, later.collect());
}
