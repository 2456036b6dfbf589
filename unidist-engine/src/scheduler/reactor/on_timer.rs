//! A call with a time limit has started, or a timer has expired.

use crate::scheduler::event::{Action, Timer};
use crate::scheduler::state::State;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::Phase;
use crate::scheduler::transitions::cancel::cancel_call;
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::retract::retract_after;
use crate::scheduler::transitions::timers::arm;
use unidist_common::{ErrorKind, ProcessId, Target, TaskError, TaskId};

/// A timer has expired, unless it was replaced or disarmed meanwhile.
pub(crate) fn on_expired(state: &mut State, timer: Timer) {
    if !state.timers.expire(timer) {
        return;
    }
    let call = timer.call;
    match state.tasks.get(&call).map(|task| (task.spec.target, task.state, task.spec.options.timeout)) {
        None => on_grace_expired(state, call),
        Some((target, TaskState::Sent(process), Some(limit))) => {
            let message = format!("it did not end within its time limit of {limit:?}");
            let host = state.host_of(process).unwrap_or_default();
            let error =
                TaskError::new(ErrorKind::TimedOut, message).on_worker(&state.process_name(process, host));
            match target {
                Target::NewActor => {
                    fail_task(state, call, error);
                    state.actions.push(Action::Kill(process));
                }
                Target::Pool | Target::Actor(_) => cancel_call(state, call, error),
            }
        }
        Some(_) => {}
    }
}

/// A method call with a time limit has started.
pub(crate) fn on_started(state: &mut State, process: ProcessId, call: TaskId) {
    if let Some(task) = state.tasks.get(&call)
        && task.state == TaskState::Sent(process)
        && matches!(task.spec.target, Target::Actor(_))
        && let Some(limit) = task.spec.options.timeout
        && !state.timers.is_armed(call)
    {
        arm(state, call, limit);
    }
}

/// A canceling call has not left its worker in time: the worker is killed, unless the call cannot leave it yet. Other tasks
/// run on top of it (a retraction finds out whether they have started), it waits there for its turn, or it is suspended and
/// is dropped as soon as its worker is between other tasks.
fn on_grace_expired(state: &mut State, id: TaskId) {
    let Some(canceling) = state.canceling.get(&id) else { return };
    let process = canceling.process;
    let Some(worker) = state.workers.get_mut(&process) else { return };
    let is_below = worker.stack.iter().rev().skip(1).any(|frame| frame.task == id);
    let is_ahead = worker.prefetched.iter().any(|ahead| ahead.task == id);
    if is_below || is_ahead || worker.suspended.contains_key(&id) {
        retract_after(state, process, id);
        return arm(state, id, state.cancel_grace);
    }
    worker.kill_cause = Some(canceling.error.clone());
    worker.phase = Phase::Killed;
    state.actions.push(Action::Kill(process));
}
