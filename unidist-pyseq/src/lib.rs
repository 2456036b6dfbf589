//! The sequential backend: every call runs in the caller's process, in order. For debugging and for small inputs.
//!
//! A session has one *sequential thread*. It owns the [`TaskRunner`](unidist_backend::TaskRunner) and runs everything: a
//! breakpoint, a panic's backtrace or a print comes in the order in which the program made its calls.
//!
//! - A call from a thread of the program is handed over, and the thread waits until it was run (or blocks, for something
//!   that the program still has to do). A call from code that runs on the sequential thread runs at once, nested on its
//!   stack.
//! - A call whose dependencies are not settled (an asynchronous call makes them) is *waiting*; it becomes *ready* when
//!   they are and is started in order of submission. Calls of one caller on one actor never overtake each other.
//! - An asynchronous call that has to wait is *pending*: it goes on whenever the sequential thread has nothing else to
//!   do, and while code on that thread blocks in `get` or `wait`.
//! - A wait on the sequential thread that nothing can end is an error: what it waits for runs further down on the same
//!   stack, or depends on what does.
//!
//! Who does what: the directory counts references and keeps values; the queue orders calls; the state joins the two
//! behind one lock, under which no code of the program runs; the thread takes steps from the state and runs them.
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
