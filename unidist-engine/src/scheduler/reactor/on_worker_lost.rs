//! A process has ended: its calls are retried or fail, its references are released, and it is replaced.

use crate::scheduler::event::Role;
use crate::scheduler::reactor::restart_actor::restart_actor;
use crate::scheduler::reactor::worker_queries::{answer_worker_queries, forget_worker_queries};
use crate::scheduler::state::State;
use crate::scheduler::state::hosts::Host;
use crate::scheduler::state::resources::SchedulingClass;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::{MAX_FAILED_STARTS, Phase};
use crate::scheduler::transitions::actors::fail_actor;
use crate::scheduler::transitions::cancel::end_cancel;
use crate::scheduler::transitions::fail_task::fail_task;
use crate::scheduler::transitions::processes::start_pool_worker;
use crate::scheduler::transitions::ready::{requeue, retry};
use crate::scheduler::transitions::release::release;
use crate::scheduler::transitions::requests::close;
use crate::scheduler::transitions::run::{release_frame, release_prefetched};
use crate::scheduler::transitions::views::unpin_all;
use crate::scheduler::transitions::watches::end_watches_of;
use std::cmp::Reverse;
use std::sync::Arc;
use unidist_common::{ActorId, ErrorKind, HostId, ProcessId, TaskError, TaskId};

/// A process has exited or was killed, or could not be started.
pub(crate) fn on_worker_lost(state: &mut State, process: ProcessId, why: &str, undelivered: &[TaskId]) {
    let requests: Vec<_> = state.requests.keys().filter(|key| key.0 == process).copied().collect();
    for (process, request) in requests {
        close(state, process, request);
    }
    end_watches_of(state, process);
    let Some(mut worker) = state.workers.remove(&process) else {
        return;
    };
    let host = worker.host;
    let error = TaskError::new(ErrorKind::WorkerDied, why).on_worker(&state.process_name(process, host));
    let at_home = &mut state.hosts[host.place()];
    at_home.pool.retain(|other| *other != process);
    if worker.role != Role::Pool {
        at_home.actors -= 1;
    }
    let expected = worker.phase == Phase::Stopping;
    if worker.releases_slot {
        state.resources.drop_cpu(host);
    }
    if worker.phase == Phase::Starting && worker.role == Role::Pool {
        at_home.starting -= 1;
        at_home.failed_starts += 1;
    }
    for frame in std::mem::take(&mut worker.stack) {
        release_frame(state, frame, host);
        if worker.role != Role::Pool {
            // The one frame of an actor is the actor's: see `actor_process_lost`.
        } else if undelivered.contains(&frame.task) {
            requeue(state, frame.task);
        } else if let Some(culprit) = &worker.kill_cause {
            lose_collateral(state, frame.task, &error, culprit);
        } else {
            retry(state, frame.task, error.clone());
        }
    }
    let mut suspended: Vec<_> = worker.suspended.drain().collect();
    suspended.sort_unstable_by_key(|(task, _)| Reverse(*task));
    for (task, class) in suspended {
        state.resources.release_suspended(class, host);
        match &worker.kill_cause {
            Some(culprit) => lose_collateral(state, task, &error, culprit),
            None => retry(state, task, error.clone()),
        }
    }
    let host_is_lost = state.hosts[host.place()].is_lost;
    for prefetched in worker.prefetched.into_iter().rev() {
        release_prefetched(state, prefetched, host);
        match host_is_lost {
            false => requeue(state, prefetched.task),
            // It is unknown what ran before the host was lost, or still runs on an unreachable one.
            true => retry(state, prefetched.task, error.clone()),
        }
    }
    end_cancels_of(state, process);
    fail_bound_calls(state, process, &error);
    if let Role::Actor(actor) = worker.role {
        actor_process_lost(state, actor, process, error.clone(), expected, undelivered);
    }
    unpin_all(state, process);
    forget_worker_queries(state, process);
    for (id, count) in worker.references {
        (0..count).for_each(|_| release(state, id));
    }
    let at_home = &state.hosts[host.place()];
    let has_no_workers = at_home.pool.is_empty() && at_home.failed_starts >= MAX_FAILED_STARTS;
    state.resources.set_without_workers(host, has_no_workers);
    if at_home.failed_starts >= MAX_FAILED_STARTS {
        give_up_starting(state, &error);
    } else if worker.role == Role::Pool
        && !(expected || state.ending || at_home.is_lost)
        && lasting_workers(state, host) < at_home.cpus
    {
        start_pool_worker(state, host);
    }
    answer_worker_queries(state, None);
}

