//! Calls are sent to processes, start there and leave them.

use crate::scheduler::event::{Action, Role, Run};
use crate::scheduler::policy::placement::find_awaited;
use crate::scheduler::request::{RequestId, Value};
use crate::scheduler::state::State;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::{Frame, FrameState, Phase, Prefetched, Worker};
use crate::scheduler::transitions::block::{hand_threads_down, resume};
use crate::scheduler::transitions::cancel::is_top_canceling;
use crate::scheduler::transitions::cancel_queued::drop_queued_cancel;
use crate::scheduler::transitions::timers::arm;
use crate::store::StoredObject;
use std::sync::Arc;
use unidist_backend::CallKind;
use unidist_common::{DataId, HostId, ProcessId, Target, TaskId};

/// Sends a call to a process, with the values of its inputs.
pub(crate) fn send_call(state: &mut State, process: ProcessId, id: TaskId, nested: bool) {
    let Some(task) = state.tasks.get_mut(&id) else {
        return;
    };
    let Some(host) = state.workers.get(&process).map(|worker| worker.host) else { return };
    task.state = TaskState::Sent(process);
    if task.spec.target == Target::Pool {
        let group = state.resources.group(task.class);
        state.resources.groups().sent(group);
    }
    state.hosts[host.place()].fetching.remove(&id);
    let Some(task) = state.tasks.get(&id) else { return };
    let spec = &task.spec;
    let kind = match spec.target {
        Target::Pool => CallKind::Task,
        Target::NewActor => CallKind::NewActor { max_concurrency: spec.options.max_concurrency },
        Target::Actor(actor) => CallKind::Method { actor },
    };
    let mut objects: Vec<(DataId, Arc<StoredObject>)> = Vec::with_capacity(spec.dependencies.len());
    for dependency in &spec.dependencies {
        if let Value::Ready(object) = state.value_on(host, *dependency) {
            objects.push((*dependency, object));
        }
    }
    state.locations.pin_arguments(&mut state.objects, (process, host), id, &objects);
    let run = Run {
        id,
        function: spec.function,
        body: spec.body.clone(),
        kind,
        args: spec.args.clone(),
        objects,
        returns: spec.returns.count,
        nested,
        timed: spec.options.timeout.is_some(),
    };
    state.actions.push(Action::Run { process, run });
}

/// Sends a call to a worker that runs it now.
pub(crate) fn run_on(state: &mut State, process: ProcessId, task: TaskId, nested: bool) {
    send_call(state, process, task, nested);
    let Some(worker) = state.workers.get_mut(&process) else { return };
    if !worker.reports_starts() {
        return push_frame(state, process, task);
    }
    let Some(class) = state.tasks.get(&task).map(|task| task.class) else { return };
    worker.prefetched.push_back(Prefetched { task, nested, holds: Some(class) });
    state.resources.acquire(class, worker.host);
}

/// Sends a call ahead to a busy worker.
pub(crate) fn prefill(state: &mut State, process: ProcessId, task: TaskId) {
    send_call(state, process, task, false);
    if let Some(worker) = state.workers.get_mut(&process) {
        worker.prefetched.push_back(Prefetched { task, nested: false, holds: None });
    }
}

/// Runs a ready call on top of a blocked task that waits for it, newest first. False if there is none.
pub(crate) fn run_nested(state: &mut State, process: ProcessId, request: RequestId) -> bool {
    let runs = |worker: &Worker| matches!(worker.phase, Phase::Live | Phase::Draining);
    let nests = |worker: &Worker| runs(worker) && worker.nests_on() == Some(request);
    let live = state.workers.get(&process).is_some_and(nests);
    if state.ending || !live || is_top_canceling(state, process) {
        return false;
    }
    if let Some(open) = state.requests.get_mut(&(process, request)) {
        let objects = &state.objects;
        open.skip_settled(|id| objects.is_pending(id));
    }
    let Some(task) = find_awaited(state, process, request) else {
        return false;
    };
    run_on(state, process, task, true);
    true
}

/// The worker has started this prefetched call.
pub(crate) fn start(state: &mut State, process: ProcessId, at: usize) {
    let Some(worker) = state.workers.get_mut(&process) else { return };
    let Some(prefetched) = worker.prefetched.remove(at) else { return };
    if let Some(class) = prefetched.holds {
        state.resources.release(class, worker.host);
    }
    push_frame(state, process, prefetched.task);
}

/// The task runs on this worker from now on, and holds its resources.
pub(crate) fn push_frame(state: &mut State, process: ProcessId, task: TaskId) {
    drop_queued_cancel(state, task);
    let (class, timeout) = match (state.tasks.get(&task), state.canceling.get(&task)) {
        (Some(task), _) => (task.class, task.spec.options.timeout),
        (None, Some(canceling)) => (canceling.class, None),
        (None, None) => return,
    };
    cover_top(state, process);
    let Some(worker) = state.workers.get_mut(&process) else { return };
    worker.stack.push(Frame::new(task, class));
    state.resources.acquire(class, worker.host);
    if let Some(limit) = timeout
        && worker.role == Role::Pool
    {
        arm(state, task, limit);
    }
}

/// Another task runs on top of this worker's: one that waits for memory, or for the end of a call that it has canceled, does
/// not run meanwhile, and gives its CPUs back.
pub(crate) fn cover_top(state: &mut State, process: ProcessId) {
    if let Some(worker) = state.workers.get_mut(&process)
        && worker.role == Role::Pool
        && let Some(frame) = worker.stack.last_mut()
        && matches!(frame.state, FrameState::Active | FrameState::Lent)
    {
        if frame.state == FrameState::Active {
            state.resources.release_cpus(frame.class, worker.host);
        }
        frame.state = FrameState::Runnable;
    }
}

/// Removes the task from the worker's stack or prefetched calls; false if it is in neither.
pub(crate) fn remove_from_worker(state: &mut State, process: ProcessId, task: TaskId) -> bool {
    let Some(worker) = state.workers.get_mut(&process) else {
        return false;
    };
    let host = worker.host;
    if let Some(at) = worker.stack.iter().rposition(|frame| frame.task == task) {
        let frame = worker.stack.remove(at);
        worker.stacks_unawaited &= !worker.stack.is_empty();
        hand_threads_down(state, process, &frame);
        release_frame(state, frame, host);
        resume(state, process);
        return true;
    }
    if let Some(class) = worker.suspended.remove(&task) {
        state.resources.release_suspended(class, worker.host);
        return true;
    }
    match worker.position_of(task).and_then(|at| worker.prefetched.remove(at)) {
        Some(prefetched) => {
            release_prefetched(state, prefetched, host);
            true
        }
        None => false,
    }
}

/// Releases the resources of a call that has not started, if it holds them.
pub(crate) fn release_prefetched(state: &mut State, prefetched: Prefetched, host: HostId) {
    if let Some(class) = prefetched.holds {
        state.resources.release(class, host);
    }
}

/// Releases the resources of a frame.
pub(crate) fn release_frame(state: &mut State, frame: Frame, host: HostId) {
    match frame.state {
        FrameState::Active => state.resources.release(frame.class, host),
        FrameState::Blocked(_) | FrameState::Lent | FrameState::Runnable => {
            state.resources.release_custom(frame.class, host);
        }
    }
}
