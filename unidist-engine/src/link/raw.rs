//! One end of a link as a byte stream each way, whatever the bytes mean.

use super::ring::{LinkMemory, Reader, Side, Writer};
use crate::protocol::wire::WireError;
use std::sync::Arc;
use unidist_sync::CorruptCounters;

/// Both rings of a link, seen from one side, with what does not fit yet.
#[derive(Debug)]
pub(crate) struct RawEnd {
    writer: Writer,
    reader: Reader,
    out: Vec<u8>,
    /// How much of `out` the ring has taken.
    sent: usize,
    /// The peer waits for room in its ring.
    peer_starved: bool,
}

impl RawEnd {
    pub(crate) fn new(memory: &Arc<LinkMemory>, side: Side) -> Self {
        let (writer, reader) = memory.ends(side);
        RawEnd { writer, reader, out: Vec::new(), sent: 0, peer_starved: false }
    }

    /// Where bytes are appended that the next flush sends.
    #[inline]
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// How much of the stream the other side has taken out of its ring.
    pub(crate) fn taken(&self) -> u64 {
        self.writer.taken()
    }

    /// Hands the other side as much as there is room for; true if that was anything, and the other side may have to be
    /// rung. What is left goes with a later flush: the other side rings when it has made room.
    pub(crate) fn flush(&mut self) -> Result<bool, WireError> {
        if self.sent == self.out.len() {
            return Ok(false);
        }
        let written = self.writer.write(&self.out[self.sent..]).map_err(corrupt)?;
        self.sent += written;
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(1 << 20);
            self.sent = 0;
        } else if self.sent > 1 << 20 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        Ok(written > 0)
    }

    /// Whether something waits for room in the ring, and there is some. Part of the look before a sleep: if there is
    /// none, the other side will ring when there is.
    pub(crate) fn can_flush(&self) -> bool {
        self.has_backlog() && self.writer.has_room()
    }

    /// Whether something waits for room in the ring.
    pub(crate) fn has_backlog(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Whether there is something to read (or nonsense, which reading will tell).
    #[inline]
    pub(crate) fn has_data(&self) -> bool {
        self.reader.has_data()
    }

    /// Appends everything there is to `into`.
    #[inline]
    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> Result<(), WireError> {
        self.peer_starved |= self.reader.read(into).map_err(corrupt)?.starved;
        Ok(())
    }

    /// Whether the other side was waiting for the room that reading has made since the last call: ring for it.
    pub(crate) fn take_peer_starved(&mut self) -> bool {
        std::mem::take(&mut self.peer_starved)
    }
}

fn corrupt(_: CorruptCounters) -> WireError {
    WireError("the counters of a ring are out of bounds".into())
}
