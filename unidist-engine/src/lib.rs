//! What unidist's process backends share: the scheduler, the object directory and store, the links between processes,
//! and the worker that runs the calls.
//!
//! A session has one *controller*, the user's program, and processes that it starts. How a call travels:
//!
//! ```text
//! program ─ Controller ─▶ Scheduler ─▶ link ─▶ task thread of a worker ─▶ TaskRunner (the user's function)
//!    ▲                        ▲                        │
//!    └──── answers ───────────┴──────── link ◀─────────┘ results; large ones lie in the shared store
//! ```
//!
//! - [`controller`]: the engine's turns and the [`Backend`](unidist_backend::Backend) that the program sees.
//! - [`monitor`]: the controller's long arm on another host; between them is a [`network`].
//! - `host`: a host's memory, the supervision of its processes.
//! - `scheduler`: a reactor without I/O that decides everything.
//! - `store`: shared memory for large objects.
//! - `protocol`: the messages between the controller, workers and monitors.
//! - `link`: rings in shared memory, doorbells, the handshake.
//! - [`worker`]: what a worker process does, and the [`Backend`](unidist_backend::Backend) that tasks see.

#[cfg(feature = "bench")]
pub mod bench;
mod client;
pub mod controller;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod host;
pub mod hosts;
mod link;
pub mod logging;
pub mod monitor;
pub mod network;
mod protocol;
mod scheduler;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
extern crate self as unidist_engine; // what the tests outside share is written for users of the crate
#[cfg(test)]
#[path = "../tests/memory_network/mod.rs"]
mod memory_network;
pub mod worker;
