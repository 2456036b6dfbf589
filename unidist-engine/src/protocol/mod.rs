//! The messages between the controller, workers and monitors, and their encoding.
//!
//! - [`worker`]: between the engine and a worker or actor process.
//! - [`monitor`]: between the controller and the monitor of another host.
//! - [`handshake`]: the first messages, of a form that never changes.
//! - [`wire`]: encoding and framing; the only place of the engine that names the codec.

pub(crate) mod handshake;
pub(crate) mod monitor;
pub(crate) mod wire;
pub(crate) mod worker;
