//! Which calls keep memory in use although they have not started.

use crate::scheduler::state::State;
use unidist_common::{HostId, ProcessId, TaskId};

/// The calls that wait at busy workers of this host with arguments in its memory, by worker.
pub(crate) fn calls_that_keep_memory(
    state: &State,
    host: HostId,
) -> impl Iterator<Item = (ProcessId, TaskId)> {
    let workers = state.hosts[host.place()].pool.iter().copied();
    let waiting = workers.filter_map(|process| Some((process, state.workers.get(&process)?)));
    let calls = waiting.flat_map(|(process, worker)| worker.retractable().map(move |call| (process, call)));
    calls.filter(|(process, call)| state.locations.keeps_memory(*process, *call))
}
