//! Cancellation of calls, by request or because their time limit has passed.
//!
//! The results of a canceled call fail at once. A call that was not sent anywhere is gone with that. One that was sent
//! is *canceling*: its process is told, and until the process reports that the call has left it (or is gone itself),
//! the call keeps its frame there, its slot and its references. A pool worker that the call does not leave in time is
//! killed.
//!
//! A canceling call that is blocked in `get` or `wait` gets an error, but not before it is known what its worker has
//! started by itself meanwhile: calls that it waits for and that are prefetched there are retracted first.

use crate::scheduler::event::{Action, Role};
use crate::scheduler::request::{Blocks, RequestId, Value};
use crate::scheduler::state::State;
use crate::scheduler::state::canceling::Canceling;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::FrameState;
use crate::scheduler::transitions::actors::actor_call_ended;
use crate::scheduler::transitions::cancel_queued::drop_queued_cancel;
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::release::release;
use crate::scheduler::transitions::requests::fail_request;
use crate::scheduler::transitions::retract::{retract, retract_after};
use crate::scheduler::transitions::settle::settle;
use crate::scheduler::transitions::timers::{arm, disarm};
use std::sync::Arc;
use unidist_common::{HostId, ProcessId, Target, TaskError, TaskId};

/// Fails the call's results now, wherever the call is.
pub(crate) fn cancel_call(state: &mut State, id: TaskId, error: TaskError) {
    match state.tasks.get(&id).map(|task| task.state) {
        None => {}
        Some(TaskState::Waiting | TaskState::Ready | TaskState::Fetching) => fail_task(state, id, error),
        Some(TaskState::Sent(process)) => begin_cancel(state, process, id, error),
    }
}

/// Fails the results of a call that was sent and tells its process.
fn begin_cancel(state: &mut State, process: ProcessId, id: TaskId, error: TaskError) {
    let Some(task) = state.tasks.remove(&id) else { return };
    drop_queued_cancel(state, id);
    disarm(state, id);
    let error = Arc::new(error.of_function(&task.spec.name));
    if task.spec.returns.count == 0 {
        state.actions.push(Action::Unobserved((*error).clone()));
    }
    for result in task.spec.returns.ids() {
        settle(state, result, HostId::CONTROLLER, Value::Failed(error.clone()));
    }
    state.actions.push(Action::CancelTask { process, task: id, error: error.clone() });
    let actor = match task.spec.target {
        Target::Actor(actor) => Some(actor),
        Target::Pool | Target::NewActor => None,
    };
    if let Some(actor) = actor {
        actor_call_ended(state, actor, &task);
    }
    state.failed_fetches.remove(&id);
    state.canceling.insert(id, Canceling { process, class: task.class, error, spec: task.spec });
    match actor {
        Some(actor) => {
            fail_requests_of(
                state,
                process,
                id,
                |blocks| matches!(blocks, Blocks::Call { call, .. } if call == id),
            );
            release(state, actor.handle());
        }
        None => {
            arm(state, id, state.cancel_grace);
            if state.workers.get(&process).is_some_and(|worker| worker.owns_threads(id)) {
                fail_requests_of(state, process, id, |blocks| blocks == Blocks::Thread);
            }
            retract_after(state, process, id);
            unblock_canceling(state, process);
        }
    }
}

/// Fails such requests of a canceling call: those that block a call of an actor, or threads of a task.
fn fail_requests_of(state: &mut State, process: ProcessId, call: TaskId, is_one: impl Fn(Blocks) -> bool) {
    let Some(worker) = state.workers.get(&process) else { return };
    let is_its = |request: &&RequestId| {
        state.requests.get(&(process, **request)).is_some_and(|open| is_one(open.blocks))
    };
    let requests: Vec<_> = worker.blocking.iter().filter(is_its).copied().collect();
    let Some(error) = state.canceling.get(&call).map(|canceling| canceling.error.clone()) else { return };
    requests.into_iter().for_each(|request| fail_request(state, process, request, &error));
}

/// The error of a request that would block a canceling call, or a thread of it. On a pool worker the thread of the call
/// itself blocks all the same: see the module documentation.
pub(crate) fn wait_error(state: &State, process: ProcessId, blocks: Blocks) -> Option<TaskError> {
    let worker = state.workers.get(&process)?;
    let call = match blocks {
        Blocks::Call { call, .. } if worker.role != Role::Pool => Some(call),
        Blocks::Thread => worker.stack.last().map(|top| top.task).filter(|top| worker.owns_threads(*top)),
        Blocks::Nothing | Blocks::Call { .. } => None,
    };
    Some((*state.canceling.get(&call?)?.error).clone())
}

/// Retracts calls from behind canceling calls, and fails the requests that block those.
pub(crate) fn unblock_canceling(state: &mut State, process: ProcessId) {
    if state.canceling.is_empty() {
        return;
    }
    let Some(worker) = state.workers.get(&process) else { return };
    if !worker.stack.iter().any(|frame| state.is_canceling(frame.task)) {
        return;
    }
    let mut free = Vec::new();
    for frame in &worker.stack {
        let (FrameState::Blocked(on), Some(canceling)) = (frame.state, state.canceling.get(&frame.task))
        else {
            continue;
        };
        let open = state.requests.get(&(process, on));
        let is_awaited = |call: TaskId| state.is_startable_by_worker(call, open);
        if !worker.prefetched.iter().any(|prefetched| is_awaited(prefetched.task)) {
            free.push((on, canceling.error.clone()));
        }
    }
    let behind = worker.retractable().filter(|task| !state.is_canceling(*task)).collect();
    retract(state, process, behind);
    free.into_iter().for_each(|(request, error)| fail_request(state, process, request, &error));
}

/// The call has left this process: releases what it kept.
pub(crate) fn end_cancel(state: &mut State, process: ProcessId, id: TaskId) {
    if state.canceling.get(&id).is_none_or(|canceling| canceling.process != process) {
        return;
    }
    disarm(state, id);
    if let Some(canceling) = state.canceling.remove(&id) {
        canceling.spec.dependencies.iter().chain(&canceling.spec.borrowed).for_each(|id| release(state, *id));
    }
}

/// Whether the top frame of this process is a canceling call.
pub(crate) fn is_top_canceling(state: &State, process: ProcessId) -> bool {
    let top = state.workers.get(&process).and_then(|worker| worker.stack.last());
    top.is_some_and(|frame| state.is_canceling(frame.task))
}
