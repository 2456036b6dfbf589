//! The second layer: decisions over `&State`, which change nothing.

pub(crate) mod deadlock;
pub(crate) mod live;
pub(crate) mod memory_report;
pub(crate) mod placement;
pub(crate) mod prefetched_arguments;
pub(crate) mod process_limit;
pub(crate) mod result_batching;
pub(crate) mod status;
pub(crate) mod stealing;
pub(crate) mod unfinished;
pub(crate) mod worker_affinity;
