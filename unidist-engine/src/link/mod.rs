//! The links between the engine and its processes.
//!
//! A link is memory that both sides map ([`ring`]), with a byte stream in each direction, and a socket pair
//! ([`handshake`]) that passes the memory to the process and shows when the other side ends. [`channel`] batches
//! messages: [`raw`] moves bytes, [`frames`] finds messages in them. Who may access which part of a ring, and how a
//! sleeping process is woken, is in `unidist-sync`.

pub(crate) mod channel;
pub(crate) mod frames;
pub(crate) mod handshake;
pub(crate) mod raw;
pub(crate) mod ring;
