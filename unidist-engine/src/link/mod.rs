//! The links between the engine and its processes.
//!
//! A link is memory that both map ([`ring`]), with a byte stream each way, and a socket pair ([`handshake`]) that
//! carries the memory over and tells of the other side's end. Messages ([`protocol`](crate::protocol)) are batched
//! ([`channel`]: [`raw`] moves bytes, [`frames`] finds messages in them); a sleeping thread is woken by a [`bell`].

pub(crate) mod bell;
pub(crate) mod channel;
pub(crate) mod flow;
pub(crate) mod frames;
pub(crate) mod handshake;
#[cfg(all(test, unidist_loom))]
mod models;
pub(crate) mod patience;
pub(crate) mod raw;
pub(crate) mod ring;
pub(crate) mod sync;