/// The number of workers of this host that are not about to exit.
fn lasting_workers(state: &State, host: HostId) -> usize {
    let stays = |process: &&ProcessId| {
        state.workers.get(process).is_some_and(|worker| matches!(worker.phase, Phase::Starting | Phase::Live))
    };
    state.hosts[host.place()].pool.iter().filter(stays).count()
}

/// No process can be started on any host: queued calls fail.
fn give_up_starting(state: &mut State, error: &TaskError) {
    let is_hopeless = |host: &Host| host.is_lost || host.failed_starts >= MAX_FAILED_STARTS;
    if state.pool().next().is_none() && state.hosts.iter().all(is_hopeless) {
        for task in state.resources.drain() {
            fail_task(state, task, error.clone());
        }
    }
}

/// The worker is gone: calls bound to it fail, unless they were sent.
fn fail_bound_calls(state: &mut State, process: ProcessId, error: &TaskError) {
    if !state.resources.is_any_bound_to(process) {
        return;
    }
    let is_for_it = |class: SchedulingClass| state.resources.bound_worker(class) == Some(process);
    let left = state.tasks.iter().filter(|(_, task)| is_for_it(task.class));
    let mut left: Vec<_> =
        left.filter(|(_, task)| !matches!(task.state, TaskState::Sent(_))).map(|(id, _)| id).collect();
    left.sort_unstable();
    let error = TaskError { kind: ErrorKind::WorkerGone, ..error.clone() };
    left.into_iter().for_each(|call| fail_task(state, call, error.clone()));
}

/// Canceling calls on a process that has ended have left it.
fn end_cancels_of(state: &mut State, process: ProcessId) {
    let of_process = state.canceling.iter().filter(|(_, canceling)| canceling.process == process);
    let mut calls: Vec<_> = of_process.map(|(id, _)| *id).collect();
    calls.sort_unstable();
    calls.into_iter().for_each(|call| end_cancel(state, process, call));
}

/// The call was lost because its worker was killed for another call: it is retried, or fails with both errors.
fn lose_collateral(state: &mut State, id: TaskId, error: &TaskError, culprit: &TaskError) {
    let Some(task) = state.tasks.get_mut(&id) else { return };
    if task.record_collateral_loss() {
        return requeue(state, id);
    }
    let message = format!(
        "its worker was killed because another call on it, `{}`, was cancelled or timed out, and did not end within \
         UNIDIST_CANCEL_GRACE",
        culprit.function
    );
    let error = TaskError { message, ..error.clone() };
    fail_task(state, id, error.because(culprit.clone()));
}

/// The process of an actor has ended: the actor is restarted or fails.
fn actor_process_lost(
    state: &mut State,
    id: ActorId,
    process: ProcessId,
    error: TaskError,
    expected: bool,
    undelivered: &[TaskId],
) {
    let Some(actor) = state.actors.get_mut(&id) else {
        return fail_task(state, id.constructor(), error); // the constructor, while the session ends
    };
    if actor.process != Some(process) {
        return;
    }
    actor.process = None;
    if !expected && restart_actor(state, id, &error, undelivered) {
        return;
    }
    fail_task(state, id.constructor(), error.clone()); // the constructor, if it has not ended
    if !expected {
        fail_actor(state, id, Arc::new(error));
    }
}
