//! Work stealing: which prefetched calls are retracted from busy workers for others that could run them now.

use crate::scheduler::policy::placement::{free_worker_for_asynchronous, is_shared, may_start_on};
use crate::scheduler::policy::worker_affinity::is_bound_to_worker;
use crate::scheduler::state::State;
use crate::scheduler::state::resources::SchedulingClass;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::Worker;
use unidist_common::{HostId, ProcessId, TaskId};

/// How many of the objects that a blocked task waits for are looked up at busy workers.
const MAX_AWAITED: usize = 64;

/// The tasks to retract from busy workers, by worker. An idle worker takes over half of what the busiest worker has
/// prefetched; a blocked one what it waits for.
pub(crate) fn tasks_to_retract(state: &State) -> Vec<(ProcessId, Vec<TaskId>)> {
    let mut is_any_free = false;
    for host in state.host_ids() {
        let is_free = state.resources.fits(SchedulingClass::DEFAULT, host);
        is_any_free |= is_free;
        if is_free && let Some(stolen) = steal_for(state, host) {
            return vec![stolen];
        }
    }
    if is_any_free { awaited_by_blocked(state) } else { Vec::new() }
}

/// The worker to steal from for an idle worker of this host, and the tasks.
fn steal_for(state: &State, thief: HostId) -> Option<(ProcessId, Vec<TaskId>)> {
    let mut at_home = state.hosts[thief.place()].pool.iter().filter_map(|process| state.workers.get(process));
    if !at_home.any(Worker::is_free) {
        return None;
    }
    let serves_plain = state.idle_worker_of(thief).is_some();
    let serves_asynchronous = free_worker_for_asynchronous(state, thief).is_some();
    let has_thief = |worker: &Worker| match is_shared(state, worker) {
        true => serves_asynchronous,
        false => serves_plain,
    };
    let later_half = |worker: &Worker| {
        let behind = worker.prefetched.iter().filter(|ahead| ahead.holds.is_none()).map(|ahead| ahead.task);
        movable(state, behind.skip(worker.waiting() / 2), thief)
    };
    let is_all_movable = state.hosts.len() == 1 && !state.resources.is_any_bound_to_worker();
    let (process, worker) = state
        .pool()
        .filter_map(|process| Some((process, state.workers.get(&process)?)))
        .filter(|(_, worker)| worker.retracting.is_none() && worker.waiting() > 0 && has_thief(worker))
        .filter(|(_, worker)| is_all_movable || !later_half(worker).is_empty())
        .max_by_key(|(_, worker)| worker.waiting())?;
    Some((process, later_half(worker)))
}

/// Those of these calls that may run on this host: with their objects there, or so few without that they can come.
fn movable(state: &State, calls: impl Iterator<Item = TaskId>, to: HostId) -> Vec<TaskId> {
    if state.hosts.len() == 1 {
        return calls.filter(|call| !is_bound_to_worker(state, *call)).collect();
    }
    let mut left = state.hosts[to.place()].may_fetch();
    let mut is_movable = |call: &TaskId| {
        let Some(task) = state.tasks.get(call) else { return false };
        if !state.resources.may_run_on(task.class, to) || state.resources.bound_worker(task.class).is_some() {
            return false;
        }
        let is_near = may_start_on(state, *call, to);
        if !is_near && left > 0 {
            left -= 1;
            return true;
        }
        is_near
    };
    calls.filter(|call| is_movable(call)).collect()
}

/// There is a free slot, and blocked tasks wait for calls that are prefetched at busy workers: these calls.
fn awaited_by_blocked(state: &State) -> Vec<(ProcessId, Vec<TaskId>)> {
    let blocked = state.pool().filter_map(|process| {
        let request = state.workers.get(&process)?.blocked_on()?;
        Some(state.awaited(process, state.requests.get(&(process, request))?))
    });
    let mut awaited: Vec<(ProcessId, TaskId)> = Vec::new();
    for id in blocked.flat_map(|ids| ids.iter().rev().take(MAX_AWAITED)) {
        let Some(maker) = state.objects.maker(*id) else { continue };
        if let Some(TaskState::Sent(process)) = state.tasks.get(&maker).map(|task| task.state)
            && state.workers.get(&process).is_some_and(|w| w.is_active() && w.position_of(maker).is_some())
            && !is_bound_to_worker(state, maker)
        {
            awaited.push((process, maker));
        }
    }
    awaited.sort_unstable();
    awaited.dedup();
    let by_worker = awaited.chunk_by(|one, other| one.0 == other.0);
    by_worker.map(|calls| (calls[0].0, calls.iter().map(|(_, call)| *call).collect())).collect()
}
