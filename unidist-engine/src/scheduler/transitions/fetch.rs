//! Demands for copies of objects on other hosts, and the transfers that serve them.

use crate::scheduler::event::{Action, Copy};
use crate::scheduler::state::State;
use crate::scheduler::state::hosts::Candidate;
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::state::resources::SchedulingClass;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::transitions::ready::requeue;
use crate::scheduler::transitions::release::release;
use crate::scheduler::transitions::requests::request_progress;
use unidist_common::{DataId, HostId, TaskId};

/// Has an object copied to this host, unless it is there. True if the waiter will be notified.
pub(crate) fn request_copy(state: &mut State, id: DataId, host: HostId, waiter: Waiter) -> bool {
    if !state.is_missing_on(id, host) {
        return false;
    }
    if !state.transfers.is_wanted(id, host) && !state.objects.retain(id) {
        return false; // it was freed, and its value says so
    }
    state.transfers.add_waiter(id, host, waiter);
    start_transfers(state, id);
    true
}

/// Has the inputs of a call copied to this host. How many are missing there.
pub(crate) fn request_copies(state: &mut State, call: TaskId, host: HostId) -> usize {
    if state.hosts.len() == 1 {
        return 0;
    }
    let Some(task) = state.tasks.get(&call) else { return 0 };
    let mut missing: Vec<_> =
        task.spec.dependencies.iter().copied().filter(|id| state.is_missing_on(*id, host)).collect();
    missing.sort_unstable();
    missing.dedup();
    missing.retain(|id| request_copy(state, *id, host, Waiter::Task(call)));
    if let Some(task) = state.tasks.get_mut(&call) {
        task.missing = missing.len();
    }
    missing.len()
}

/// Withdraws a waiter. A transfer that is under way continues.
pub(crate) fn cancel_copy_request(state: &mut State, id: DataId, host: HostId, waiter: Waiter) {
    if state.transfers.remove_waiter(id, host, waiter) {
        release(state, id);
    }
}

/// Starts as many of the demanded transfers of an object as it has copies that are not a source already.
pub(crate) fn start_transfers(state: &mut State, id: DataId) {
    for to in state.transfers.unserved_hosts(id) {
        let Some((from, object)) = state.locations.free_source(id) else { return };
        let Some(transfer) = state.transfers.begin(id, from, to) else { continue };
        state.locations.begin_sending(id, from);
        state.actions.push(Action::Copy(Copy { transfer, id, from, to, object }));
    }
}

/// Binds a ready call to this host and has its inputs copied there. False if none is missing, or too many calls are
/// fetching.
pub(crate) fn fetch(state: &mut State, class: SchedulingClass, task: TaskId, candidate: Candidate) -> bool {
    let host = &mut state.hosts[candidate.host.place()];
    if candidate.missing_bytes == 0 || host.may_fetch() == 0 {
        return false;
    }
    host.fetching.insert(task);
    state.resources.pop(class);
    let pinned = state.resources.bind_to_host(class, candidate.host);
    if let Some(task) = state.tasks.get_mut(&task) {
        task.class = pinned;
        task.state = TaskState::Fetching;
    }
    if request_copies(state, task, candidate.host) == 0 {
        requeue(state, task);
    }
    true
}

/// The object has no value any more: requests that wait for a copy are notified.
pub(crate) fn drop_copy_requests(state: &mut State, id: DataId) {
    for host in state.transfers.unserved_hosts(id) {
        let Some(waiters) = state.transfers.take_waiters(id, host) else { continue };
        for waiter in waiters {
            if let Waiter::Request(process, request) = waiter {
                request_progress(state, process, request);
            }
        }
        release(state, id);
    }
}
