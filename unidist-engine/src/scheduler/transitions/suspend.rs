//! Asynchronous tasks leave the thread of their worker while they wait, and come back.

use crate::scheduler::event::Role;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::workers::{Frame, FrameState, Prefetched};
use crate::scheduler::transitions::block::{find_work, hand_threads_down, resume};
use crate::scheduler::transitions::run::{cover_top, start};
use unidist_common::{ProcessId, TaskId};

/// The task waits, without a thread: it keeps everything but its CPUs.
pub(crate) fn on_suspended(state: &mut State, process: ProcessId, task: TaskId) {
    note_started(state, process, task);
    let Some(worker) = state.workers.get_mut(&process) else { return };
    let Some(at) = worker.stack.iter().rposition(|frame| frame.task == task) else { return };
    if worker.role != Role::Pool {
        return; // the one frame of an actor is the actor's
    }
    // What was sent to run on top of the task, before it was answered, has not started.
    let above = worker.stack.split_off(at + 1);
    for frame in above.into_iter().rev() {
        worker.prefetched.push_front(Prefetched { task: frame.task, nested: true, holds: Some(frame.class) });
    }
    let Some(frame) = worker.stack.pop() else { return };
    let host = worker.host;
    worker.suspended.insert(task, frame.class);
    if frame.state != FrameState::Active {
        state.resources.acquire_cpus(frame.class, host); // it gave them back, with its place in its group
    }
    state.resources.suspend(frame.class, host);
    hand_threads_down(state, process, &frame);
    resume(state, process);
    find_work(state, process);
}

/// The code of the task runs now, on top of all others of the worker: again, or for the first time.
pub(crate) fn on_resumed(state: &mut State, process: ProcessId, task: TaskId) {
    if push_suspended(state, process, task) {
        return give_up_foreseen(state, process);
    }
    if let Some(at) = state.workers.get(&process).and_then(|worker| worker.position_of(task)) {
        start(state, process, at);
        return give_up_foreseen(state, process);
    }
    // It was sent to run at once, and another task was resumed before it.
    if let Some(worker) = state.workers.get_mut(&process)
        && worker.role == Role::Pool
        && let Some(at) = worker.stack.iter().position(|frame| frame.task == task)
    {
        let frame = worker.stack.remove(at);
        cover_top(state, process);
        if let Some(worker) = state.workers.get_mut(&process) {
            worker.stack.push(frame);
        }
        resume(state, process);
    }
}

/// A message of the task shows that its code runs: it may have been sent to run on top of another one, and have started
/// without a report while that one waited for memory; or the drop of its future blocks.
pub(crate) fn note_started(state: &mut State, process: ProcessId, task: TaskId) {
    let Some(worker) = state.workers.get(&process) else { return };
    if let Some(at) = worker.position_of(task) {
        start(state, process, at);
    } else {
        push_suspended(state, process, task);
    }
}

/// Puts a suspended task on top of the stack of its worker. False if there is none with this id.
fn push_suspended(state: &mut State, process: ProcessId, task: TaskId) -> bool {
    let Some(class) = state.workers.get_mut(&process).and_then(|worker| worker.suspended.remove(&task))
    else {
        return false;
    };
    cover_top(state, process);
    let Some(worker) = state.workers.get_mut(&process) else { return false };
    let is_its = |request: &&RequestId| {
        state.requests.get(&(process, **request)).is_some_and(|open| open.lender == Some(task))
    };
    let waiting_threads = worker.blocking.iter().filter(is_its).count() as u32;
    let mut frame = Frame { waiting_threads, ..Frame::new(task, class) };
    state.resources.resume(class, worker.host);
    if waiting_threads > 0 {
        frame.state = FrameState::Lent;
        state.resources.release_cpus(class, worker.host);
    }
    worker.stack.push(frame);
    true
}

/// Another task runs than the one that was foreseen: that one waits for its turn without resources.
fn give_up_foreseen(state: &mut State, process: ProcessId) {
    let Some(worker) = state.workers.get_mut(&process) else { return };
    for prefetched in worker.prefetched.iter_mut().filter(|prefetched| !prefetched.nested) {
        if let Some(class) = prefetched.holds
            && state.resources.may_prefetch(class)
        {
            prefetched.holds = None;
            state.resources.release(class, worker.host);
        }
    }
}
