//! What connects the hosts of a session.
//!
//! The engine says what is to go from one host to another and in which memory it lies; a backend's [`Network`] moves it.
//! It is polled by one thread at a time: on the controller's host by whoever drives, elsewhere by the monitor.

use bytes::Bytes;
use unidist_backend::WritableBuffer;

pub use unidist_common::HostId;

/// The number of a transfer of memory, made by the controller. No two that are under way have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Transfer(pub u64);

/// What the network brings.
#[derive(Debug)]
pub enum Arrival {
    /// A message, whole, after all those that this host has sent before.
    Message(HostId, Vec<u8>),
    /// All memory of a transfer to this host was filled.
    Received(Transfer),
    /// All memory of a transfer from this host may be used for something else.
    Sent(Transfer),
    /// The memory of a transfer to this host may be written to for ever, as its source is lost and nothing can end what was
    /// begun. It is not to be used again. [`Arrival::Lost`] follows.
    Stuck(Transfer),
    /// The host cannot be reached any more, and this is why. No transfer with it is under way from now on.
    Lost(HostId, String),
}

/// Carries messages and memory between the hosts of a session.
pub trait Network: Send {
    /// Takes a message on its way; it arrives after those that were sent before. One to a lost host is dropped.
    fn send(&mut self, to: HostId, message: Vec<u8>);

    /// Sends memory to a host that was told to receive just as much. [`Arrival::Sent`] follows, unless one of the two is
    /// lost.
    fn send_memory(&mut self, to: HostId, transfer: Transfer, memory: Vec<Bytes>);

    /// Receives memory that the host was told to send. [`Arrival::Received`] follows, unless it is lost.
    fn receive_memory(&mut self, from: HostId, transfer: Transfer, memory: Vec<Box<dyn WritableBuffer>>);

    /// Goes on with what is under way and appends what has arrived. It never waits.
    fn poll(&mut self, arrivals: &mut Vec<Arrival>);

    /// Treats a host as lost that the session has given up, reachable or not: what is under way with it will not end.
    /// [`Arrival::Lost`] follows once no memory is read or written for it any more, unless it was reported already.
    fn forget(&mut self, host: HostId);

    /// Whether something is under way that goes on only while it is polled.
    fn is_busy(&self) -> bool;
}
