//! The object store: one segment of shared memory per host, mapped by each of its processes.
//!
//! - [`arena`] decides which range is whose; it lives in the controller.
//! - [`segment`] maps the memory and gives out views of it.
//! - [`depot`] turns payloads into what the object directory holds, and back.

pub(crate) mod arena;
pub(crate) mod depot;
pub(crate) mod segment;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use unidist_common::DataId;

/// A range of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Where it starts, in bytes from the start of the segment.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) len: u64,
}

/// Where bytes of an object are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Blob {
    /// Here: they are small.
    Inline(Bytes),
    /// In the segment.
    Shared(Block),
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
    /// The blocks it occupies.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        std::iter::once(&self.header).chain(&self.buffers).filter_map(|blob| match blob {
            Blob::Shared(block) => Some(*block),
            Blob::Inline(_) => None,
        })
    }
}
