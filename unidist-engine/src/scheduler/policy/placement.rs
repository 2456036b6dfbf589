//! Where a ready call may run: candidates, idle workers, and what a blocked task waits for.

use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::hosts::Candidate;
use crate::scheduler::state::resources::{Reservations, SchedulingClass};
use crate::scheduler::state::tasks::{Task, TaskState};
use crate::scheduler::state::workers::{FrameState, MAX_PREFETCHED, Worker};
use rustc_hash::FxHashSet;
use unidist_common::{HostId, ProcessId, TaskId};

/// The maximum number of calls that a search for what a blocked task waits for looks at.
const SEARCH_LIMIT: usize = 10_000;

/// The hosts on which the call may run, those with the fewest missing bytes first.
pub(crate) fn find_candidates(
    state: &State,
    class: SchedulingClass,
    task: TaskId,
    reserved: &Reservations,
    candidates: &mut Vec<Candidate>,
) {
    candidates.clear();
    let needs_cpus = state.resources.needs_cpus(class);
    let may_run = |host: &HostId| {
        state.resources.may_run_on(class, *host) && !(needs_cpus && reserved.holds_cpus_of(*host))
    };
    candidates.extend(state.host_ids().filter(may_run).map(|host| Candidate { host, missing_bytes: 0 }));
    if state.hosts.len() == 1 {
        return;
    }
    if let Some(refused) = state.failed_fetches.get(&task) {
        candidates.retain(|candidate| !refused.hosts.contains(&candidate.host));
    }
    for dependency in state.tasks.get(&task).into_iter().flat_map(|task| &task.spec.dependencies) {
        for candidate in
            candidates.iter_mut().filter(|candidate| state.is_missing_on(*dependency, candidate.host))
        {
            candidate.missing_bytes += state.locations.size(*dependency).max(1);
        }
    }
    match state.resources.is_actor(class) {
        true => candidates.sort_by_key(|candidate| {
            (candidate.missing_bytes, state.hosts[candidate.host.place()].actor_load())
        }),
        false => candidates.sort_by_key(|candidate| {
            (candidate.missing_bytes, state.hosts[candidate.host.place()].fetching.len())
        }),
    }
}

/// The most inputs of a call whose bytes are counted. A call with more waits for an idle worker if memory is in use.
const MAX_COUNTED_INPUTS: usize = 64;

/// Whether the shared inputs of calls that wait at this worker stay few if this call joins them.
pub(crate) fn leaves_memory(state: &State, process: ProcessId, call: TaskId) -> bool {
    let inputs = state.tasks.get(&call).map_or(&[][..], |task| &task.spec.dependencies);
    if inputs.is_empty() {
        return true;
    }
    let Some(worker) = state.workers.get(&process) else { return false };
    let (resident, idle) = state.locations.resident_bytes(worker.host);
    let host = &state.hosts[worker.host.place()];
    if resident == 0 || idle == 0 && !host.is_short_of_memory {
        return true;
    }
    if inputs.len() > MAX_COUNTED_INPUTS {
        return false;
    }
    if host.is_short_of_memory {
        return !state.locations.is_any_in_memory(inputs, worker.host);
    }
    let brings = state.locations.idle_bytes_of(inputs, worker.host);
    let prefetched = worker.prefetched.iter();
    let held = || prefetched.map(|call| state.locations.brought_bytes(process, *call)).sum::<u64>();
    brings == 0 || brings.saturating_add(held()) <= host.max_prefetched_bytes()
}

/// Whether another call may be prefetched at this worker, if its inputs [leave enough memory](leaves_memory).
pub(crate) fn accepts_prefetch(state: &State, worker: &Worker) -> bool {
    worker.is_active()
        && worker.retracting.is_none()
        && worker.prefetched.len() < MAX_PREFETCHED
        && matches!(worker.stack.as_slice(), [frame] if state.resources.is_plain(frame.class)
            && !state.is_canceling(frame.task))
}

/// An idle worker of any host.
pub(crate) fn idle_worker(state: &State) -> Option<ProcessId> {
    state.pool().find(|process| state.workers.get(process).is_some_and(Worker::is_idle))
}

/// A ready call that this process could run now and that its request waits for.
pub(crate) fn find_awaited(state: &State, process: ProcessId, request: RequestId) -> Option<TaskId> {
    let host = state.host_of(process)?;
    let may_run = |call: TaskId, task: &Task| {
        task.state == TaskState::Ready
            && !state.resources.is_actor(task.class)
            && state.resources.bound_worker(task.class).is_none_or(|worker| worker == process)
            && state.resources.has_room_in_group(task.class)
            && state.resources.fits(task.class, host)
            && may_start_on(state, call, host)
    };
    search_awaited(state, process, request, may_run)
}

/// The first match among the calls that make the request's objects or, in turn, their inputs.
pub(crate) fn search_awaited(
    state: &State,
    process: ProcessId,
    request: RequestId,
    is_it: impl Fn(TaskId, &Task) -> bool,
) -> Option<TaskId> {
    let mut search = state.requests.get(&(process, request))?.ids.clone();
    let mut seen = FxHashSet::default();
    while let Some(id) = search.pop() {
        let Some(maker) = state.objects.maker(id) else {
            continue;
        };
        if seen.len() >= SEARCH_LIMIT || !seen.insert(maker) {
            continue;
        }
        let Some(task) = state.tasks.get(&maker) else {
            continue;
        };
        if is_it(maker, task) {
            return Some(maker);
        }
        if task.state == TaskState::Waiting {
            search.extend(&task.spec.dependencies);
        }
    }
    None
}

/// Whether the call may run on this host and finds its inputs there.
pub(crate) fn may_start_on(state: &State, call: TaskId, host: HostId) -> bool {
    let Some(task) = state.tasks.get(&call) else { return false };
    state.hosts.len() == 1
        || state.resources.may_run_on(task.class, host)
            && !task.spec.dependencies.iter().any(|id| state.is_missing_on(*id, host))
}

/// Whether the asynchronous task on top of this worker's stack waits for this call.
pub(crate) fn is_awaited_asynchronously(state: &State, process: ProcessId, call: TaskId) -> bool {
    let top = state.workers.get(&process).and_then(|worker| worker.stack.last());
    top.is_some_and(|frame| frame.state == FrameState::Yielded)
        && state
            .requests
            .keys()
            .filter(|key| key.0 == process)
            .any(|key| search_awaited(state, process, key.1, |other, _| other == call).is_some())
}
