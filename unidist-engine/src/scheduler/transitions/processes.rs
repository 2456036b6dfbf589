//! Processes are started and stopped.

use crate::scheduler::event::{Action, Role};
use crate::scheduler::state::State;
use crate::scheduler::state::workers::{Phase, Worker};
use unidist_common::{HostId, ProcessId};

/// Starts a process; `None` if the session has used up its process numbers.
pub(crate) fn start_process(state: &mut State, role: Role, host: HostId) -> Option<ProcessId> {
    let process = ProcessId::new(state.next_process)?;
    state.next_process += 1;
    state.workers.insert(process, Worker::new(role, host));
    state.actions.push(Action::StartProcess { process, role, host });
    if role != Role::Pool {
        state.hosts[host.place()].actors += 1;
    }
    Some(process)
}

/// Starts a pool worker on this host.
pub(crate) fn start_pool_worker(state: &mut State, host: HostId) {
    if let Some(process) = start_process(state, Role::Pool, host) {
        let host = &mut state.hosts[host.place()];
        host.pool.push(process);
        host.starting += 1;
    }
}

/// Tells a process to finish what it runs, then exit.
pub(crate) fn stop(state: &mut State, process: ProcessId) {
    if let Some(worker) = state.workers.get_mut(&process)
        && matches!(worker.phase, Phase::Live | Phase::Draining)
    {
        worker.phase = Phase::Stopping;
        state.actions.push(Action::Stop(process));
    }
}
