//! How many results workers may collect before they send them.

use crate::scheduler::policy::placement::idle_worker;
use crate::scheduler::request::RequestId;
use crate::scheduler::state::State;
use crate::scheduler::state::requests::{OpenRequest, RequestKind};
use unidist_common::ProcessId;

/// The maximum number of results that a worker may collect.
const MAX_RESULT_BATCH: usize = 16;

/// How many results a worker may collect before it sends them: more than one only if the program alone waits, for many
/// results at once, and all workers are busy.
pub(crate) fn max_result_batch(state: &State) -> usize {
    let waits_for = |(key, open): (&(ProcessId, RequestId), &OpenRequest)| match open.kind {
        RequestKind::Get if key.0 == ProcessId::CONTROLLER => open.missing,
        RequestKind::Get | RequestKind::Wait { .. } | RequestKind::Next { .. } => 0,
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
