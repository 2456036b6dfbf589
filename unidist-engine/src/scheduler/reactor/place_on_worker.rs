//! The placement of a call that is bound to one worker.
//!
//! Such a call runs on its worker when that is idle, is prefetched behind the running task as other calls are, or runs
//! on top of a task of the worker that waits for it. While the task waits for something else, the call waits, too;
//! whether that is a deadlock is checked when it begins. When the worker is gone, the call fails.

use crate::scheduler::policy::placement::{accepts_prefetch, is_next_in_line, leaves_memory};
use crate::scheduler::policy::worker_affinity::locate_worker;
use crate::scheduler::reactor::place::{Placement, Reason};
use crate::scheduler::reactor::search_deadlocks::search_from;
use crate::scheduler::state::State;
use crate::scheduler::state::deadlock_search::Node;
use crate::scheduler::state::hosts::Candidate;
use crate::scheduler::state::resources::{Reservations, SchedulingClass};
use crate::scheduler::state::workers::FrameState;
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::fetch::fetch;
use crate::scheduler::transitions::retract::retract;
use crate::scheduler::transitions::run::{prefill, run_nested, run_on};
use unidist_common::{ProcessId, TaskId};

/// Tries to place a ready call on the worker to which it is bound.
pub(crate) fn place_on_worker(
    state: &mut State,
    class: SchedulingClass,
    task: TaskId,
    process: ProcessId,
    candidate: Option<Candidate>,
    reserved: &mut Reservations,
) -> Placement {
    if let Err(error) = locate_worker(state, process) {
        fail_task(state, task, error);
        return Placement::Progress;
    }
    if let Some(error) = state.resources.unsatisfiable_error(class) {
        fail_task(state, task, error);
        return Placement::Progress;
    }
    let Some(candidate) = candidate else { return Placement::Blocked(Reason::WorkerBusy) };
    if candidate.missing_bytes > 0 {
        return if fetch(state, class, task, candidate) {
            Placement::Progress
        } else {
            Placement::Blocked(Reason::WorkerBusy)
        };
    }
    let Some(worker) = state.workers.get(&process) else { return Placement::Blocked(Reason::WorkerBusy) };
    if worker.is_free() {
        return match state.resources.fits(class, candidate.host) {
            true => {
                state.resources.pop(class);
                run_on(state, process, task, false);
                Placement::Progress
            }
            false if state.resources.lacks_cpus_only(class, candidate.host) => {
                Placement::Blocked(Reason::NoWorker)
            }
            false => Placement::Blocked(Reason::NoResource),
        };
    }
    if let Some(request) = worker.blocked_on() {
        if run_nested(state, process, request) {
            return Placement::Progress; // perhaps another call, but the queue has changed
        }
        check_deadlock(state, process, Node::Request(process, request));
        return Placement::Blocked(Reason::WorkerBusy);
    }
    if let Some(top) = worker.stack.last().filter(|top| top.state == FrameState::Lent) {
        let waiting = Node::Call(top.task);
        check_deadlock(state, process, waiting);
    }
    let Some(worker) = state.workers.get(&process) else { return Placement::Blocked(Reason::WorkerBusy) };
    if is_next_in_line(state, worker, class) {
        if accepts_prefetch(state, worker, class) && !reserved.is_reserved(process) {
            if leaves_memory(state, process, task) {
                state.resources.pop(class);
                prefill(state, process, task);
                return Placement::Progress;
            }
            // Calls behind it must not go first forever.
            reserved.reserve(process);
        }
    } else {
        // It waits until the worker is idle: no other call may be prefetched there meanwhile.
        reserved.reserve(process);
        // Those that hold their resources start next; given back, they would only be sent there again.
        let behind = worker.prefetched.iter().filter(|ahead| ahead.holds.is_none());
        let prefetched = behind.map(|ahead| ahead.task).collect();
        retract(state, process, prefetched);
    }
    Placement::Blocked(Reason::WorkerBusy)
}

/// A bound call waits behind a blocked task, or one that waits for its threads. If the task waits, through others, for that
/// call, its request fails. Checked once for each set of bound calls; a task that blocks later checks by itself.
fn check_deadlock(state: &mut State, process: ProcessId, waiting: Node) {
    let Some(worker) = state.workers.get_mut(&process) else { return };
    let now = (waiting, state.resources.bound_arrivals());
    if worker.last_deadlock_check.replace(now) == Some(now) {
        return;
    }
    search_from(state, waiting);
}
