//! The object store: one segment of shared memory per host, mapped by each of its processes.
//!
//! - [`arena`]: the allocator of blocks; the controller owns it.
//! - [`segment`]: the mapped memory and views of it.
//! - [`spill`]: the file for objects that do not fit into memory.
//! - [`client`]: turns payloads into stored objects and back, in each process.

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
    /// The offset of its first byte.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) len: u64,
}

impl Block {
    /// The bytes that it occupies in the segment, rounding included.
    pub(crate) fn size(self) -> u64 {
        arena::size_in_segment(self.len)
    }
}

/// A block and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In the segment.
    Memory(Block),
    /// In the spill file.
    Disk(Block),
}

impl Place {
    /// The block.
    pub(crate) fn block(self) -> Block {
        match self {
            Place::Memory(block) | Place::Disk(block) => block,
        }
    }
}

impl From<Place> for Blob {
    fn from(place: Place) -> Self {
        match place {
            Place::Memory(block) => Blob::Shared(block),
            Place::Disk(block) => Blob::Spilled(block),
        }
    }
}

/// A part of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Blob {
    /// The bytes themselves, if they are few.
    Inline(Bytes),
    /// In the segment.
    Shared(Block),
    /// In the spill file.
    Spilled(Block),
}

impl Blob {
    /// Its block, unless it is inline.
    pub(crate) fn block(&self) -> Option<Block> {
        self.place().map(Place::block)
    }

    /// Its block and where that lies, unless it is inline.
    pub(crate) fn place(&self) -> Option<Place> {
        match self {
            Blob::Inline(_) => None,
            Blob::Shared(block) => Some(Place::Memory(*block)),
            Blob::Spilled(block) => Some(Place::Disk(*block)),
        }
    }
}

/// An object as the directory stores it and messages carry it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredObject {
    /// The header of the payload.
    pub(crate) header: Blob,
    /// The buffers of the payload.
    pub(crate) buffers: Vec<Blob>,
    /// The objects and actors that the value refers to.
    pub(crate) borrowed: Vec<DataId>,
}

impl StoredObject {
    /// The object with its parts in the segment moved to these blocks of the spill file; `None` unless the blocks match
    /// the parts in number and length.
    pub(crate) fn spilled_to(&self, blocks: &[Block]) -> Option<StoredObject> {
        let mut blocks = blocks.iter();
        let mut next = |from: Block| blocks.next().filter(|to| to.len == from.len).copied().ok_or(());
        let moved = self.spilled_with(&mut next).ok()?;
        blocks.next().is_none().then_some(moved)
    }

    /// Its parts that are not inline, in order.
    pub(crate) fn external_parts(&self) -> impl Iterator<Item = &Blob> {
        self.blobs().filter(|blob| blob.block().is_some())
    }

    /// The blocks that it occupies.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.blobs().filter_map(Blob::place)
    }

    /// The blocks that it occupies in the segment.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.blobs().filter_map(|blob| match blob {
            Blob::Shared(block) => Some(*block),
            Blob::Inline(_) | Blob::Spilled(_) => None,
        })
    }

    /// The blocks that it occupies in the spill file.
    pub(crate) fn spilled_blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.blobs().filter_map(|blob| match blob {
            Blob::Spilled(block) => Some(*block),
            Blob::Inline(_) | Blob::Shared(_) => None,
        })
    }

    /// Whether a part is not inline: a reader then has views of blocks, which must not be moved or freed meanwhile.
    pub(crate) fn has_external_parts(&self) -> bool {
        self.external_parts().next().is_some()
    }

    /// The object with each part in the segment moved to the block of the spill file that `to` returns.
    pub(crate) fn spilled_with<E>(
        &self,
        mut to: impl FnMut(Block) -> Result<Block, E>,
    ) -> Result<StoredObject, E> {
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

    /// The object as a copy on another host: each part that is not inline gets a block there.
    pub(crate) fn copied_with(&self, mut to: impl FnMut(Place) -> Place) -> StoredObject {
        let mut copied = |blob: &Blob| blob.place().map_or_else(|| blob.clone(), |place| to(place).into());
        StoredObject {
            header: copied(&self.header),
            buffers: self.buffers.iter().map(copied).collect(),
            borrowed: self.borrowed.clone(),
        }
    }

    fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.header).chain(&self.buffers)
    }
}
