//! The sequential backend: every call runs in the caller's process, in order, for debugging and for small inputs.
//!
//! It shares no code with the engine: it is an independent implementation of the contract, and so an oracle for the
//! other backends in the conformance suite.
//!
//! A session has one *sequential thread*. It owns the [`TaskRunner`](unidist_backend::TaskRunner) and runs all calls:
//! breakpoints, backtraces and output come in the order in which the program made its calls.
//!
//! - A thread of the program hands its call over and waits until the call has run, or blocks on something that the
//!   program still has to do. A call made by code on the sequential thread runs at once, nested on its stack.
//! - A call is *waiting* while its dependencies, results of asynchronous calls, are not settled, then *ready*. Ready
//!   calls start in order of submission. Calls of one caller on one actor never overtake each other.
//! - An asynchronous call that has to wait is *pending*. It continues when the sequential thread has nothing else to
//!   do, and while code on that thread blocks in `get` or `wait`.
//! - A wait that can never end is an error: its object is made by a call further down on the same stack, or depends on
//!   one.
//!
//! The directory counts references and keeps values. The queue orders calls. The state joins the two behind one lock,
//! under which no user code runs. The sequential thread takes steps from the state and runs them.
//!
//! ```
//! # use unidist_config::Settings;
//! # use unidist_backend::{Backend, Program, TaskRunner};
//! # fn demo(program: Program) -> unidist_common::Result<()> {
//! let backend = unidist_pyseq::start(&Settings::resolve()?, program)?;
//! assert_eq!(backend.name(), "pyseq");
//! backend.shutdown()
//! # }
//! ```

#![forbid(unsafe_code)]

mod actor_names;
mod backend;
mod buffer;
mod directory;
mod queue;
mod resources;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod thread;
mod workers;

use std::sync::Arc;
use unidist_backend::{Backend, Program};
use unidist_common::Result;
use unidist_config::Settings;

/// Starts a session whose calls run in this process, on one thread.
///
/// # Errors
///
/// The thread cannot be started.
pub fn start(settings: &Settings, program: Program) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(backend::Pyseq::start(settings, program)?))
}
