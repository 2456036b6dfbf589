//! The placement of one ready call.

use crate::scheduler::event::Role;
use crate::scheduler::policy::placement::{
    accepts_prefetch, find_candidates, free_worker, leaves_memory, wants_another_worker,
};
use crate::scheduler::policy::process_limit::{call_to_stack, worker_to_stack_on};
use crate::scheduler::reactor::place_on_worker::place_on_worker;
use crate::scheduler::state::State;
use crate::scheduler::state::hosts::Candidate;
use crate::scheduler::state::resources::{Reservations, SchedulingClass};
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::transfers::FailedFetches;
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::fetch::fetch;
use crate::scheduler::transitions::processes::{start_pool_worker, start_process};
use crate::scheduler::transitions::ready::unbind_from_host;
use crate::scheduler::transitions::run::{prefill, push_frame, run_nested, run_on};
use unidist_common::{ActorId, ErrorKind, HostId, TaskError, TaskId};

/// The result of an attempt to place a call.
pub(crate) enum Placement {
    /// The queue has changed: the call, or another one, was placed or has failed.
    Progress,
    /// The call stays where it is in the queue.
    Blocked(Reason),
}

/// Why a call cannot be placed now.
pub(crate) enum Reason {
    /// The one worker to which it is bound is busy. Other classes need not wait for it.
    WorkerBusy,
    /// A worker or a CPU slot has to become free first.
    NoWorker,
    /// The same; its hosts may have no more workers.
    NoProcess,
    /// A custom resource is missing.
    NoResource,
    /// Its inputs cannot be fetched before something else has arrived. Other calls need not wait for it.
    FetchLimit,
}

/// Tries to place the first call of a queue.
pub(crate) fn place(
    state: &mut State,
    class: SchedulingClass,
    task: TaskId,
    reserved: &mut Reservations,
) -> Placement {
    let mut candidates = std::mem::take(&mut state.candidates);
    find_candidates(state, class, task, reserved, &mut candidates);
    let placed = match state.resources.bound_worker(class) {
        Some(worker) => place_on_worker(state, class, task, worker, candidates.first().copied(), reserved),
        None => place_anywhere(state, class, task, &candidates, reserved),
    };
    state.candidates = candidates;
    match placed {
        Placement::Progress => Placement::Progress,
        _ if state.failed_fetches.contains_key(&task) => reconsider(state, class, task, &placed),
        later => later,
    }
}

/// Tries to place a call that is not bound to a worker.
fn place_anywhere(
    state: &mut State,
    class: SchedulingClass,
    task: TaskId,
    candidates: &[Candidate],
    reserved: &Reservations,
) -> Placement {
    if let Some(error) = state.resources.unsatisfiable_error(class) {
        match state.resources.bound_host(class) {
            Some(home) => unbind_from_host(state, class, task, home),
            None => fail_task(state, task, error),
        }
        return Placement::Progress;
    }
    let fits = |state: &State, candidate: &&Candidate| state.resources.fits(class, candidate.host);
    for candidate in candidates {
        if fits(state, &candidate) && place_on(state, class, task, *candidate) {
            return Placement::Progress;
        }
    }
    if candidates.iter().any(|candidate| fits(state, &candidate)) {
        if !state.resources.is_actor(class) {
            if run_nested_anywhere(state) {
                return Placement::Progress; // perhaps another call, but the queue has changed
            }
            return place_later(state, class, task, candidates, reserved);
        }
        return Placement::Blocked(Reason::NoWorker);
    }
    if !candidates.iter().any(|candidate| state.resources.lacks_cpus_only(class, candidate.host)) {
        return match candidates.is_empty() {
            true => Placement::Blocked(Reason::NoWorker),
            false if leave_bound_host(state, class, task, |_, _| true) => Placement::Progress,
            false => Placement::Blocked(Reason::NoResource),
        };
    }
    let placed =
        state.resources.may_prefetch(class) && prefill_busy_worker(state, class, task, candidates, reserved);
    let placed = placed || candidates.first().is_some_and(|candidate| fetch(state, class, task, *candidate));
    let can_take_it = |state: &State, host: HostId| {
        free_worker(state, class, host).is_some() && state.hosts[host.place()].may_fetch() > 0
    };
    match placed || leave_bound_host(state, class, task, can_take_it) {
        true => Placement::Progress,
        false => Placement::Blocked(Reason::NoWorker),
    }
}

