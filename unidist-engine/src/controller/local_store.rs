//! The memory of this host: blocks of the segment, and the spill file.
//!
//! The event loop spills objects itself: an allocation that needs space waits for the disk, and so does everything
//! else. The disk's cache takes most writes at the speed of memory.

use crate::network::HostId;
use crate::scheduler::{Action, Event, Scheduler};
use crate::store::arena::Arena;
use crate::store::segment::Segment;
use crate::store::spill::{SpillError, SpillFile, SpillSpace};
use crate::store::{Blob, Block, Place, StoredObject};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use unidist_backend::{StoreUsage, WritableBuffer};
use unidist_common::{HeldBy, ProcessId, StoreFull, StoreHolder};

/// The blocks of the segment, shared by the threads of the controller.
#[derive(Clone, Debug)]
pub(crate) struct SharedArena(Arc<Mutex<Arena>>);

impl SharedArena {
    pub(crate) fn new(arena: Arena) -> Self {
        SharedArena(Arc::new(Mutex::new(arena)))
    }

    /// A block, if there is free space now.
    pub(crate) fn allocate(&self, len: u64) -> Option<Block> {
        self.lock().allocate(len)
    }

    pub(crate) fn free(&self, block: Block) {
        if !self.lock().free(block) {
            log::error!("a block of the object store was freed twice: {block:?}");
        }
    }

    fn usage(&self) -> (u64, u64) {
        let arena = self.lock();
        (arena.used_bytes(), arena.capacity())
    }

    fn lock(&self) -> MutexGuard<'_, Arena> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's part of the store.
#[derive(Debug)]
pub(crate) struct LocalStore {
    segment: Arc<Segment>,
    blocks: SharedArena,
    /// None where spilling is disabled.
    spill: Option<(SpillSpace, Arc<SpillFile>)>,
}

impl LocalStore {
    pub(crate) fn new(
        segment: Arc<Segment>,
        blocks: SharedArena,
        spill: Option<(SpillSpace, Arc<SpillFile>)>,
    ) -> Self {
        LocalStore { segment, blocks, spill }
    }

    /// A block, if there is free space now.
    pub(crate) fn allocate(&self, len: u64) -> Option<Block> {
        self.blocks.allocate(len)
    }

    /// Blocks of these lengths in memory, spilling other objects if necessary: all or none. The error is that of the
    /// system, if it reported one.
    pub(crate) fn allocate_spilling(
        &mut self,
        lens: &[u64],
        scheduler: &mut Scheduler,
    ) -> Result<Vec<Block>, Option<String>> {
        let mut blocks = Vec::with_capacity(lens.len());
        for len in lens {
            match self.allocate_or_spill(*len, scheduler) {
                Ok(block) => blocks.push(block),
                Err(why) => {
                    blocks.into_iter().for_each(|block| self.free(block));
                    return Err(why);
                }
            }
        }
        Ok(blocks)
    }

    /// Blocks of these lengths on disk: all or none. The error is that of the system, if it reported one.
    pub(crate) fn reserve_on_disk(&mut self, lens: &[u64]) -> Result<Vec<Block>, Option<String>> {
        let Some((spill, _)) = &mut self.spill else { return Err(None) };
        spill.reserve_all(lens).map_err(|error| match error {
            SpillError::Full => None,
            SpillError::System(error) => Some(error.to_string()),
        })
    }

    fn allocate_or_spill(&mut self, len: u64, scheduler: &mut Scheduler) -> Result<Block, Option<String>> {
        let mut after = 0;
        loop {
            if let Some(block) = self.blocks.allocate(len) {
                return Ok(block);
            }
            let (used, capacity) = self.blocks.usage();
            let (_, idle) = scheduler.resident_bytes(HostId::CONTROLLER);
            if len > capacity.saturating_sub(used.saturating_sub(idle)) {
                return Err(None); // not even if all idle objects are spilled
            }
            let Some((moment, id, object)) = scheduler.next_victim(HostId::CONTROLLER, after) else {
                return Err(None);
            };
            after = moment;
            match self.spill_object(&object) {
                Ok((object, moved)) => {
                    let mut actions = Vec::new();
                    let host = HostId::CONTROLLER;
                    scheduler.handle(Event::Spilled { host, id, object, moved }, &mut actions);
                    actions.into_iter().for_each(|action| match action {
                        Action::Free { block, .. } => self.free(block),
                        Action::FreeSpilled { block, .. } => self.free_spilled(block),
                        other => log::error!("spilling an object led to an unexpected action: {other:?}"),
                    });
                }
                Err(SpillError::Full) => {} // a smaller one may fit
                Err(SpillError::System(error)) => return Err(Some(error.to_string())),
            }
        }
    }

