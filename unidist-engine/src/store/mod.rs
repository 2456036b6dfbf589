//! The object store: one segment of shared memory per host, mapped by each of its processes.
//!
//! - [`arena`] decides which range is whose; it lives in the controller.
//! - [`segment`] maps the memory and gives out views of it.
//! - [`spill`] is the file for what does not fit into memory.
//! - [`client`] turns payloads into stored objects and back.

pub(crate) mod arena;
pub(crate) mod client;
pub(crate) mod segment;
pub(crate) mod spill;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use unidist_common::DataId;

/// A range of the segment or of the spill file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Where it starts, in bytes from the start.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) len: u64,
}

impl Block {
    /// What it takes in the segment, rounding included.
    pub(crate) fn size(self) -> u64 {
        self.len.max(1).next_multiple_of(arena::ALIGNMENT)
    }
}

/// Where bytes of an object are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Blob {
    /// Here: they are small.
    Inline(Bytes),
    /// In the segment.
    Shared(Block),
    /// In the spill file.
    Spilled(Block),
}

impl Blob {
    /// Its block, if it is outside.
    pub(crate) fn outside(&self) -> Option<Block> {
        match self {
            Blob::Inline(_) => None,
            Blob::Shared(block) | Blob::Spilled(block) => Some(*block),
        }
    }
}

/// An object as the directory holds it and the links carry it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredObject {
    /// The header of the payload.
    pub(crate) header: Blob,
    /// The buffers of the payload.
    pub(crate) buffers: Vec<Blob>,
    /// The objects and actors named inside the value.
    pub(crate) borrowed: Vec<DataId>,
}

impl StoredObject {
    /// The same object with the parts that are in the segment in these blocks of the spill file, if they are as many and
    /// as long.
    pub(crate) fn moved_to(&self, blocks: &[Block]) -> Option<StoredObject> {
        let mut blocks = blocks.iter();
        let mut next = |from: Block| blocks.next().filter(|to| to.len == from.len).copied().ok_or(());
        let moved = self.moved(&mut next).ok()?;
        blocks.next().is_none().then_some(moved)
    }

    /// Its parts outside, in order.
    pub(crate) fn outside(&self) -> impl Iterator<Item = &Blob> {
        self.blobs().filter(|blob| blob.outside().is_some())
    }

    /// The blocks it occupies in the segment.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.blobs().filter_map(|blob| match blob {
            Blob::Shared(block) => Some(*block),
            Blob::Inline(_) | Blob::Spilled(_) => None,
        })
    }

    /// The blocks it occupies in the spill file.
    pub(crate) fn spilled(&self) -> impl Iterator<Item = Block> + '_ {
        self.blobs().filter_map(|blob| match blob {
            Blob::Spilled(block) => Some(*block),
            Blob::Inline(_) | Blob::Shared(_) => None,
        })
    }

    /// Whether part of it lies outside: who reads it has views of memory that must stay as it is meanwhile.
    pub(crate) fn is_outside(&self) -> bool {
        self.outside().next().is_some()
    }

    /// The same object with each part that is in the segment put elsewhere.
    pub(crate) fn moved<E>(&self, mut to: impl FnMut(Block) -> Result<Block, E>) -> Result<StoredObject, E> {
        let mut moved = |blob: &Blob| match blob {
            Blob::Shared(block) => to(*block).map(Blob::Spilled),
            other => Ok(other.clone()),
        };
        Ok(StoredObject {
            header: moved(&self.header)?,
            buffers: self.buffers.iter().map(moved).collect::<Result<_, _>>()?,
            borrowed: self.borrowed.clone(),
        })
    }

    /// The same object somewhere else: each part that is not in the message gets a block in memory there.
    pub(crate) fn placed(&self, mut to: impl FnMut(Block) -> Block) -> StoredObject {
        let mut placed = |blob: &Blob| match blob {
            Blob::Inline(_) => blob.clone(),
            Blob::Shared(block) | Blob::Spilled(block) => Blob::Shared(to(*block)),
        };
        StoredObject {
            header: placed(&self.header),
            buffers: self.buffers.iter().map(placed).collect(),
            borrowed: self.borrowed.clone(),
        }
    }

    fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.header).chain(&self.buffers)
    }
}
