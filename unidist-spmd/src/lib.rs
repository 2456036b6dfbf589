//! Patterns for programs of which every rank runs the same code (SPMD), on an MPI job: what pshmem gives Python.
//!
//! - [`SharedArray`]: an array of which each host has one copy in shared memory; all ranks together change it.
//! - [`Lock`]: taken in turns, first come, first served, by ranks of any hosts; who waits sleeps.
//! - [`Batch`]: tasks of varying size, handed out to groups of ranks; states in files if they are to outlive the job.
//! - [`exception_guard`]: a failure of one rank is made known to all.
//!
//! They stand on a [`Communicator`]: the ranks that use them together. With the feature `mpi` these are those of an MPI job,
//! on any number of hosts; without, or with `UNIDIST_SPMD_LOCAL=1`, one process, for which the same program runs.
//!
//! Unlike the rest of unidist, nothing here has workers or tasks: the program is the ranks. What they say to each other on
//! one host goes through memory that they share, so that waiting costs no CPU; MPI carries it between hosts.

mod array;
mod batch;
mod call;
mod cells;
mod communicator;
mod deferred_free;
mod error;
mod guard;
mod host_exchange;
mod hosts;
mod lock;
mod memory;
mod network;

pub use array::SharedArray;
pub use batch::{Batch, BatchBuilder, TaskState};
pub use communicator::Communicator;
pub use error::{Error, Result};
pub use guard::{exception_guard, exception_guard_within};
pub use lock::{Lock, LockGuard};
pub use {bytemuck, ndarray};

#[cfg(feature = "mpi")]
pub use network::{Turn, turn};
#[cfg(feature = "mpi")]
pub use unidist_mpi_comm::AnyCommunicator;
/// The crate whose communicators [`Communicator::of`] takes.
#[cfg(feature = "mpi")]
pub use unidist_mpi_comm::mpi;
