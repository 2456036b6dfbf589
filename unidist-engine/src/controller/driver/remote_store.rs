//! The controller's view of the memory of a remote host. The controller allocates its blocks; the host's monitor writes
//! objects to its spill file on request.

use crate::network::HostId;
use crate::protocol::monitor::{SpillFailure, ToMonitor};
use crate::scheduler::Scheduler;
use crate::store::arena::Arena;
use crate::store::segment::HEADER;
use crate::store::spill::size_in_file;
use crate::store::{Block, StoredObject};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use unidist_backend::StoreUsage;
use unidist_common::DataId;

/// The blocks of a host's segment and of its spill file.
#[derive(Debug)]
pub(super) struct RemoteStore {
    arena: Arena,
    spilled: u64,
    spill_limit: u64,
    /// Objects that the monitor is writing to the spill file.
    spilling: FxHashMap<DataId, Arc<StoredObject>>,
    /// Whether all messages that may free blocks were read, for the first waiting request.
    frees_read: FreesRead,
    /// Objects used before this moment were tried as victims, for the first waiting request.
    after: u64,
    /// The system's error of the last spill.
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FreesRead {
    No,
    Asked,
    Yes,
}

/// The result of an allocation that may spill objects.
#[derive(Debug, PartialEq)]
pub(super) enum Allocation {
    /// The blocks.
    Ready(Vec<Block>),
    /// The monitor is spilling objects: try again after its answer.
    Spilling,
    /// There is no space and no object to spill; with the system's error if there was one.
    Full(Option<String>),
}

impl RemoteStore {
    /// A store with a segment of this length and at most `spill_limit` bytes on disk.
    pub(super) fn new(segment: u64, spill_limit: u64) -> Self {
        RemoteStore {
            arena: Arena::new(HEADER, segment),
            spilled: 0,
            spill_limit,
            spilling: FxHashMap::default(),
            frees_read: FreesRead::No,
            after: 0,
            error: None,
        }
    }

    /// Blocks of these lengths, if all of them are free now.
    pub(super) fn allocate(&mut self, lens: &[u64]) -> Option<Vec<Block>> {
        let mut blocks = Vec::with_capacity(lens.len());
        for len in lens {
            match self.arena.allocate(*len) {
                Some(block) => blocks.push(block),
                None => {
                    blocks.into_iter().for_each(|block| self.free(block));
                    return None;
                }
            }
        }
        Some(blocks)
    }

    /// Blocks of these lengths, spilling other objects if necessary; `orders` are for the monitor. It serves one
    /// request at a time, until [`finish_request`](RemoteStore::finish_request).
    pub(super) fn allocate_spilling(
        &mut self,
        host: HostId,
        lens: &[u64],
        scheduler: &Scheduler,
        orders: &mut Vec<ToMonitor>,
    ) -> Allocation {
        if let Some(blocks) = self.allocate(lens) {
            return Allocation::Ready(blocks);
        }
        if !self.spilling.is_empty() || self.frees_read == FreesRead::Asked {
            return Allocation::Spilling;
        }
        if self.frees_read == FreesRead::No {
            self.frees_read = FreesRead::Asked;
            orders.push(ToMonitor::Flush);
            return Allocation::Spilling;
        }
        if self.error.is_some() {
            return Allocation::Full(self.error.take());
        }
        let wanted: u64 = lens.iter().fold(0, |sum, len| sum.saturating_add(*len));
        let (_, idle) = scheduler.resident_bytes(host);
        let in_use = self.arena.used_bytes().saturating_sub(idle);
        if self.spill_limit == 0 || wanted > self.arena.capacity().saturating_sub(in_use) {
            return Allocation::Full(None); // not even if all idle objects are spilled
        }
        let mut leaving = 0;
        while leaving < wanted
            && let Some((moment, id, object)) = scheduler.next_victim(host, self.after)
        {
            self.after = moment;
            let blocks: Vec<_> = object.blocks().collect();
            leaving += blocks.iter().map(|block| block.size()).sum::<u64>();
            orders.push(ToMonitor::Spill { id, blocks });
            self.spilling.insert(id, object);
        }
        if self.spilling.is_empty() { Allocation::Full(None) } else { Allocation::Spilling }
    }

    /// The first waiting request was granted or has failed: the next one starts anew.
    pub(super) fn finish_request(&mut self) {
        (self.after, self.error) = (0, None);
        if self.frees_read == FreesRead::Yes {
            self.frees_read = FreesRead::No;
        }
    }

    /// The monitor has sent everything that may free blocks. False if it was not asked.
    pub(super) fn frees_read(&mut self) -> bool {
        std::mem::replace(&mut self.frees_read, FreesRead::Yes) == FreesRead::Asked
    }

    /// The monitor has spilled an object, which is now where the result says, or could not. An error if it was not
    /// asked to.
    pub(super) fn spilled(
        &mut self,
        id: DataId,
        result: Result<Vec<Block>, SpillFailure>,
    ) -> Result<Option<StoredObject>, &'static str> {
        let object = self.spilling.remove(&id).ok_or("it spilled an object without a request")?;
        match result {
            Ok(blocks) => {
                let moved = object.spilled_to(&blocks).ok_or("the spilled parts do not match the object")?;
                self.spilled += blocks.iter().map(|block| size_in_file(*block)).sum::<u64>();
                Ok(Some(moved))
            }
            Err(SpillFailure::Full) => Ok(None), // a smaller object may fit
            Err(SpillFailure::System(error)) => {
                self.error = Some(error);
                Ok(None)
            }
        }
    }

    pub(super) fn free(&mut self, block: Block) {
        if !self.arena.free(block) {
            log::error!("a block of a remote object store was freed twice: {block:?}");
        }
    }

    /// Counts a freed block of the spill file.
    pub(super) fn count_freed_on_disk(&mut self, block: Block) {
        self.spilled = self.spilled.saturating_sub(size_in_file(block));
    }

    pub(super) fn usage(&self) -> StoreUsage {
        StoreUsage::in_memory(self.arena.used_bytes(), self.arena.capacity())
            .on_disk(self.spilled, self.spill_limit)
    }
}
