//! Calls bound to one worker.

use crate::scheduler::event::Role;
use crate::scheduler::state::State;
use crate::scheduler::state::workers::Phase;
use unidist_common::{DataId, ErrorKind, HostId, ProcessId, TaskError};

/// Where the worker is for which a call is.
pub(crate) fn locate_worker(state: &State, worker: ProcessId) -> Result<(ProcessId, HostId), TaskError> {
    let known = state.workers.get(&worker).filter(|known| known.role == Role::Pool);
    match known.filter(|known| matches!(known.phase, Phase::Starting | Phase::Live)) {
        Some(known) => Ok((worker, known.host)),
        None => Err(gone(worker)),
    }
}

pub(crate) fn is_bound_to_worker(state: &State, call: DataId) -> bool {
    state.tasks.get(&call).is_some_and(|task| state.resources.bound_worker(task.class).is_some())
}

pub(crate) fn gone(worker: ProcessId) -> TaskError {
    let message = format!("the call is for {worker} alone, and there is no such worker (any more)");
    TaskError::new(ErrorKind::WorkerGone, message).on_worker(&worker.to_string())
}
