//! The ranks of other hosts: MPI, in programs that were built with it.

#[cfg(feature = "mpi")]
mod ranks;
#[cfg(feature = "mpi")]
pub(crate) use ranks::{Network, Tokens, Window, abort, abort_from_thread, world};
#[cfg(feature = "mpi")]
pub use ranks::{Turn, turn};

#[cfg(not(feature = "mpi"))]
mod none;
#[cfg(not(feature = "mpi"))]
pub(crate) use none::{Network, Tokens, Window, abort, abort_from_thread, world};
