//! The encoded value of an object: bytes that may be shared, mapped or foreign.

use crate::DataId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An encoded value: a header and the large buffers extracted from it.
///
/// [`Bytes`] is the shareable buffer: owned, mapped from shared memory, or foreign with a drop callback
/// ([`Bytes::from_owner`]). Cloning a payload copies no data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// The encoded value.
    pub header: Bytes,
    /// Buffers that the header refers to by their index.
    pub buffers: Vec<Bytes>,
}

impl Payload {
    /// A payload with no buffers beside it.
    pub fn inline(header: impl Into<Bytes>) -> Self {
        Payload { header: header.into(), buffers: Vec::new() }
    }

    /// The bytes held by the header and all buffers.
    pub fn len(&self) -> usize {
        self.header.len() + self.buffers.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A payload with the references found inside it, which stay alive for as long as the object does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// The value.
    pub payload: Payload,
    /// The objects and actors named inside the value; one that occurs twice is listed twice.
    pub borrowed: Vec<DataId>,
}

impl From<Payload> for Object {
    fn from(payload: Payload) -> Self {
        Object { payload, borrowed: Vec::new() }
    }
}
