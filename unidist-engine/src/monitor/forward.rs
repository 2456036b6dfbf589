//! Forwards bytes between a process of this host and the controller.

use crate::link::raw::RawEnd;
use crate::link::ring::{LinkMemory, Side};
use crate::protocol::wire::WireError;
use std::sync::Arc;

/// The rings of one process.
pub(super) struct Forwarder {
    memory: Arc<LinkMemory>,
    end: RawEnd,
    /// The process may be asleep and wait for bytes that were written.
    urgent: bool,
    /// The process has corrupted its rings: nothing more is forwarded, and it is being killed.
    closed: bool,
}

impl Forwarder {
    pub(super) fn new(memory: Arc<LinkMemory>) -> Self {
        let end = RawEnd::new(&memory, Side::Engine);
        Forwarder { memory, end, urgent: false, closed: false }
    }

    /// Writes bytes into the ring, or keeps those that do not fit.
    pub(super) fn deliver(&mut self, bytes: &[u8], urgent: bool) -> Result<(), WireError> {
        self.end.out().extend_from_slice(bytes);
        self.urgent |= urgent;
        self.flush_backlog()
    }

    /// Writes kept bytes as far as they fit.
    pub(super) fn flush_backlog(&mut self) -> Result<(), WireError> {
        if self.closed || !self.end.has_backlog() {
            return Ok(());
        }
        if self.end.flush()? {
            match std::mem::take(&mut self.urgent) {
                true => self.memory.bell().ring(),
                false => self.memory.bell().ring_driver(),
            }
            self.urgent = self.end.has_backlog();
        }
        Ok(())
    }

    /// The bytes that the process has written since the last call.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, WireError> {
        let mut bytes = Vec::new();
        if !self.closed && self.end.has_data() {
            self.end.read(&mut bytes)?;
            if self.end.take_peer_starved() {
                self.memory.bell().ring();
            }
        }
        Ok(bytes)
    }

    /// Forwards nothing more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether there is space for kept bytes.
    pub(super) fn can_flush(&self) -> bool {
        !self.closed && self.end.can_flush()
    }

    /// How many bytes the process has read from its ring.
    pub(super) fn taken(&self) -> u64 {
        self.end.taken()
    }

    pub(super) fn is_awake(&self) -> bool {
        !self.memory.bell().is_driver_asleep()
    }
}
