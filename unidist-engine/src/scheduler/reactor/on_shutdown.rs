//! The session ends.
//!
//! Calls that a worker runs may finish. Those that were sent to it and that it has not started come back when it has
//! read that it has to stop, and fail like all others that have not started.

use crate::scheduler::state::State;
use crate::scheduler::state::workers::{Phase, Worker};
use crate::scheduler::transitions::actors::fail_actor;
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::processes::stop;
use rustc_hash::FxHashSet;
use std::sync::Arc;
use unidist_common::TaskError;

/// Running calls may finish; all others fail, and the processes are stopped.
pub(crate) fn on_shutdown(state: &mut State) {
    if state.ending {
        return;
    }
    state.ending = true;
    let error = TaskError::session_ended();
    fail_actors(state, &error);
    let joined = state.workers.values().filter(|worker| worker.phase != Phase::Starting);
    let on_stack = |worker: &Worker| worker.stack.iter().map(|frame| frame.task).collect::<Vec<_>>();
    let running: FxHashSet<_> = joined
        .flat_map(|worker| on_stack(worker).into_iter().chain(worker.suspended.keys().copied()))
        .collect();
    let mut rest: Vec<_> = state.tasks.keys().filter(|task| !running.contains(task)).collect();
    rest.sort_unstable();
    rest.into_iter().for_each(|task| fail_task(state, task, error.clone()));
    let mut processes: Vec<_> = state.workers.keys().copied().collect();
    processes.sort_unstable();
    processes.into_iter().for_each(|process| stop(state, process));
}

/// All calls of actors fail.
fn fail_actors(state: &mut State, error: &TaskError) {
    let mut actors: Vec<_> = state.actors.keys().copied().collect();
    actors.sort_unstable();
    for id in actors {
        fail_actor(state, id, Arc::new(error.clone()));
    }
}
