//! One end of a link as a byte stream in each direction.

use super::ring::{LinkMemory, Reader, Side, Writer};
use crate::protocol::wire::WireError;
use std::sync::Arc;
use unidist_sync::CorruptCounters;

/// Both rings of a link, seen from one side, with the output that does not fit into its ring yet.
#[derive(Debug)]
pub(crate) struct RawEnd {
    writer: Writer,
    reader: Reader,
    out: Vec<u8>,
    /// How many bytes of `out` were written to the ring.
    sent: usize,
    /// The peer waits for space in its ring.
    peer_starved: bool,
}

impl RawEnd {
    pub(crate) fn new(memory: &Arc<LinkMemory>, side: Side) -> Self {
        let (writer, reader) = memory.ends(side);
        RawEnd { writer, reader, out: Vec::new(), sent: 0, peer_starved: false }
    }

    /// The buffer that the next flush sends.
    #[inline]
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// How many bytes of the stream the other side has consumed.
    pub(crate) fn taken(&self) -> u64 {
        self.writer.consumed()
    }

    /// Writes as much output as the ring has space for; true if that was anything, and the other side may have to be rung.
    /// A later flush writes the rest: the other side rings when it has made space.
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

    /// Whether output waits and the ring has space for it. Part of the check before a sleep: if this returns false, the
    /// other side rings when it has made space.
    pub(crate) fn can_flush(&self) -> bool {
        self.has_backlog() && self.writer.has_space()
    }

    /// Whether output waits for space in the ring.
    pub(crate) fn has_backlog(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Whether a read would return bytes or an error.
    #[inline]
    pub(crate) fn has_data(&self) -> bool {
        self.reader.has_data()
    }

    /// Appends all bytes in the ring to `into`.
    #[inline]
    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> Result<(), WireError> {
        self.peer_starved |= self.reader.read(into).map_err(corrupt)?.starved;
        Ok(())
    }

    /// Whether the other side waited for space that reads since the last call have made: then it has to be rung.
    pub(crate) fn take_peer_starved(&mut self) -> bool {
        std::mem::take(&mut self.peer_starved)
    }
}

fn corrupt(_: CorruptCounters) -> WireError {
    WireError("the counters of a ring are out of bounds".into())
}
