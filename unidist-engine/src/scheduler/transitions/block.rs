//! Tasks block and go on.
//!
//! A blocked task gives its CPU slot back. Its worker runs, on top of it, tasks that it waits for. A task whose threads wait
//! gives it back, too, until they go on.

use crate::scheduler::event::Role;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::workers::{Frame, FrameState, Prefetched};
use crate::scheduler::transitions::cancel::unblock_canceling;
use crate::scheduler::transitions::retract::{retract_all, retract_unneeded};
use crate::scheduler::transitions::run::{run_nested, start};
use crate::scheduler::transitions::suspend::note_started;
use unidist_common::{ProcessId, TaskId};

/// The task gives its slot back until the request is answered. Others run on top of it if its stack has room.
pub(crate) fn block(
    state: &mut State,
    process: ProcessId,
    task: TaskId,
    (request, can_nest): (RequestId, bool),
) {
    let Some(worker) = state.workers.get_mut(&process) else {
        return;
    };
    if worker.role != Role::Pool {
        return; // an actor keeps its resources for its lifetime
    }
    note_started(state, process, task);
    let Some(worker) = state.workers.get_mut(&process) else { return };
    let Some(frame) = worker.stack.iter_mut().find(|frame| frame.task == task) else {
        return;
    };
    // It is not active if threads of it wait.
    if frame.state == FrameState::Active {
        state.resources.release_cpus(frame.class, worker.host);
    }
    frame.state = FrameState::Blocked(request);
    frame.can_nest = can_nest;
    find_work(state, process);
}

/// A thread of the process that runs no call waits: the task that runs there, which has probably started it, gives its slot
/// back. Which one that is.
pub(crate) fn lend_slot(state: &mut State, process: ProcessId) -> Option<TaskId> {
    let worker = state.workers.get_mut(&process).filter(|worker| worker.role == Role::Pool)?;
    let frame = worker.stack.last_mut()?;
    frame.waiting_threads += 1;
    if frame.state == FrameState::Active {
        frame.state = FrameState::Lent;
        state.resources.release_cpus(frame.class, worker.host);
    }
    Some(frame.task)
}

/// A thread goes on for which this task has given its slot back.
fn take_slot_back(state: &mut State, process: ProcessId, task: TaskId) {
    let Some(worker) = state.workers.get_mut(&process) else { return };
    let Some(frame) = worker.stack.iter_mut().find(|frame| frame.task == task) else { return };
    frame.waiting_threads = frame.waiting_threads.saturating_sub(1);
    if frame.state == FrameState::Lent {
        frame.state = FrameState::Runnable;
        resume(state, process);
    }
}

/// A task leaves the stack of its worker while threads wait for which it has given its slot back: they may as well be those
/// of the task below it, which had blocked before they asked.
pub(crate) fn hand_threads_down(state: &mut State, process: ProcessId, frame: &Frame) {
    if frame.waiting_threads == 0 {
        return;
    }
    let Some(worker) = state.workers.get_mut(&process) else { return };
    let Some(below) = worker.stack.last_mut() else { return };
    below.waiting_threads += frame.waiting_threads;
    for request in &worker.blocking {
        if let Some(open) = state.requests.get_mut(&(process, *request))
            && open.lender == Some(frame.task)
        {
            open.lender = Some(below.task);
        }
    }
}

/// A request of the process was answered: the frame that it blocked may proceed, or the one that has lent its slot.
pub(crate) fn unblock(state: &mut State, process: ProcessId, request: RequestId, lender: Option<TaskId>) {
    if let Some(lender) = lender {
        return take_slot_back(state, process, lender);
    }
    let Some(worker) = state.workers.get_mut(&process) else {
        return;
    };
    for frame in &mut worker.stack {
        if frame.state == FrameState::Blocked(request) {
            frame.state = FrameState::Runnable;
        }
    }
    resume(state, process);
}

/// The top frame proceeds if its request was answered.
pub(crate) fn resume(state: &mut State, process: ProcessId) {
    if let Some(worker) = state.workers.get_mut(&process)
        && let Some(frame) = worker.stack.last_mut()
        && frame.state == FrameState::Runnable
    {
        if frame.waiting_threads > 0 {
            frame.state = FrameState::Lent;
            return retract_all(state, process); // nothing starts on top of it
        }
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
    if worker.stack.last().is_some_and(|top| top.state == FrameState::Lent) {
        return retract_all(state, process); // nothing starts on top of it
    }
    let starts_one = worker.prefetched.iter().any(|prefetched| prefetched.nested);
    if worker.stack.is_empty() || worker.is_active() || starts_one {
        return;
    }
    let request = worker.nests_on();
    retract_unneeded(state, process);
    if let Some(request) = request {
        run_nested(state, process, request);
    }
}

/// Follows what the worker starts by itself: tasks sent to run on top of others; with an empty stack, the first
/// prefetched task; while blocked, the first that it waits for. If the worker reports what it starts, the task only gets
/// its resources.
fn start_prefetched(state: &mut State, process: ProcessId) {
    let Some(worker) = state.workers.get(&process) else {
        return;
    };
    if worker.prefetched.is_empty() {
        return;
    }
    if let Some(open) = worker.nests_on().and_then(|request| state.requests.get_mut(&(process, request))) {
        open.index();
    }
    let nested = || worker.prefetched.iter().position(|prefetched| prefetched.nested);
    let next = match worker.stack.last() {
        None => nested().or(Some(0)),
        Some(_) => worker.nests_on().and_then(|request| {
            let open = state.requests.get(&(process, request));
            let is_awaited = |prefetched: &Prefetched| state.is_startable_by_worker(prefetched.task, open);
            nested().or_else(|| worker.prefetched.iter().position(is_awaited))
        }),
    };
    match next {
        None => {}
        Some(at) if worker.reports_starts() => acquire_ahead(state, process, at),
        Some(at) => start(state, process, at),
    }
}

/// The worker will start this prefetched call next, unless it resumes another task before: the call gets its resources.
fn acquire_ahead(state: &mut State, process: ProcessId, at: usize) {
    let Some(worker) = state.workers.get_mut(&process) else { return };
    if worker.prefetched.iter().any(|prefetched| prefetched.holds.is_some()) {
        return;
    }
    let Some(prefetched) = worker.prefetched.get_mut(at) else { return };
    let class = match (state.tasks.get(&prefetched.task), state.canceling.get(&prefetched.task)) {
        (Some(task), _) => task.class,
        (None, Some(canceling)) => canceling.class,
        (None, None) => return,
    };
    prefetched.holds = Some(class);
    state.resources.acquire(class, worker.host);
}
