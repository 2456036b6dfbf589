//! The status of calls and workers that clients ask for.

use crate::scheduler::state::State;
use crate::scheduler::state::hosts::Host;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::Phase;
use unidist_backend::{CallStatus, WorkerInfo};
use unidist_common::DataId;

/// The status of the call that makes this object.
pub(crate) fn call_status(state: &State, id: DataId) -> CallStatus {
    let task = state.objects.maker(id).and_then(|call| state.tasks.get(&call).map(|task| (call, task)));
    match task.map(|(call, task)| (call, task.state)) {
        None => CallStatus::Ended,
        Some((call, TaskState::Sent(process))) if !state.is_prefetched(process, call) => {
            CallStatus::Running(process)
        }
        Some(_) => CallStatus::Waiting,
    }
}

/// The workers that clients see: at most one for each slot of a host, oldest first.
pub(crate) fn live_workers(state: &State) -> Vec<WorkerInfo> {
    let of_host = |host: &Host| {
        let pool = host.pool.iter().filter_map(|process| Some((*process, state.workers.get(process)?)));
        let live = pool.filter(|(_, worker)| worker.phase == Phase::Live).take(host.cpus);
        live.map(|(process, worker)| WorkerInfo::new(process, host.address.clone(), worker.pid))
            .collect::<Vec<_>>()
    };
    state.hosts.iter().flat_map(of_host).collect()
}
