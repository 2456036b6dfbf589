//! The dispatch of ready calls to workers.
//!
//! Calls are dispatched in the order in which they became ready. A call that needs more CPUs than are free holds back
//! later calls that need any, or it would starve; one that lacks a custom resource holds back only its own class.

use crate::scheduler::event::Role;
use crate::scheduler::policy::stealing::tasks_to_retract;
use crate::scheduler::reactor::drain::stop_drained;
use crate::scheduler::reactor::place::{Placement, Reason, place};
use crate::scheduler::reactor::search_deadlocks::{on_lack_of_processes, on_starved};
use crate::scheduler::state::State;
use crate::scheduler::state::fair_share::GroupPlace;
use crate::scheduler::state::resources::SchedulingClass;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::Worker;
use crate::scheduler::transitions::notify::notify_waiters;
use crate::scheduler::transitions::processes::stop;
use crate::scheduler::transitions::retract::retract;
use rustc_hash::FxHashMap;
use unidist_common::TaskId;

/// How many calls are deferred because their inputs are on other hosts and enough are being fetched already.
const MAX_DEFERRED: usize = 64;

/// Dispatches ready calls until the rest of the queue is blocked.
pub(crate) fn dispatch(state: &mut State) {
    if state.ending {
        return;
    }
    stop_drained(state);
    admit_groups(state);
    let mut reserved = state.resources.reserved();
    let mut starved: Vec<SchedulingClass> = Vec::new();
    let mut lacks_process = false;
    let mut deferred: Vec<(SchedulingClass, TaskId)> = Vec::new();
    loop {
        let (resources, tasks) = (&mut state.resources, &state.tasks);
        let front = resources.next_ready(&reserved, |task| {
            tasks.get(&task).is_some_and(|task| task.state == TaskState::Ready)
        });
        let Some((class, task)) = front else { break };
        match place(state, class, task, &mut reserved) {
            Placement::Progress => {}
            Placement::Blocked(Reason::WorkerBusy) => reserved.hold(class),
            Placement::Blocked(Reason::FetchLimit) if deferred.len() < MAX_DEFERRED => {
                state.resources.pop(class);
                deferred.push((class, task));
            }
            Placement::Blocked(Reason::FetchLimit) => reserved.hold(class),
            Placement::Blocked(Reason::NoResource) => {
                reserved.hold(class);
                starved.push(class);
            }
            Placement::Blocked(reason @ (Reason::NoWorker | Reason::NoProcess)) => {
                reserved.hold(class);
                state.resources.hold_cpus_for(class, &mut reserved);
                lacks_process |= matches!(reason, Reason::NoProcess);
            }
        }
    }
    for (class, task) in deferred.into_iter().rev() {
        state.resources.push_front(class, task);
    }
    if !starved.is_empty() {
        notify_waiters(state); // of calls that failed above
        on_starved(state, &starved);
    }
    if lacks_process {
        on_lack_of_processes(state);
    }
    for (process, tasks) in tasks_to_retract(state) {
        retract(state, process, tasks);
    }
    stop_spare_workers(state);
}

/// Groups that had no ready calls and have some now join the fair share.
fn admit_groups(state: &mut State) {
    let tasks = &state.tasks;
    let mut newcomers =
        state.resources.newcomers(|task| tasks.get(&task).is_some_and(|task| task.state == TaskState::Ready));
    if newcomers.is_empty() {
        return;
    }
    let mut unstarted: FxHashMap<GroupPlace, u64> = FxHashMap::default();
    for (_, worker) in state.pool().filter_map(|process| Some((process, state.workers.get(&process)?))) {
        let classes =
            worker.prefetched.iter().filter_map(|prefetched| Some(state.tasks.get(&prefetched.task)?.class));
        classes.for_each(|class| *unstarted.entry(state.resources.group(class)).or_default() += 1);
    }
    newcomers.retain(|group| !unstarted.contains_key(group));
    if newcomers.is_empty() {
        return;
    }
    state.resources.groups().admit(&newcomers, &unstarted);
    let processes: Vec<_> = state.pool().collect();
    for process in processes {
        let tasks = state.workers.get(&process).map(|worker| worker.retractable().collect());
        retract(state, process, tasks.unwrap_or_default());
    }
}

/// Stops spare workers that a deep recursion has left idle.
fn stop_spare_workers(state: &mut State) {
    for at in 0..state.hosts.len() {
        let host = &state.hosts[at];
        if host.pool.len() <= host.cpus {
            continue;
        }
        let is_spare = |worker: &Worker| worker.role == Role::Pool && worker.is_idle();
        let idle =
            host.pool.iter().copied().filter(|process| state.workers.get(process).is_some_and(is_spare));
        let spare: Vec<_> = idle.skip(2 * host.cpus).collect();
        for process in spare {
            state.hosts[at].pool.retain(|other| *other != process);
            stop(state, process);
        }
    }
}
