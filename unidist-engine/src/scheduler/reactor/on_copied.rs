//! A transfer has ended.

use crate::network::Transfer;
use crate::scheduler::reactor::on_host_lost::objects_lost;
use crate::scheduler::state::State;
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::transfers::{FailedFetches, InFlight};
use crate::scheduler::transitions::actors::send_waiting_of;
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::fetch::start_transfers;
use crate::scheduler::transitions::ready::requeue;
use crate::scheduler::transitions::release::release;
use crate::scheduler::transitions::requests::{fail_request, request_progress};
use crate::store::StoredObject;
use std::sync::Arc;
use unidist_common::{DataId, HostId, TaskError, TaskId};

/// A transfer has ended: the waiters at its destination proceed, or another source is tried.
pub(crate) fn on_copied(state: &mut State, transfer: Transfer, result: Result<StoredObject, TaskError>) {
    let Some(InFlight { id, from, to }) = state.transfers.end(transfer) else { return };
    state.locations.end_sending(id, from);
    match result {
        Ok(object) => {
            let waiters = state.transfers.take_waiters(id, to).unwrap_or_default();
            let object = Arc::new(object);
            state.locations.add(id, to, &object);
            state.objects.replace(id, &object);
            waiters.into_iter().for_each(|waiter| copy_arrived(state, waiter));
            start_transfers(state, id);
            release(state, id);
        }
        Err(error) => {
            if !state.hosts[from.place()].is_lost {
                copy_failed(state, id, to, &error);
            } else if !state.locations.has_copy(id) && !state.transfers.is_under_way(id) {
                objects_lost(state, &[id], &error.message);
            }
            start_transfers(state, id); // from another copy
        }
    }
}

fn copy_arrived(state: &mut State, waiter: Waiter) {
    match waiter {
        Waiter::Request(process, request) => request_progress(state, process, request),
        Waiter::Watch(..) => {} // it waits for no copy
        Waiter::Task(call) => {
            let Some(task) = state.tasks.get_mut(&call) else { return };
            task.missing = task.missing.saturating_sub(1);
            if task.missing == 0 {
                call_complete(state, call);
            }
        }
    }
}

/// All inputs of the call are on the host where it will run.
fn call_complete(state: &mut State, call: TaskId) {
    let Some(task) = state.tasks.get_mut(&call) else { return };
    match (task.state, task.actor()) {
        (TaskState::Fetching, _) => {
            task.state = TaskState::Ready;
            state.resources.push_front(task.class, call);
        }
        (_, Some(actor)) => {
            let caller = task.caller;
            send_waiting_of(state, actor, caller);
        }
        _ => {}
    }
}

/// The transfer failed (for example, the store is full): its waiters fail or run elsewhere.
fn copy_failed(state: &mut State, id: DataId, to: HostId, error: &TaskError) {
    let Some(waiters) = state.transfers.take_waiters(id, to) else { return };
    for waiter in waiters {
        match waiter {
            Waiter::Task(call) if is_fetching(state, call) => try_elsewhere(state, call, to, error),
            Waiter::Task(call) => fail_task(state, call, error.clone()),
            Waiter::Request(process, request) => fail_request(state, process, request, error),
            Waiter::Watch(..) => {}
        }
    }
    release(state, id);
}

fn is_fetching(state: &State, call: TaskId) -> bool {
    state.tasks.get(&call).is_some_and(|task| task.state == TaskState::Fetching)
}

/// The store of this host is full: the call may run on another host.
fn try_elsewhere(state: &mut State, call: TaskId, full: HostId, error: &TaskError) {
    state.hosts[full.place()].fetching.remove(&call);
    let Some(task) = state.tasks.get_mut(&call) else { return };
    task.class = state.resources.unbind(task.class);
    task.missing = 0;
    let refused = state.failed_fetches.entry(call).or_insert_with(|| FailedFetches {
        error: error.clone(),
        hosts: Vec::new(),
        count: 0,
    });
    refused.hosts.push(full);
    refused.count += 1;
    requeue(state, call);
}
