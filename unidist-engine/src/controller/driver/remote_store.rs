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
    /// The number of the last order to reserve blocks on disk.
    last_ticket: u64,
    /// The state of that order, if it is for the first waiting request.
    reserving: Option<Reserving>,
}

/// The state of an order to reserve blocks.
#[derive(Debug)]
enum Reserving {
    /// For blocks of these lengths.
    Asked(Vec<u64>),
    Ended(Result<Vec<Block>, SpillFailure>),
}

/// The result of a reservation of blocks on disk.
#[derive(Debug, PartialEq)]
pub(super) enum Reservation {
    /// The blocks.
    Made(Vec<Block>),
    /// The monitor was asked: try again after its answer.
    Asked,
    /// There is no space; with the system's error if there was one.
    Failed(Option<String>),
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
            last_ticket: 0,
            reserving: None,
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

    /// Blocks of these lengths on disk, for the first waiting request; `orders` are for the monitor.
    pub(super) fn reserve_on_disk(&mut self, lens: &[u64], orders: &mut Vec<ToMonitor>) -> Reservation {
        match self.reserving.take() {
            None if self.spill_limit == 0 => Reservation::Failed(None),
            None => {
                self.last_ticket += 1;
                self.reserving = Some(Reserving::Asked(lens.to_vec()));
                orders.push(ToMonitor::Reserve { ticket: self.last_ticket, lens: lens.to_vec() });
                Reservation::Asked
            }
            Some(Reserving::Asked(lens)) => {
                self.reserving = Some(Reserving::Asked(lens));
                Reservation::Asked
            }
            Some(Reserving::Ended(Ok(blocks))) => Reservation::Made(blocks),
            Some(Reserving::Ended(Err(SpillFailure::Full))) => Reservation::Failed(None),
            Some(Reserving::Ended(Err(SpillFailure::System(error)))) => Reservation::Failed(Some(error)),
        }
    }

    /// The monitor has reserved blocks, or could not. The blocks that no request waits for any more; an error if they are
    /// not what it was asked for.
    pub(super) fn reserved(
        &mut self,
        ticket: u64,
        result: Result<Vec<Block>, SpillFailure>,
    ) -> Result<Vec<Block>, &'static str> {
        if ticket == 0 || ticket > self.last_ticket {
            return Err("it reserved space without a request");
        }
        let blocks = result.as_deref().unwrap_or_default();
        self.spilled += blocks.iter().map(|block| size_in_file(*block)).sum::<u64>();
        match &self.reserving {
            Some(Reserving::Asked(lens)) if ticket == self.last_ticket => {
                if result.is_ok() && !blocks.iter().map(|block| block.len).eq(lens.iter().copied()) {
                    return Err("the reserved blocks do not match the request");
                }
                self.reserving = Some(Reserving::Ended(result));
                Ok(Vec::new())
            }
            _ => Ok(result.unwrap_or_default()),
        }
    }

    /// The first waiting request was granted or has failed: the next one starts anew. The blocks on disk that were
    /// reserved for it and that it does not need.
    pub(super) fn finish_request(&mut self) -> Vec<Block> {
        (self.after, self.error) = (0, None);
        if self.frees_read == FreesRead::Yes {
            self.frees_read = FreesRead::No;
        }
        match self.reserving.take() {
            Some(Reserving::Ended(Ok(blocks))) => blocks,
            _ => Vec::new(),
        }
    }

    /// The monitor has sent everything that may free blocks. False if it was not asked.
    pub(super) fn frees_read(&mut self) -> bool {
        std::mem::replace(&mut self.frees_read, FreesRead::Yes) == FreesRead::Asked
    }

    /// The monitor has spilled an object, or could not. The object with its new parts, and their blocks; an error if it
    /// was not asked to.
    pub(super) fn spilled(
        &mut self,
        id: DataId,
        result: Result<Vec<Block>, SpillFailure>,
    ) -> Result<Option<(StoredObject, Vec<Block>)>, &'static str> {
        let object = self.spilling.remove(&id).ok_or("it spilled an object without a request")?;
        match result {
            Ok(blocks) => {
                let object = object.spilled_to(&blocks).ok_or("the spilled parts do not match the object")?;
                self.spilled += blocks.iter().map(|block| size_in_file(*block)).sum::<u64>();
                Ok(Some((object, blocks)))
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
