//! A worker gives back calls that it has not started.

use crate::scheduler::state::State;
use crate::scheduler::transitions::block::find_work;
use crate::scheduler::transitions::cancel::end_cancel;
use crate::scheduler::transitions::cancel_queued::retract_queued_cancels;
use crate::scheduler::transitions::ready::requeue;
use crate::scheduler::transitions::run::{push_frame, remove_from_worker};
use crate::scheduler::transitions::views::unpin_arguments;
use unidist_common::{ProcessId, TaskId};

/// The reply to a retraction: these calls had not started and are queued again; the others have started.
pub(crate) fn on_retracted(state: &mut State, process: ProcessId, tasks: Vec<TaskId>) {
    let Some(retracting) = state.workers.get_mut(&process).and_then(|worker| worker.retracting.take()) else {
        return;
    };
    for task in tasks.into_iter().rev() {
        unpin_arguments(state, process, task);
        if retracting.contains(&task) && remove_from_worker(state, process, task) {
            end_cancel(state, process, task);
            requeue(state, task);
        }
    }
    for task in retracting {
        let worker = state.workers.get_mut(&process);
        let started = worker.and_then(|worker| {
            let at = worker.prefetched.iter().position(|prefetched| *prefetched == task)?;
            worker.prefetched.remove(at)
        });
        if let Some(task) = started {
            push_frame(state, process, task);
        }
    }
    retract_queued_cancels(state, process);
    find_work(state, process);
}
