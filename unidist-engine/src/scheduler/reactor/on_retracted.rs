//! A worker gives back calls that it has not started.

use crate::scheduler::state::State;
use crate::scheduler::state::workers::Phase;
use crate::scheduler::transitions::block::find_work;
use crate::scheduler::transitions::cancel::end_cancel;
use crate::scheduler::transitions::cancel_queued::retract_queued_cancels;
use crate::scheduler::transitions::ready::requeue;
use crate::scheduler::transitions::run::{remove_from_worker, start};
use crate::scheduler::transitions::views::unpin_arguments;
use unidist_common::{ProcessId, TaskId};

/// The reply to a retraction: these calls had not started and are queued again; the others have started. A process that
/// was told to stop gives back all that it has not started.
pub(crate) fn on_retracted(state: &mut State, process: ProcessId, tasks: Vec<TaskId>) {
    let Some(worker) = state.workers.get_mut(&process) else { return };
    let (retracting, is_stopping) = (worker.retracting.take(), worker.phase == Phase::Stopping);
    if retracting.is_none() && !is_stopping {
        return;
    }
    let retracting = retracting.unwrap_or_default();
    for task in tasks.into_iter().rev() {
        unpin_arguments(state, process, task);
        if (is_stopping || retracting.contains(&task)) && remove_from_worker(state, process, task) {
            end_cancel(state, process, task);
            requeue(state, task);
        }
    }
    for task in retracting {
        let started = state.workers.get(&process).and_then(|worker| worker.position_of(task));
        if let Some(at) = started {
            start(state, process, at);
        }
    }
    retract_queued_cancels(state, process);
    find_work(state, process);
}