/// There is a slot for the call, but no idle worker, or none with its inputs. Starts a worker if the limit allows it.
fn place_later(
    state: &mut State,
    class: SchedulingClass,
    task: TaskId,
    candidates: &[Candidate],
    reserved: &Reservations,
) -> Placement {
    let fits = |candidate: &Candidate| state.resources.fits(class, candidate.host);
    let has_one = |candidate: &Candidate| free_worker(state, class, candidate.host).is_some();
    let lacks_one = |candidate: &&Candidate| fits(candidate) && !has_one(candidate);
    let only_lacks_inputs = candidates.iter().any(|candidate| fits(candidate) && has_one(candidate));
    let may_start = |candidate: &&Candidate| {
        let host = &state.hosts[candidate.host.place()];
        host.starting == 0
            && host.pool.len() < host.max_pool
            && wants_another_worker(state, class, candidate.host)
    };
    if candidates.iter().any(|candidate| lacks_one(&candidate)) {
        let first = candidates.iter().filter(lacks_one).find(may_start).map(|candidate| candidate.host);
        first.into_iter().for_each(|host| start_pool_worker(state, host));
        let waits_in_line = first.is_none()
            && state.resources.is_asynchronous(class)
            && state.resources.may_prefetch(class)
            && prefill_busy_worker(state, class, task, candidates, reserved);
        if first.is_some() {
            return Placement::Blocked(Reason::NoWorker);
        }
        if waits_in_line || run_on_blocked(state, class, task, candidates) {
            return Placement::Progress;
        }
        if !only_lacks_inputs {
            return Placement::Blocked(Reason::NoProcess);
        }
    }
    match state.resources.may_prefetch(class) && prefill_busy_worker(state, class, task, candidates, reserved)
    {
        true => Placement::Progress,
        false => Placement::Blocked(Reason::FetchLimit),
    }
}

/// A call whose inputs were fetched to a host that lacks its resources now may move to a host that has them and is
/// fit.
fn leave_bound_host(
    state: &mut State,
    class: SchedulingClass,
    task: TaskId,
    is_fit: impl Fn(&State, HostId) -> bool,
) -> bool {
    let Some(home) = state.resources.bound_host(class) else { return false };
    let anywhere = state.resources.unbind(class);
    let is_free = |host: HostId| {
        state.resources.may_run_on(anywhere, host)
            && state.resources.fits(anywhere, host)
            && is_fit(state, host)
    };
    if !state.host_ids().any(is_free) {
        return false;
    }
    unbind_from_host(state, class, task, home);
    true
}

/// A fetch for this call failed because a store was full, and no other host can run it now. If only CPUs are missing,
/// it waits. For other resources it tries the full hosts again a few times, then fails: the holders may be waiting for
/// this call.
fn reconsider(state: &mut State, class: SchedulingClass, task: TaskId, placed: &Placement) -> Placement {
    let hosts = state.host_ids();
    let Some(refused) = state.failed_fetches.get_mut(&task) else {
        return Placement::Blocked(Reason::FetchLimit);
    };
    let resources = &state.resources;
    let mut able = hosts.filter(|host| resources.may_run_on(class, *host));
    let is_refused_by_all = able.all(|host| refused.hosts.contains(&host));
    match placed {
        _ if is_refused_by_all => fail_for_full_store(state, task),
        Placement::Blocked(Reason::NoResource) if refused.hosts.is_empty() => {
            Placement::Blocked(Reason::NoResource)
        }
        Placement::Blocked(Reason::NoResource) if refused.count < FailedFetches::MAX_FAILURES => {
            refused.hosts.clear();
            Placement::Progress
        }
        Placement::Blocked(Reason::NoResource) => fail_for_full_store(state, task),
        _ => Placement::Blocked(Reason::FetchLimit),
    }
}

