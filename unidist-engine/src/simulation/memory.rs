//! The simulated memory: blocks that exist, in memory or on disk, and views of them.

use crate::store::{Block, StoredObject};
use std::collections::BTreeMap;

/// Every block has a number of its own, so one that is read after it was freed is noticed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    last: u64,
    /// The blocks that are not free, with the number of their views.
    blocks: BTreeMap<u64, u32>,
}

impl Memory {
    pub(super) fn allocate(&mut self) -> Block {
        self.last += 1;
        self.blocks.insert(self.last, 0);
        Block { offset: self.last, len: 1 }
    }

    /// A block whose announcement was lost with its process.
    pub(super) fn abandon(&mut self, block: Block) {
        self.blocks.remove(&block.offset);
    }

    pub(super) fn free(&mut self, block: Block, broken: impl FnOnce(String)) {
        match self.blocks.remove(&block.offset) {
            None => broken(format!("block {} is freed twice", block.offset)),
            Some(0) => {}
            Some(views) => broken(format!("block {} is freed with {views} views", block.offset)),
        }
    }

    /// One more view of this object; its blocks.
    pub(super) fn view(&mut self, object: &StoredObject, mut broken: impl FnMut(String)) -> Vec<u64> {
        let blocks = object.blocks().chain(object.spilled()).map(|block| block.offset);
        blocks
            .inspect(|block| match self.blocks.get_mut(block) {
                Some(views) => *views += 1,
                None => broken(format!("block {block} is read after it was freed")),
            })
            .collect()
    }

    pub(super) fn end_view(&mut self, blocks: &[u64]) {
        for block in blocks {
            if let Some(views) = self.blocks.get_mut(block) {
                *views -= 1;
            }
        }
    }

    /// A block that is not free, if there is one.
    pub(super) fn first(&self) -> Option<u64> {
        self.blocks.keys().next().copied()
    }
}
