//! Tasks block and go on.
//!
//! A blocked task gives its CPU slot back. Its worker runs, on top of it, tasks that it waits for.

use crate::scheduler::event::Role;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::workers::FrameState;
use crate::scheduler::transitions::cancel::unblock_canceling;
use crate::scheduler::transitions::retract::retract_unneeded;
use crate::scheduler::transitions::run::{push_frame, run_nested};
use unidist_common::{ProcessId, TaskId};

/// The task gives its slot back until the request is answered; without a request, until any of its process is.
pub(crate) fn block(state: &mut State, process: ProcessId, task: TaskId, request: Option<RequestId>) {
    let Some(worker) = state.workers.get_mut(&process) else {
        return;
    };
    if worker.role != Role::Pool {
        return; // an actor keeps its resources for its lifetime
    }
    let Some(frame) = worker.stack.iter_mut().find(|frame| frame.task == task) else {
        return;
    };
    // It is not active if it was answered and proceeded before a task on top of it had started.
    if frame.state == FrameState::Active {
        state.resources.release_cpus(frame.class, worker.host);
    }
    frame.state = request.map_or(FrameState::Yielded, FrameState::Blocked);
    find_work(state, process);
}

/// A request of the process was answered: the frame that it blocked may proceed.
pub(crate) fn unblock(state: &mut State, process: ProcessId, blocks: Option<TaskId>, request: RequestId) {
    let Some(worker) = state.workers.get_mut(&process) else {
        return;
    };
    for frame in &mut worker.stack {
        let goes_on = match frame.state {
            FrameState::Active | FrameState::Answered => false,
            FrameState::Blocked(on) => on == request,
            FrameState::Yielded => blocks.is_none(),
        };
        if goes_on {
            frame.state = FrameState::Answered;
        }
    }
    resume(state, process);
}

/// The top frame proceeds if its request was answered.
pub(crate) fn resume(state: &mut State, process: ProcessId) {
    if let Some(worker) = state.workers.get_mut(&process)
        && let Some(frame) = worker.stack.last_mut()
        && frame.state == FrameState::Answered
    {
        frame.state = FrameState::Active;
        state.resources.acquire_cpus(frame.class, worker.host);
    }
}

/// The worker has finished a task or is blocked: finds something that it can run now.
pub(crate) fn find_work(state: &mut State, process: ProcessId) {
    start_prefetched(state, process);
    unblock_canceling(state, process);
    let Some(worker) = state.workers.get(&process) else {
        return;
    };
    if worker.stack.is_empty() || worker.is_active() {
        return;
    }
    let request = worker.blocked_on();
    retract_unneeded(state, process);
    if let Some(request) = request {
        run_nested(state, process, request);
    }
}

/// Mirrors what the worker starts by itself: with an empty stack, the first prefetched task; while blocked, the first
/// that it waits for.
fn start_prefetched(state: &mut State, process: ProcessId) {
    let Some(worker) = state.workers.get(&process) else {
        return;
    };
    let next = match worker.stack.last() {
        None => (!worker.prefetched.is_empty()).then_some(0),
        Some(_) => worker.blocked_on().and_then(|request| {
            let awaited = state.requests.get(&(process, request))?.startable_by_worker();
            worker.prefetched.iter().position(|task| state.makes_one_of(*task, awaited))
        }),
    };
    let Some(task) = next.and_then(|at| state.workers.get_mut(&process)?.prefetched.remove(at)) else {
        return;
    };
    push_frame(state, process, task);
}
