//! The memory of another host, as the controller has it: it decides which block is whose; the host's monitor writes to
//! its spill file what it is told to.

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
    /// Objects on their way to the spill file.
    spilling: FxHashMap<DataId, Arc<StoredObject>>,
    /// Whether everything was read that may free something, for who waits first.
    looked: Looked,
    /// Victims up to this moment were tried, for who waits first.
    after: u64,
    /// What the system said when an object was to be spilled.
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    No,
    Asked,
    Yes,
}

/// What came of making room.
#[derive(Debug, PartialEq)]
pub(super) enum Room {
    /// These blocks.
    Made(Vec<Block>),
    /// The monitor is at it: try again when it has answered.
    Later,
    /// There is none and there will be none; what the system said is the reason, if it said something.
    None(Option<String>),
}

impl RemoteStore {
    /// The store over a segment of this length and a spill file of so many bytes at most.
    pub(super) fn new(segment: u64, spill_limit: u64) -> Self {
        RemoteStore {
            arena: Arena::new(HEADER, segment),
            spilled: 0,
            spill_limit,
            spilling: FxHashMap::default(),
            looked: Looked::No,
            after: 0,
            error: None,
        }
    }

    /// SharedArena of these lengths, if all of them are there now.
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

    /// The same, for which others are spilled if they have to; `orders` are for the monitor. It is called for one who
    /// waits until that one is done: see [`first_is_done`](RemoteStore::first_is_done).
    pub(super) fn make_room(
        &mut self,
        host: HostId,
        lens: &[u64],
        scheduler: &Scheduler,
        orders: &mut Vec<ToMonitor>,
    ) -> Room {
        if let Some(blocks) = self.allocate(lens) {
            return Room::Made(blocks);
        }
        if !self.spilling.is_empty() || self.looked == Looked::Asked {
            return Room::Later;
        }
        if self.looked == Looked::No {
            self.looked = Looked::Asked;
            orders.push(ToMonitor::Look);
            return Room::Later;
        }
        if self.error.is_some() {
            return Room::None(self.error.take());
        }
        let wanted: u64 = lens.iter().fold(0, |sum, len| sum.saturating_add(*len));
        let (_, idle) = scheduler.resident_bytes(host);
        let in_use = self.arena.used_bytes().saturating_sub(idle);
        if self.spill_limit == 0 || wanted > self.arena.capacity().saturating_sub(in_use) {
            return Room::None(None); // not even with all of them gone
        }
        let mut leaving = 0;
        while leaving < wanted
            && let Some((moment, id, object)) = scheduler.next_victim(host, self.after)
        {
            self.after = moment;
            let blocks: Vec<_> = object.blocks().collect();
            leaving += blocks.iter().map(|block| block.size()).sum::<u64>();
            orders.push(ToMonitor::Spill(id, blocks));
            self.spilling.insert(id, object);
        }
        if self.spilling.is_empty() { Room::None(None) } else { Room::Later }
    }

    /// The first of those that wait has what it wants, or gave up: the next one begins anew.
    pub(super) fn first_is_done(&mut self) {
        (self.after, self.error) = (0, None);
        if self.looked == Looked::Yes {
            self.looked = Looked::No;
        }
    }

    /// The monitor has read everything that may free something. False if nobody asked.
    pub(super) fn looked(&mut self) -> bool {
        std::mem::replace(&mut self.looked, Looked::Yes) == Looked::Asked
    }

    /// The monitor has written an object to disk, which is there now as returned, or could not. The error says that
    /// this was no answer to what it was told.
    pub(super) fn spilled(
        &mut self,
        id: DataId,
        result: Result<Vec<Block>, SpillFailure>,
    ) -> Result<Option<StoredObject>, &'static str> {
        let object = self.spilling.remove(&id).ok_or("it spilled what it was not told to")?;
        match result {
            Ok(blocks) => {
                let moved = object.spilled_to(&blocks).ok_or("it spilled something else")?;
                self.spilled += blocks.iter().map(|block| size_in_file(*block)).sum::<u64>();
                Ok(Some(moved))
            }
            Err(SpillFailure::Full) => Ok(None), // a smaller one may fit
            Err(SpillFailure::System(error)) => {
                self.error = Some(error);
                Ok(None)
            }
        }
    }

    pub(super) fn free(&mut self, block: Block) {
        if !self.arena.free(block) {
            log::error!("a block of another host's object store was freed twice: {block:?}");
        }
    }

    /// A block of the spill file is free.
    pub(super) fn note_freed_on_disk(&mut self, block: Block) {
        self.spilled = self.spilled.saturating_sub(size_in_file(block));
    }

    pub(super) fn usage(&self) -> StoreUsage {
        StoreUsage::in_memory(self.arena.used_bytes(), self.arena.capacity())
            .on_disk(self.spilled, self.spill_limit)
    }
}
