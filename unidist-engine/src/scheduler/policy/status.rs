//! The status of calls and workers that clients ask for.

use crate::scheduler::state::State;
use crate::scheduler::state::hosts::Host;
use crate::scheduler::state::tasks::TaskState;
use crate::scheduler::state::workers::Phase;
use unidist_backend::{CallStatus, WorkerInfo};
use unidist_common::{DataId, ProcessId};

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
    let is_live =
        |process: &ProcessId| state.workers.get(process).is_some_and(|worker| worker.phase == Phase::Live);
    let of_host = |host: &Host| {
        let live = host.pool.iter().copied().filter(is_live).take(host.cpus);
        live.map(|process| WorkerInfo::new(process, host.address.clone())).collect::<Vec<_>>()
    };
    state.hosts.iter().flat_map(of_host).collect()
}
