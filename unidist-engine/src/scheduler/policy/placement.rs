//! Where a ready call may run: candidates, idle workers, and what a blocked task waits for.

use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::hosts::Candidate;
use crate::scheduler::state::resources::{Reservations, SchedulingClass};
use crate::scheduler::state::tasks::{Task, TaskState};
use crate::scheduler::state::workers::{FrameState, MAX_PREFETCHED, Phase, Worker};
use rustc_hash::FxHashSet;
use unidist_common::{DataId, HostId, ProcessId, TaskId};

/// How many objects a search for a call that a blocked task waits for looks at, where only this worker can run the call.
pub(crate) const SEARCH_LIMIT: usize = 10_000;

/// The same where the call can run elsewhere, too. It looks at the newest first, and those that have ended are skipped, so
/// mostly the first is one.
const SHORT_SEARCH: usize = 64;

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
    let held = || prefetched.map(|call| state.locations.brought_bytes(process, call.task)).sum::<u64>();
    brings == 0 || brings.saturating_add(held()) <= host.max_prefetched_bytes()
}

/// Whether another call of this class may be prefetched at this worker, if its inputs
/// [leave enough memory](leaves_memory). Asynchronous tasks wait behind others of their kind alone, and plain ones too: a
/// plain task would hold up the suspended tasks of the worker.
pub(crate) fn accepts_prefetch(state: &State, worker: &Worker, class: SchedulingClass) -> bool {
    let asynchronous = state.resources.is_asynchronous(class);
    let is_alike = |other: SchedulingClass| match asynchronous {
        true => state.resources.is_asynchronous(other) && state.resources.may_prefetch(other),
        false => state.resources.is_plain(other),
    };
    worker.phase == Phase::Live
        && worker.retracting.is_none()
        && worker.prefetched.len() < MAX_PREFETCHED
        && (asynchronous || worker.suspended.is_empty())
        && match worker.stack.as_slice() {
            [] => asynchronous && worker.prefetched.iter().any(|ahead| ahead.holds.is_some_and(is_alike)),
            [frame] => {
                frame.state == FrameState::Active && is_alike(frame.class) && !state.is_canceling(frame.task)
            }
            _ => false,
        }
}

/// Whether the worker starts a call of this class by itself after those that it has, so that the call need not wait
/// for it to become free.
pub(crate) fn is_next_in_line(state: &State, worker: &Worker, class: SchedulingClass) -> bool {
    worker.is_active()
        && state.resources.may_prefetch(class)
        && state.resources.is_asynchronous(class) == is_shared(state, worker)
}

/// Whether asynchronous tasks share the thread of this worker.
pub(crate) fn is_shared(state: &State, worker: &Worker) -> bool {
    let is_asynchronous = |class: SchedulingClass| state.resources.is_asynchronous(class);
    worker.reports_starts()
        || worker.stack.iter().any(|frame| is_asynchronous(frame.class))
        || worker.prefetched.iter().any(|ahead| ahead.holds.is_some_and(is_asynchronous))
}

/// A worker of this host that can start a call of this class now.
///
/// Asynchronous tasks share as many workers as the host has CPU slots. Plain ones get workers without suspended tasks,
/// which they would hold up, as long as there is one or another can be started.
pub(crate) fn free_worker(state: &State, class: SchedulingClass, host: HostId) -> Option<ProcessId> {
    if state.resources.is_asynchronous(class) {
        return free_worker_for_asynchronous(state, host);
    }
    let at_home = &state.hosts[host.place()];
    let can_start = at_home.pool.len() < at_home.max_pool;
    state.idle_worker_of(host).or_else(|| if can_start { None } else { free_shared_worker(state, host) })
}

/// The same for asynchronous tasks.
pub(crate) fn free_worker_for_asynchronous(state: &State, host: HostId) -> Option<ProcessId> {
    let idle = if wants_shared_worker(state, host) { state.idle_worker_of(host) } else { None };
    idle.or_else(|| free_shared_worker(state, host))
}

/// Of the free workers of this host with suspended tasks, the one with the fewest.
fn free_shared_worker(state: &State, host: HostId) -> Option<ProcessId> {
    let pool = &state.hosts[host.place()].pool;
    let workers = pool.iter().filter_map(|process| Some((*process, state.workers.get(process)?)));
    let free = workers.filter(|(_, worker)| worker.is_free() && worker.reports_starts());
    free.min_by_key(|(_, worker)| worker.suspended.len()).map(|(process, _)| process)
}

/// Whether an idle or new worker of this host is better for a call of this class than its turn at a busy one.
pub(crate) fn wants_another_worker(state: &State, class: SchedulingClass, host: HostId) -> bool {
    !state.resources.is_asynchronous(class) || wants_shared_worker(state, host)
}

/// Whether asynchronous tasks of this host share fewer workers than it has CPU slots, apart from blocked ones.
fn wants_shared_worker(state: &State, host: HostId) -> bool {
    let at_home = &state.hosts[host.place()];
    let takes_turns = |worker: &&Worker| {
        let is_blocked = worker.stack.last().is_some_and(|frame| frame.state != FrameState::Active);
        worker.phase == Phase::Live && !is_blocked && is_shared(state, worker)
    };
    let workers = at_home.pool.iter().filter_map(|process| state.workers.get(process));
    // Without a slot, since its worker was ended, a host still runs tasks that need none.
    workers.filter(takes_turns).count() < at_home.cpus.max(1)
}

/// An idle worker of any host.
pub(crate) fn idle_worker(state: &State) -> Option<ProcessId> {
    state.pool().find(|process| state.workers.get(process).is_some_and(Worker::is_idle))
}

/// A ready call that this process could run now and that its request waits for. The search for one that is bound to the
/// worker looks further: no other can run it.
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
    let limit = if state.resources.is_any_bound_to(process) { SEARCH_LIMIT } else { SHORT_SEARCH };
    search_awaited(state, (process, request), limit, may_run)
}

/// The first match among the calls that make the request's objects or, in turn, their inputs; the last objects first.
pub(crate) fn search_awaited(
    state: &State,
    request: (ProcessId, RequestId),
    limit: usize,
    is_it: impl Fn(TaskId, &Task) -> bool,
) -> Option<TaskId> {
    let mut objects = state.awaited(request.0, state.requests.get(&request)?).iter().rev();
    let mut inputs: Vec<DataId> = Vec::new();
    let mut seen = FxHashSet::default();
    for _ in 0..limit {
        #[cfg(test)]
        state.looked_at.set(state.looked_at.get() + 1);
        let id = inputs.pop().or_else(|| objects.next().copied())?;
        let Some(maker) = state.objects.maker(id).filter(|maker| seen.insert(*maker)) else { continue };
        let Some(task) = state.tasks.get(&maker) else { continue };
        if is_it(maker, task) {
            return Some(maker);
        }
        if task.state == TaskState::Waiting {
            inputs.extend(&task.spec.dependencies);
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
