//! What unidist's process backends share: the scheduler, the object store, the links between processes, and the worker
//! that runs the calls.
//!
//! A session has one *controller*, the user's program, and processes that it starts. The path of a call:
//!
//! ```text
//! program ─ client ─▶ event loop ─▶ scheduler ─▶ link ─▶ task thread of a worker ─▶ TaskRunner (the user's function)
//!    ▲                    ▲                                     │
//!    └───── reply ────────┴────────────── link ◀────────────────┘ results; large ones are in the shared store
//! ```
//!
//! - `client`: the [`Backend`](unidist_backend::Backend) of a process, once for the controller and the workers.
//! - [`controller`]: the event loop, in the program.
//! - [`monitor`]: the controller's agent on a remote host; a [`network`] connects them.
//! - [`hosts`]: what any network of hosts needs before a session starts.
//! - [`host`]: a host's memory and the supervision of its processes.
//! - `scheduler`: a reactor without I/O that makes all decisions.
//! - `store`: shared memory for large objects.
//! - `link`: rings in shared memory, doorbells, the handshake.
//! - `protocol`: the messages between the controller, workers and monitors.
//! - [`worker`]: a worker process.

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
