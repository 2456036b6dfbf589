//! Finds messages in a stream of bytes that arrives in pieces.

use crate::protocol::wire::{self, WireError};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// The received part of a stream of messages that is not decoded yet.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    bytes: Vec<u8>,
    /// How many of `bytes` have been decoded.
    consumed: usize,
    /// `bytes` may contain another complete message.
    more: bool,
    _messages: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Frames<R> {
    pub(crate) fn new() -> Self {
        Frames { bytes: Vec::new(), consumed: 0, more: false, _messages: PhantomData }
    }

    /// Whether [`next`](Frames::next) may find a message.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// The next message, if it is complete.
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

    /// The buffer to append received bytes to.
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.consumed);
        self.consumed = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(1 << 20);
        }
        &mut self.bytes
    }

    /// Appends received bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.space().extend_from_slice(bytes);
        self.more |= !bytes.is_empty();
    }
}
