//! The hosts of the session, and the loss of one.

use crate::scheduler::limits::HostLimits;
use rustc_hash::FxHashSet;
use unidist_common::{DataId, HostId, ProcessId};

/// What the scheduler knows of a host, beside its resources and its memory.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) cpus: usize,
    /// Its address, by which clients know it.
    pub(crate) address: String,
    pub(crate) max_pool: usize,
    /// The processes of its pool, oldest first.
    pub(crate) pool: Vec<ProcessId>,
    /// How many of them have not joined.
    pub(crate) starting: usize,
    /// How many in a row ended before they joined.
    pub(crate) failed_starts: usize,
    /// How many actors have their processes here.
    pub(crate) actors: usize,
    /// Calls that are to run here and whose objects are on their way, or there.
    pub(crate) fetching: FxHashSet<DataId>,
    pub(crate) is_lost: bool,
}

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
        }
    }

    /// How many actors there are for each CPU, in thousandths.
    pub(crate) fn actor_load(&self) -> usize {
        1000 * self.actors / self.cpus.max(1)
    }

    /// How many more calls may have their objects fetched: some are under way while others run.
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