fn fail_for_full_store(state: &mut State, task: TaskId) -> Placement {
    if let Some(refused) = state.failed_fetches.remove(&task) {
        fail_task(state, task, refused.error);
    }
    Placement::Progress
}

/// Runs the call on this host, which has the resources, or fetches its inputs there. False if neither is possible now.
fn place_on(state: &mut State, class: SchedulingClass, task: TaskId, candidate: Candidate) -> bool {
    let is_actor = state.resources.is_actor(class);
    let free = if is_actor { None } else { free_worker(state, class, candidate.host) };
    if !is_actor && free.is_none() {
        return false;
    }
    if candidate.missing_bytes > 0 {
        return fetch(state, class, task, candidate);
    }
    state.resources.pop(class);
    match free {
        _ if is_actor => start_actor(state, ActorId::of_constructor(task), candidate.host),
        Some(worker) => run_on(state, worker, task, false),
        None => {}
    }
    true
}

/// Sends the call ahead to the busy worker with the fewest prefetched calls. False if all have enough, or if its
/// arguments would take too much memory there.
fn prefill_busy_worker(
    state: &mut State,
    class: SchedulingClass,
    task: TaskId,
    candidates: &[Candidate],
    reserved: &Reservations,
) -> bool {
    let near = candidates.iter().filter(|candidate| candidate.missing_bytes == 0);
    let shortest = near
        .flat_map(|candidate| &state.hosts[candidate.host.place()].pool)
        .filter_map(|process| Some((*process, state.workers.get(process)?)))
        .filter(|(process, worker)| accepts_prefetch(state, worker, class) && !reserved.is_reserved(*process))
        .min_by_key(|(_, worker)| worker.prefetched.len());
    let Some((process, _)) = shortest else {
        return false;
    };
    if !leaves_memory(state, process, task) {
        return false;
    }
    state.resources.pop(class);
    prefill(state, process, task);
    true
}

/// Runs a ready call on top of a blocked task that waits for it, on any worker.
fn run_nested_anywhere(state: &mut State) -> bool {
    let blocked: Vec<_> = state
        .pool()
        .filter_map(|process| Some((process, state.workers.get(&process)?.nests_on()?)))
        .collect();
    blocked.into_iter().any(|(process, request)| run_nested(state, process, request))
}

/// Runs a call of this class on top of a blocked task that does not wait for it, on a host that may have no more
/// processes; or fetches the inputs of this one there. False if there is no such host, or none of them can run there now.
fn run_on_blocked(state: &mut State, class: SchedulingClass, task: TaskId, candidates: &[Candidate]) -> bool {
    let fits = |candidate: &&Candidate| state.resources.fits(class, candidate.host);
    let worker = |candidate: &Candidate| Some((worker_to_stack_on(state, candidate.host)?, *candidate));
    let Some((process, candidate)) = candidates.iter().filter(fits).find_map(worker) else { return false };
    let Some(call) = call_to_stack(state, class, task, candidate.host) else { return false };
    if call == task && candidate.missing_bytes > 0 {
        return fetch(state, class, task, candidate);
    }
    let (resources, tasks) = (&mut state.resources, &state.tasks);
    let is_ready = |task: TaskId| tasks.get(&task).is_some_and(|task| task.state == TaskState::Ready);
    resources.remove_newest(class, call, is_ready);
    if let Some(worker) = state.workers.get_mut(&process) {
        worker.stacks_unawaited = true;
    }
    run_on(state, process, call, true);
    true
}

/// Starts the process of an actor, whose constructor is ready and whose resources are free on this host.
fn start_actor(state: &mut State, actor: ActorId, host: HostId) {
    let Some(process) = start_process(state, Role::Actor(actor), host) else {
        let error = TaskError::new(
            ErrorKind::WorkerDied,
            "the session has started too many processes: end it and start another one",
        );
        return fail_task(state, actor.constructor(), error);
    };
    if let Some(entry) = state.actors.get_mut(&actor) {
        entry.process = Some(process);
    }
    if let Some(task) = state.tasks.get_mut(&actor.constructor()) {
        task.state = TaskState::Sent(process);
    }
    // Its only frame holds the actor's resources until the process ends.
    push_frame(state, process, actor.constructor());
}
