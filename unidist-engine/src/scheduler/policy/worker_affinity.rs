//! Calls bound to one worker.

use crate::scheduler::event::Role;
use crate::scheduler::state::State;
use crate::scheduler::state::workers::Phase;
use unidist_common::{ErrorKind, HostId, ProcessId, TaskError, TaskId};

/// The host of the worker to which a call is bound, or the error if the worker is gone.
pub(crate) fn locate_worker(state: &State, worker: ProcessId) -> Result<(ProcessId, HostId), TaskError> {
    let known = state.workers.get(&worker).filter(|known| known.role == Role::Pool);
    match known.filter(|known| matches!(known.phase, Phase::Starting | Phase::Live)) {
        Some(known) => Ok((worker, known.host)),
        None => Err(gone(worker)),
    }
}

/// Whether the call may run on one worker only.
pub(crate) fn is_bound_to_worker(state: &State, call: TaskId) -> bool {
    state.tasks.get(&call).is_some_and(|task| state.resources.bound_worker(task.class).is_some())
}

pub(crate) fn gone(worker: ProcessId) -> TaskError {
    let message = format!("the call is bound to {worker}, which has ended or never existed");
    TaskError::new(ErrorKind::WorkerGone, message).on_worker(&worker.to_string())
}
