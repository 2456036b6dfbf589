//! Patterns for programs of which every rank runs the same code (SPMD), on an MPI job: what pshmem offers in Python.
//!
//! - [`SharedArray`]: an array with one copy in the shared memory of each host; all ranks together change it.
//! - [`Lock`]: a fair lock across ranks of any hosts; a rank that waits sleeps.
//! - [`Batch`]: tasks of varying size, handed out to groups of ranks; their states can be kept in files that outlive the job.
//! - [`exception_guard`]: makes the failure of one rank known to all.
//!
//! They use a [`Communicator`]: a group of ranks. With the feature `mpi` these are the ranks of an MPI job, on any number of
//! hosts; without it, or with `UNIDIST_SPMD_LOCAL=1`, the same program runs as one process.
//!
//! Unlike the rest of unidist, this crate has no workers and no tasks: the ranks are the program. The ranks of a host exchange
//! data through shared memory, so that waiting costs no CPU time; MPI connects the hosts.

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

pub use array::{Part, SharedArray};
pub use batch::{Batch, BatchBuilder, TaskState};
pub use bytemuck;
pub use communicator::Communicator;
pub use error::{Error, Result};
pub use guard::{exception_guard, exception_guard_within};
pub use lock::{Lock, LockGuard};

/// The crate whose views a [`SharedArray`] gives and takes.
#[cfg(feature = "ndarray")]
pub use ndarray;

#[cfg(feature = "mpi")]
pub use network::{Turn, turn};
#[cfg(feature = "mpi")]
pub use unidist_mpi_comm::AnyCommunicator;
/// The crate whose communicators [`Communicator::of`] takes.
#[cfg(feature = "mpi")]
pub use unidist_mpi_comm::mpi;
