//! Workers that a client ends: they finish what they run, and their slot goes with them.

use crate::scheduler::event::{Action, Role};
use crate::scheduler::policy::status::live_workers;
use crate::scheduler::request::{Reply, RequestId};
use crate::scheduler::state::State;
use crate::scheduler::state::workers::Phase;
use crate::scheduler::transitions::processes::stop;
use crate::scheduler::transitions::retract::retract;
use unidist_common::{Error, ProcessId};

/// Drains a worker: it finishes what it runs, then exits, and its slot is removed.
pub(crate) fn on_end_worker(state: &mut State, process: ProcessId, request: RequestId, worker: ProcessId) {
    let known = state.workers.get(&worker).filter(|known| known.role == Role::Pool);
    let live = known.filter(|known| known.phase == Phase::Live).map(|known| known.host);
    let reply = match live {
        None => Reply::Count(0),
        Some(_) if live_workers(state).len() <= 1 => Reply::Failed(Error::InvalidArgument {
            call: "end_worker".to_owned(),
            message: format!(
                "{worker} is the last worker and cannot be ended: to end the session, use `shutdown`"
            ),
        }),
        Some(host) => {
            let at_home = &mut state.hosts[host.place()];
            let has_slot = at_home.cpus > 0;
            at_home.cpus -= usize::from(has_slot);
            state.actions.push(Action::SetCpus { host, cpus: at_home.cpus });
            if let Some(worker) = state.workers.get_mut(&worker) {
                worker.phase = Phase::Draining;
                worker.releases_slot = has_slot;
            }
            state.draining.push(worker);
            Reply::Count(1)
        }
    };
    state.actions.push(Action::Reply { process, request, reply });
}

/// Stops draining workers that have nothing left to run. Calls prefetched at the others are retracted.
pub(crate) fn stop_drained(state: &mut State) {
    if state.draining.is_empty() {
        return; // nearly always
    }
    for process in std::mem::take(&mut state.draining) {
        let Some(worker) = state.workers.get(&process).filter(|worker| worker.phase == Phase::Draining)
        else {
            continue; // it has exited or was killed
        };
        let is_done = worker.stack.is_empty() && worker.prefetched.is_empty() && worker.suspended.is_empty();
        if is_done && worker.retracting.is_none() {
            release_slot(state, process);
            stop(state, process);
            continue;
        }
        let prefetched = worker.retractable().collect();
        retract(state, process, prefetched);
        state.draining.push(process);
    }
}

fn release_slot(state: &mut State, process: ProcessId) {
    if let Some(worker) = state.workers.get_mut(&process)
        && std::mem::take(&mut worker.releases_slot)
    {
        state.resources.drop_cpu(worker.host);
    }
}
