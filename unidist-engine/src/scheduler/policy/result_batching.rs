//! How many results workers may collect before they send them.

use crate::scheduler::policy::placement::idle_worker;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::requests::{OpenRequest, RequestKind};
use unidist_common::ProcessId;

/// The maximum number of results that a worker may collect.
const MAX_RESULT_BATCH: usize = 16;

/// How many results each worker may let lie before the engine hears of them: some, if nobody waits but the program,
/// for many at once, and no worker has nothing to do.
pub(crate) fn max_result_batch(state: &State) -> usize {
    let waits_for = |(key, open): (&(ProcessId, RequestId), &OpenRequest)| match open.kind {
        RequestKind::Get if key.0 == ProcessId::CONTROLLER => open.missing,
        RequestKind::Get | RequestKind::Wait { .. } => 0,
    };
    let pool = state.pool().count().max(1);
    let wanted = match state.requests.len() {
        1..=4 => state.requests.iter().map(waits_for).min().unwrap_or(0),
        _ => 0,
    };
    if wanted == 0 || idle_worker(state).is_some() {
        return 1;
    }
    (wanted / pool).clamp(1, MAX_RESULT_BATCH)
}
