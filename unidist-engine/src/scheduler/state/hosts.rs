//! The hosts of the session.

use crate::scheduler::limits::HostLimits;
use rustc_hash::FxHashSet;
use unidist_common::{HostId, ProcessId, TaskId};

/// A host, apart from its resources and its memory.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) cpus: usize,
    /// The address by which clients know the host.
    pub(crate) address: String,
    pub(crate) max_pool: usize,
    /// Its pool workers, oldest first.
    pub(crate) pool: Vec<ProcessId>,
    /// The number of pool workers that have not joined.
    pub(crate) starting: usize,
    /// How many pool workers in a row ended before they joined.
    pub(crate) failed_starts: usize,
    /// The number of actor processes.
    pub(crate) actors: usize,
    /// Calls bound to this host whose inputs are being copied there, or have arrived.
    pub(crate) fetching: FxHashSet<TaskId>,
    pub(crate) is_lost: bool,
    store_memory: u64,
    /// A request for memory waits: no more arguments are brought into use ahead of time.
    pub(crate) is_short_of_memory: bool,
}

/// The part of a host's memory, as a divisor, for arguments of calls that wait at busy workers.
const PREFETCH_SHARE: u64 = 4;

impl Host {
    pub(crate) fn new(limits: &HostLimits) -> Self {
        Host {
            cpus: limits.cpus,
            address: limits.address.clone(),
            max_pool: limits.max_pool,
            pool: Vec::new(),
            starting: 0,
            failed_starts: 0,
            actors: 0,
            fetching: FxHashSet::default(),
            is_lost: false,
            store_memory: limits.store_memory,
            is_short_of_memory: false,
        }
    }

    /// The most bytes that calls which wait at one busy worker may bring into use.
    pub(crate) fn max_prefetched_bytes(&self) -> u64 {
        self.store_memory / PREFETCH_SHARE / self.cpus.max(1) as u64
    }

    /// The number of actors for each CPU, in thousandths.
    pub(crate) fn actor_load(&self) -> usize {
        1000 * self.actors / self.cpus.max(1)
    }

    /// How many more calls may fetch their inputs: some do while others run.
    pub(crate) fn may_fetch(&self) -> usize {
        (2 * self.cpus.max(1)).saturating_sub(self.fetching.len())
    }
}

/// A host on which a call may run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) host: HostId,
    /// Bytes of the call's inputs that are not there.
    pub(crate) missing_bytes: u64,
}
