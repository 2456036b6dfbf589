//! Requests of a process to the engine.

pub(crate) mod pending;
