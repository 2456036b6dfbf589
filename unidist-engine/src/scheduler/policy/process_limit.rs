//! The limit of processes: what can run on a host that may have no more workers.
//!
//! Blocked tasks keep their processes, so a program in which many tasks wait may use up all that a host may have. Then,
//! and only then, ready calls run on top of blocked tasks that do not wait for them. Such a call delays the tasks below
//! it, and if it turns out to wait for one of them, none of them can end. The search for deadlocks knows which is on top
//! of which, but an error is no help to a program that is right. To keep that rare,
//!
//! - calls that others wait for go first, the newest before older ones;
//! - calls that no other call waits for, such as those of the program, have to wait while anything else runs on the
//!   host: they might only wait, too;
//! - they run on top of the oldest tasks, for which few others wait.
//!
//! Nothing can run on top of a task without room on its stack, or of one whose threads wait. If all processes are in
//! that state, a ready call waits for all of them, which the search knows, too.

use crate::scheduler::state::State;
use crate::scheduler::state::deadlock_search::{Needs, Node};
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::state::resources::SchedulingClass;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::{FrameState, Phase, Worker};
use unidist_common::{HostId, ProcessId, TaskId};

/// How many of the newest ready calls are considered.
const CONSIDERED: usize = 32;

/// How many calls, each of which waits for the one before, are looked at to see whether one waits in a process.
const LINKS: usize = 8;

/// Whether the host has all the workers that it may have.
pub(crate) fn is_at_limit(state: &State, host: HostId) -> bool {
    let host = &state.hosts[host.place()];
    host.starting == 0 && host.pool.len() >= host.max_pool
}

/// At the limit, the worker of this host on which a ready call can run, on top of a blocked task: the oldest such task.
pub(crate) fn worker_to_stack_on(state: &State, host: HostId) -> Option<ProcessId> {
    if !is_at_limit(state, host) {
        return None;
    }
    let age = |worker: &Worker| state.tasks.get(&worker.stack.last()?.task).map(|task| task.arrival);
    let workers = pool(state, host).filter(|(_, worker)| has_room(state, worker));
    workers.min_by_key(|(_, worker)| (age(worker), worker.stack.len())).map(|(process, _)| process)
}

/// Whether a call can be sent to run on top of the worker's blocked task.
fn has_room(state: &State, worker: &Worker) -> bool {
    worker.phase == Phase::Live
        && worker.nests_on().is_some()
        && !worker.prefetched.iter().any(|prefetched| prefetched.nested)
        && !worker.stack.last().is_some_and(|top| state.is_canceling(top.task))
}

/// The ready call of this class that runs there; `first` is the first in line.
pub(crate) fn call_to_stack(
    state: &State,
    class: SchedulingClass,
    first: TaskId,
    host: HostId,
) -> Option<TaskId> {
    let can_start = |call: &TaskId| {
        let task = state.tasks.get(call).filter(|task| task.state == TaskState::Ready);
        task.is_some_and(|task| !task.spec.dependencies.iter().any(|id| state.is_missing_on(*id, host)))
    };
    let newest = || state.resources.newest_first(class).take(CONSIDERED).filter(can_start);
    let needed = newest().find(|call| is_needed(state, *call));
    let is_running = |worker: &Worker| worker.stack.last().is_some_and(|top| top.state == FrameState::Active);
    needed.or_else(|| match pool(state, host).any(|(_, worker)| is_running(worker)) {
        true => None,
        false => newest().next().or(Some(first)),
    })
}

/// Whether a call that has started waits for this one, directly or through others, as far as a short look tells.
fn is_needed(state: &State, call: TaskId) -> bool {
    let mut at = call;
    for _ in 0..LINKS {
        let Some(task) = state.tasks.get(&at) else { return false };
        match state.objects.newest_waiter(task.spec.returns.first) {
            Some(Waiter::Request(process, _) | Waiter::Watch(process, _)) => {
                return process != ProcessId::CONTROLLER;
            }
            Some(Waiter::Task(next)) => at = next,
            None => return false,
        }
    }
    false
}

/// Whether all processes that the host may have wait, and none has room for a ready call.
pub(crate) fn is_used_up(state: &State, host: HostId) -> bool {
    is_at_limit(state, host) && pool(state, host).all(|(_, worker)| waiting_top(worker).is_some())
}

/// What a ready call needs for a process of this host.
pub(crate) fn needs_of_process(state: &State, host: HostId) -> Needs {
    if !is_at_limit(state, host) {
        return Needs::nothing();
    }
    let tops: Option<Vec<_>> = pool(state, host).map(|(_, worker)| waiting_top(worker)).collect();
    tops.map_or_else(Needs::nothing, |tops| Needs {
        count: 1,
        of: tops.into_iter().map(Node::Call).collect(),
    })
}

/// The task on top of a worker that waits, and on which no other call can run.
fn waiting_top(worker: &Worker) -> Option<TaskId> {
    let top = worker.stack.last().filter(|_| worker.phase == Phase::Live)?;
    let waits = matches!(top.state, FrameState::Blocked(_) | FrameState::Lent);
    (waits && top.nests_on().is_none()).then_some(top.task)
}

fn pool(state: &State, host: HostId) -> impl Iterator<Item = (ProcessId, &Worker)> {
    let pool = &state.hosts[host.place()].pool;
    pool.iter().filter_map(|process| Some((*process, state.workers.get(process)?)))
}
