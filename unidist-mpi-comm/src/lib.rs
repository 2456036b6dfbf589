//! The MPI calls that unidist makes. No other crate of the workspace calls MPI.
//!
//! The backend (`unidist-mpi`) and the patterns for programs of ranks (`unidist-spmd`) share this crate, so that a
//! program of ranks does not link the engine.
//!
//! - [`Mpi`]: initialisation, spawning processes, and what happens to MPI when the process exits.
//! - [`Communicator`]: groups of ranks. Point-to-point messages return an [`Operation`], which owns the memory that MPI
//!   still reads or writes.
//! - [`Window`]: atomic 64-bit cells on the first rank, by one-sided MPI. A progress thread serves them.
//! - [`pipeline`]: large transfers in chunks. `collectives`: what all ranks of a program call together.
//! - [`library`]: which MPI this build is for, and which one was loaded. [`launcher`]: what the MPI launcher says in the
//!   environment.
//!
//! # Blocking and threads
//!
//! The backend blocks in MPI only while a session begins or ends: in [`Mpi::init`], [`Mpi::spawn`],
//! [`Communicator::merge`], [`Communicator::split`] and [`Communicator::all_gather`]. It always names the source of a
//! receive, because MPICH over UCX does not serve a receive from any source across spawned processes.
//!
//! In programs of ranks, threads serialise their MPI calls with [`Mpi::lock_calls`].

mod call_lock;
mod collectives;
mod communicator;
mod exit;
pub mod launcher;
pub mod library;
mod operation;
mod output;
pub mod pipeline;
mod progress_thread;
mod runtime;
mod window;

pub use call_lock::CallGuard;
pub use communicator::{AnyCommunicator, Communicator};
pub use exit::{ExitAction, ExitHook};
pub use library::Library;
pub use operation::{BufferPart, Operation};
pub use runtime::Mpi;
pub use window::Window;

/// The crate whose communicators [`Communicator::duplicate_of`] takes.
pub use mpi;

use std::ffi::c_int;
use std::fmt;

/// An error that MPI returned, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpiError(pub(crate) String);

impl fmt::Display for MpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Converts a length or a rank to C's `int`.
fn to_c_int(value: usize) -> Result<c_int, MpiError> {
    c_int::try_from(value).map_err(|_| MpiError(format!("{value} exceeds the range of MPI's counts")))
}
