//! Requests that list the workers and wait for a number of them.

use unidist_common::{ProcessId, RequestId};

/// An open request for the list of workers.
#[derive(Debug)]
pub(crate) struct WorkerQuery {
    pub(crate) process: ProcessId,
    pub(crate) request: RequestId,
    /// How many workers it waits for.
    pub(crate) at_least: u64,
}
