//! Communication with the ranks of other hosts: MPI, in programs that are built with it.

#[cfg(feature = "mpi")]
mod mpi_network;
#[cfg(feature = "mpi")]
pub(crate) use mpi_network::{Network, Tokens, Window, abort, abort_from_thread, world};
#[cfg(feature = "mpi")]
pub use mpi_network::{Turn, turn};

#[cfg(not(feature = "mpi"))]
mod no_mpi;
#[cfg(not(feature = "mpi"))]
pub(crate) use no_mpi::{Network, Tokens, Window, abort, abort_from_thread, world};
