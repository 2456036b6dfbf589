//! Requests for memory wait on a host, or no longer.

use crate::scheduler::policy::prefetched_arguments::calls_that_keep_memory;
use crate::scheduler::state::State;
use crate::scheduler::transitions::retract::retract;
use unidist_common::HostId;

/// Calls that have not started give back the arguments that they keep in memory. A worker with a pending retraction is
/// asked when the event is repeated.
pub(crate) fn on_memory_short(state: &mut State, host: HostId) {
    state.hosts[host.place()].is_short_of_memory = true;
    let calls: Vec<_> = calls_that_keep_memory(state, host).collect();
    for of_worker in calls.chunk_by(|one, other| one.0 == other.0) {
        retract(state, of_worker[0].0, of_worker.iter().map(|(_, call)| *call).collect());
    }
}

/// Arguments may be brought into use ahead of time again.
pub(crate) fn on_memory_found(state: &mut State, host: HostId) {
    state.hosts[host.place()].is_short_of_memory = false;
}
