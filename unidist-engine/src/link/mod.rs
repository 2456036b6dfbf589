//! The links between the engine and its processes.
//!
//! A link is memory that both map ([`ring`]), with a byte stream each way, and a socket pair ([`handshake`]) that
//! carries the memory over and tells of the other side's end. Messages ([`message`]) are encoded ([`wire`]) and batched
//! ([`channel`]: [`raw`] moves bytes, [`frames`] finds messages in them); what the engine and the monitors of other
//! hosts say is in [`relay`]; who sleeps is woken by a [`bell`].

pub(crate) mod bell;
pub(crate) mod channel;
pub(crate) mod flow;
pub(crate) mod frames;
pub(crate) mod handshake;
pub(crate) mod message;
#[cfg(all(test, unidist_loom))]
mod models;
pub(crate) mod patience;
pub(crate) mod raw;
pub(crate) mod relay;
pub(crate) mod ring;
pub(crate) mod sync;
pub(crate) mod wire;
