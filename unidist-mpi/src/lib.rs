//! unidist's MPI backend: one MPI process a host, which talks to the others, and workers that know nothing of MPI.
//!
//! Vocabulary: the *controller* is the user's program, on the first host. On each further host a *monitor*, an MPI
//! process too, looks after that host's workers and memory. In *spawn mode* the controller has MPI start the monitors.
//! In *SPMD mode* a launcher has started everyone (`mpiexec -n N`): the first rank is the controller, one rank a host
//! is its monitor, and the others stand for workers: they *sleep* while plain children of the monitor do the work.
//!
//! - [`launch`]: which hosts there are, and how MPI is asked for processes there.
//! - [`controller`], [`monitor`]: how the two come into a session and leave it; [`worker`]: ranks that sleep, and what
//!   environment and CPUs workers get.
//! - `guest`: a session on a communicator of the program's own.
//! - `membership`: a process's part from the beginning to the end; `farewell`: how all agree on the end.
//! - [`topology`]: who is where, as all have agreed on.
//! - [`network`]: messages and memory between the hosts, for the engine. It is made of `serialization` (the frame of a
//!   message), `async_operations` (what is under way, and keeps its memory), `local_store` (recycled buffers),
//!   `shared_store` (transfers of memory in pieces), `heartbeat` (who is silent for too long) and `keeper` (not to be
//!   silent while the engine is busy).
//! - `communication`: the one module that calls MPI. What programs of ranks need that work together is in it too.

mod async_operations;
#[cfg(feature = "bench")]
pub mod bench;
pub mod controller;
mod guest;
mod heartbeat;
mod heartbeat_thread;
pub mod launch;
mod local_store;
mod membership;
pub mod monitor;
pub mod network;
mod serialization;
mod session;
mod shared_store;
mod shutdown;
pub mod topology;
pub mod worker;

pub use guest::start_on;
pub use membership::Membership;
pub use session::{serve_if_started, start};
pub use unidist_mpi_comm::AnyCommunicator;

/// The value of `UNIDIST_BACKEND` that chooses this backend.
pub const NAME: &str = "mpi";
