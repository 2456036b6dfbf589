//! Messages out of a stream of bytes that comes in pieces.

use crate::protocol::wire::{self, WireError};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// What has come of a stream of messages and was not understood yet.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    bytes: Vec<u8>,
    /// How much of `bytes` has been understood.
    consumed: usize,
    /// There may be another whole message in `bytes`.
    more: bool,
    _messages: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Frames<R> {
    pub(crate) fn new() -> Self {
        Frames { bytes: Vec::new(), consumed: 0, more: false, _messages: PhantomData }
    }

    /// Whether [`next`](Frames::next) may find something.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// The next message, if a whole one is there.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<R>, WireError> {
        let Some((body, used)) = wire::split(&self.bytes[self.consumed..])? else {
            self.more = false;
            return Ok(None);
        };
        let message = wire::decode(body);
        self.consumed += used;
        self.more = true;
        message.map(Some)
    }

    /// Where what comes next is appended.
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.consumed);
        self.consumed = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(1 << 20);
        }
        &mut self.bytes
    }

    /// Appends what has come.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.space().extend_from_slice(bytes);
        self.more |= !bytes.is_empty();
    }
}
