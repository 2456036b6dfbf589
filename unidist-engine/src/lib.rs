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
//! - [`controller`]: the engine's turns, the supervision of processes, and the [`Backend`](unidist_core::Backend) that
//!   the program sees.
//! - `scheduler`: a reactor without I/O that decides everything.
//! - `store`: shared memory for large objects.
//! - `link`: rings in shared memory, bells, messages, the handshake.
//! - [`worker`]: what a worker process does, and the [`Backend`](unidist_core::Backend) that tasks see.
//! - [`launch`]: how a worker is started.

#[cfg(feature = "bench")]
pub mod bench;
pub mod controller;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod launch;
mod link;
pub mod network;
mod pending;
mod scheduler;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod store;
#[cfg(test)]
mod testing;
pub mod worker;