    /// Writes the in-memory parts of an object to the spill file. The object with its new parts, and their blocks; on an
    /// error nothing has changed.
    fn spill_object(&mut self, object: &StoredObject) -> Result<(StoredObject, Vec<Block>), SpillError> {
        let Some((spill, _)) = &mut self.spill else { return Err(SpillError::Full) };
        // The object is not in use, so its bytes can be read as they are.
        let written = spill.write_all(&self.segment, object.blocks())?;
        let object = object.spilled_to(&written).ok_or(SpillError::Full)?;
        Ok((object, written))
    }

    /// The bytes of a part of an object, which the caller keeps from moving.
    pub(crate) fn read(&self, part: &Blob) -> Result<Bytes, String> {
        let bytes = match (part, &self.spill) {
            (Blob::Inline(bytes), _) => Some(bytes.clone()),
            (Blob::Shared(block), _) => self.segment.view(*block, ()),
            (Blob::Spilled(block), Some((_, file))) => {
                let view = file.view(*block, ());
                view.map_err(|error| format!("it cannot be read from the spill file: {error}"))?
            }
            (Blob::Spilled(_), None) => None,
        };
        bytes.ok_or_else(|| "its block is outside the object store".to_owned())
    }

    /// The bytes of a new block, for writing.
    pub(crate) fn writable(&self, place: Place) -> Result<Box<dyn WritableBuffer>, String> {
        let out_of_bounds = || "a block is out of bounds".to_owned();
        match (place, &self.spill) {
            (Place::Memory(block), _) => {
                Ok(Box::new(self.segment.writable(block).ok_or_else(out_of_bounds)?))
            }
            (Place::Disk(block), Some((_, file))) => {
                let writable = file.writable(block).map_err(|error| error.to_string())?;
                Ok(Box::new(writable.ok_or_else(out_of_bounds)?))
            }
            (Place::Disk(_), None) => Err(out_of_bounds()),
        }
    }

    pub(crate) fn free(&self, block: Block) {
        self.blocks.free(block);
    }

    pub(crate) fn free_spilled(&mut self, block: Block) {
        if !self.spill.as_mut().is_some_and(|(spill, _)| spill.free(block)) {
            log::error!("a block of the spill file was freed twice: {block:?}");
        }
    }

    pub(crate) fn usage(&self) -> StoreUsage {
        let (used, limit) = self.blocks.usage();
        let (spilled, spill_limit) =
            self.spill.as_ref().map_or((0, 0), |(spill, _)| (spill.used(), spill.limit()));
        StoreUsage::in_memory(used, limit).on_disk(spilled, spill_limit)
    }
}

#[cfg(test)]
impl LocalStore {
    /// Moves a block to the spill file.
    pub(super) fn spill_for_tests(&mut self, block: Block) -> Block {
        let (spill, _) = self.spill.as_mut().unwrap();
        let moved = spill.write_all(&self.segment, std::iter::once(block)).unwrap();
        self.free(block);
        moved[0]
    }
}

/// The error of a full store, with a list of what holds its memory.
pub(super) fn store_full_error(
    host: HostId,
    usage: StoreUsage,
    requested: u64,
    scheduler: &Scheduler,
    unsealed: impl Iterator<Item = (ProcessId, Block)>,
    spill_error: Option<String>,
) -> StoreFull {
    let mut holders = scheduler.memory_holders(host);
    let mut known = scheduler.resident_bytes(host).0;
    let mut written: std::collections::BTreeMap<_, (u64, u64)> = Default::default();
    for (process, block) in unsealed {
        let (sum, count) = written.entry(process).or_default();
        (*sum, *count) = (*sum + block.size(), *count + 1);
        known += block.size();
    }
    let own = usage.used.saturating_sub(known);
    if own > 0 {
        written.insert(ProcessId::CONTROLLER, (own, 1));
    }
    holders.extend(
        written
            .into_iter()
            .map(|(process, (bytes, count))| StoreHolder::new(HeldBy::Writing(process), bytes, 0, count)),
    );
    let mut error = StoreFull::new(requested, usage.used, usage.limit);
    (error.spilled, error.spill_limit, error.spill_error) = (usage.spilled, usage.spill_limit, spill_error);
    error.held_by(holders)
}
