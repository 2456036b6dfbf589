//! A process of this host, and the bytes that go between it and the controller.

use crate::link::raw::RawEnd;
use crate::link::ring::{LinkMemory, Side};
use crate::protocol::wire::WireError;
use std::sync::Arc;

/// The rings of one process.
pub(super) struct Forwarder {
    memory: Arc<LinkMemory>,
    end: RawEnd,
    /// The process waits for something that was written and may be asleep.
    urgent: bool,
    /// Its rings cannot be believed: nothing more passes, and it is being killed.
    broken: bool,
}

impl Forwarder {
    pub(super) fn new(memory: Arc<LinkMemory>) -> Self {
        let end = RawEnd::new(&memory, Side::Engine);
        Forwarder { memory, end, urgent: false, broken: false }
    }

    /// Writes bytes into the ring, or later what does not fit.
    pub(super) fn deliver(&mut self, bytes: &[u8], urgent: bool) -> Result<(), WireError> {
        self.end.out().extend_from_slice(bytes);
        self.urgent |= urgent;
        self.go_on()
    }

    /// Writes as much of what did not fit as does now.
    pub(super) fn go_on(&mut self) -> Result<(), WireError> {
        if self.broken || !self.end.has_backlog() {
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

    /// What the process has written since the last call; nothing if that is nothing.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, WireError> {
        let mut bytes = Vec::new();
        if !self.broken && self.end.has_data() {
            self.end.read(&mut bytes)?;
            if self.end.take_peer_starved() {
                self.memory.bell().ring();
            }
        }
        Ok(bytes)
    }

    /// Nothing more passes.
    pub(super) fn break_off(&mut self) {
        self.broken = true;
    }

    /// Whether there was room made for what did not fit.
    pub(super) fn can_go_on(&self) -> bool {
        !self.broken && self.end.can_flush()
    }

    /// How much of the stream to it the process has taken out of its ring.
    pub(super) fn taken(&self) -> u64 {
        self.end.taken()
    }

    pub(super) fn is_awake(&self) -> bool {
        !self.memory.bell().is_driver_asleep()
    }
}
