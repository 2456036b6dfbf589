//! The worker processes of the session.

use crate::session;
use std::time::Duration;
use unidist_backend::WorkerInfo;
use unidist_common::{ProcessId, Result};

/// The processes that run tasks now, ordered by host and age.
///
/// There is one for each CPU slot, and temporarily more while tasks wait for other tasks. A worker that dies is
/// replaced by a new one with a new id. (`pyseq` runs everything in this process; its workers differ in name only.)
///
/// ```no_run
/// use unidist_core::remote_traits::*;
/// use unidist_core::{current_worker, get, workers};
///
/// # fn main() -> unidist_core::Result<()> {
/// let first = workers()?[0].clone();
/// let there = current_worker.options().on_worker(first.id).remote();
/// assert_eq!(get(there)?, Some(first.id));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// There is no session.
pub fn workers() -> Result<Vec<WorkerInfo>> {
    session::current("workers")?.workers(0, None)
}

/// Waits until there are `count` workers, no more are starting, or the time-out expires, and returns the workers.
///
/// # Errors
///
/// There is no session.
pub fn wait_for_workers(count: usize, timeout: Option<Duration>) -> Result<Vec<WorkerInfo>> {
    session::current("wait_for_workers")?.workers(count, timeout)
}

/// The worker that this code runs on, one of [`workers`]; `None` in the program itself.
pub fn current_worker() -> Option<ProcessId> {
    session::peek()?.current_worker()
}

/// Ends a worker once its running calls have ended, and removes its CPU slot permanently: it is not replaced. Returns
/// whether the worker existed. Calls pinned to this worker that have not started fail.
///
/// # Errors
///
/// There is no session, or no other worker would be left.
pub fn end_worker(worker: ProcessId) -> Result<bool> {
    session::current("end_worker")?.end_worker(worker)
}
