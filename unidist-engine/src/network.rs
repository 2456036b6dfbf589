//! What connects the hosts of a session.
//!
//! The engine says which messages and which memory go from one host to another; a backend's [`Network`] moves them. It
//! is polled by one thread at a time: on the controller's host by the thread that runs the event loop, on other hosts
//! by the monitor.

use bytes::Bytes;
use unidist_backend::WritableBuffer;

pub use unidist_common::HostId;

/// The number of a transfer of memory, assigned by the controller. It is unique among the transfers in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Transfer(pub u64);

/// What arrives from the network.
#[derive(Debug)]
pub enum Arrival {
    /// A whole message, after all earlier ones of this host.
    Message(HostId, Vec<u8>),
    /// All memory of a transfer to this host was filled.
    Received(Transfer),
    /// The memory of a transfer from this host may be reused.
    Sent(Transfer),
    /// The memory of a transfer to this host may be written to forever, as its source is lost and the transfer cannot
    /// be ended: it must not be used again. [`Arrival::Lost`] follows.
    Stuck(Transfer),
    /// The host cannot be reached any more, with the reason. No transfer with it is in progress from now on.
    Lost(HostId, String),
}

/// Carries messages and memory between the hosts of a session.
pub trait Network: Send {
    /// Sends a message; it arrives after earlier ones. A message to a lost host is dropped.
    fn send(&mut self, to: HostId, message: Vec<u8>);

    /// Sends memory to a host that was told to receive as many bytes. [`Arrival::Sent`] follows, unless one of the two
    /// is lost.
    fn send_memory(&mut self, to: HostId, transfer: Transfer, memory: Vec<Bytes>);

    /// Receives memory that the host was told to send. [`Arrival::Received`] follows, unless it is lost.
    fn receive_memory(&mut self, from: HostId, transfer: Transfer, memory: Vec<Box<dyn WritableBuffer>>);

    /// Makes progress and appends what has arrived. It never blocks.
    fn poll(&mut self, arrivals: &mut Vec<Arrival>);

    /// Treats a host as lost that was removed from the session, reachable or not: transfers with it will not complete.
    /// [`Arrival::Lost`] follows once no memory is read or written for it any more, unless it was reported already.
    fn forget(&mut self, host: HostId);

    /// Whether something is in progress that needs polling.
    fn is_busy(&self) -> bool;
}
