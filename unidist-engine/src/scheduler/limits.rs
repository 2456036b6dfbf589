//! The resources that a session starts with.

use std::collections::BTreeMap;
use std::time::Duration;

/// The limits of a session.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The hosts, the controller's first.
    pub(crate) hosts: Vec<HostLimits>,
    /// How long a canceled call may stay on its worker before the worker is killed.
    pub(crate) cancel_grace: Duration,
}

/// The resources of a host.
#[derive(Clone, Debug)]
pub(crate) struct HostLimits {
    /// CPU slots: how many tasks run at once.
    pub(crate) cpus: usize,
    /// Custom resources.
    pub(crate) resources: BTreeMap<String, f64>,
    /// The address by which clients know the host.
    pub(crate) address: String,
    /// The limit of the memory of its object store in bytes.
    pub(crate) store_memory: u64,
    /// The maximum number of worker processes, blocked ones included. Actors do not count.
    pub(crate) max_pool: usize,
}
