//! A host is lost, with its processes and its memory.

use crate::scheduler::reactor::on_worker_lost::on_worker_lost;
use crate::scheduler::state::State;
use crate::scheduler::state::objects::Waiter;
use crate::scheduler::state::tasks::{Task, TaskState};
use crate::scheduler::transitions::fail_task::fail_dependent;
use crate::scheduler::transitions::fetch::{drop_copy_requests, start_transfers};
use crate::scheduler::transitions::ready::make_ready;
use crate::scheduler::transitions::release::release;
use rustc_hash::FxHashMap;
use unidist_common::{DataId, HostId, TaskError};

/// A host is lost. Its processes are lost as if they had died; objects without a copy on another host lose their
/// values.
pub(crate) fn on_host_lost(state: &mut State, host: HostId, why: &str) {
    let known = state.hosts.get_mut(host.place()).filter(|known| !known.is_lost);
    let Some(known) = known.filter(|_| host != HostId::CONTROLLER) else { return };
    known.is_lost = true;
    known.fetching.clear();
    state.resources.lose(host);
    let were_coming = drop_transfers_to(state, host);
    unbind_calls_from(state, host);
    let on_host = state.workers.iter().filter(|(_, worker)| worker.host == host);
    let mut processes: Vec<_> = on_host.map(|(process, _)| *process).collect();
    processes.sort_unstable();
    for process in processes {
        on_worker_lost(state, process, why, &[]);
    }
    // A transfer to another host may still arrive.
    let gone = |state: &State, id: &DataId| {
        state.objects.has_external_parts(*id)
            && !state.locations.has_copy(*id)
            && !state.transfers.is_under_way(*id)
    };
    let mut lost = lose_copies(state, host);
    lost.extend(were_coming);
    lost.sort_unstable();
    lost.dedup();
    lost.retain(|id| gone(state, id));
    objects_lost(state, &lost, why);
}

/// Calls bound to this host may run on any host.
fn unbind_calls_from(state: &mut State, host: HostId) {
    let is_bound = |task: &Task| {
        state.resources.bound_host(task.class) == Some(host)
            && state.resources.bound_worker(task.class).is_none()
    };
    let mut bound: Vec<_> = state.tasks.iter().filter(|(_, task)| is_bound(task)).map(|(id, _)| id).collect();
    bound.sort_unstable();
    state.resources.empty_queues_of(host);
    for id in bound {
        let Some(task) = state.tasks.get_mut(&id) else { continue };
        task.class = state.resources.unbind(task.class);
        if matches!(task.state, TaskState::Ready | TaskState::Fetching) {
            make_ready(state, id);
        }
    }
}

/// These objects have no copy left: they lose their values, and calls that need them fail.
pub(crate) fn objects_lost(state: &mut State, ids: &[DataId], why: &str) {
    let lost: FxHashMap<_, _> =
        ids.iter().filter_map(|id| Some((*id, object_lost(state, *id, why)?))).collect();
    if lost.is_empty() {
        return;
    }
    let cause = |task: &Task| match task.state {
        TaskState::Sent(_) => None,
        _ => task.spec.dependencies.iter().find_map(|id| lost.get(id)),
    };
    let failed = state.tasks.iter().filter_map(|(id, task)| Some((id, cause(task)?)));
    let mut failed: Vec<_> = failed.collect();
    failed.sort_unstable_by_key(|(id, _)| *id);
    failed.into_iter().for_each(|(call, cause)| fail_dependent(state, call, cause));
}

fn object_lost(state: &mut State, id: DataId, why: &str) -> Option<TaskError> {
    let mut error = state.objects.lost_error(id);
    error.message = match state.objects.history.producer_of(id) {
        Some((name, call)) => format!("object {id}, which `{name}` made (call {call}), is lost: {why}"),
        None => format!("object {id} is lost: {why}"),
    };
    let object = state.objects.lose(id, error.clone())?;
    object.borrowed.iter().for_each(|inner| release(state, *inner));
    drop_copy_requests(state, id);
    Some(error)
}

/// The memory of this host is gone. The objects without a copy on another host.
fn lose_copies(state: &mut State, host: HostId) -> Vec<DataId> {
    let mut lost = Vec::new();
    for (id, other_copy) in state.locations.lose_host(host) {
        match other_copy {
            Some(object) => state.objects.replace(id, &object),
            None => lost.push(id),
        }
    }
    lost
}

/// Forgets transfers to this host. The objects that were on their way.
fn drop_transfers_to(state: &mut State, host: HostId) -> Vec<DataId> {
    let (ended, demands) = state.transfers.drop_destination(host);
    ended.iter().for_each(|flight| state.locations.end_sending(flight.id, flight.from));
    for (id, waiters) in demands {
        for waiter in waiters {
            if let Waiter::Task(call) = waiter
                && let Some(task) = state.tasks.get_mut(&call)
            {
                task.missing = 0; // counted again where the call is placed next
            }
        }
        start_transfers(state, id);
        release(state, id);
    }
    ended.into_iter().map(|flight| flight.id).collect()
}
