//! unidist's MPI backend for several hosts: one MPI process on each host, and workers that are not MPI processes.
//!
//! The *controller* is the user's program, on the first host. On each further host a *monitor*, also an MPI process, manages
//! the workers and the memory of that host. In *spawn mode* MPI spawns the monitors at the request of the controller. In *SPMD
//! mode* a launcher starts all processes (`mpiexec -n N`): rank 0 is the controller, one rank of each host is its monitor, and
//! the others *sleep* while workers, which are plain child processes, use their slots.
//!
//! - [`launch`]: which hosts there are, and how MPI starts processes there.
//! - [`controller`], [`monitor`]: how the two join a session; [`worker`]: sleeping ranks, and the environment and CPUs of
//!   workers.
//! - `embedded`: a session on a communicator of the program.
//! - `participant`: a process in a session, from the beginning to the end; `shutdown`: the protocol by which all hosts end it.
//! - [`topology`]: which process runs on which host.
//! - [`network`]: messages and memory between the hosts, for the engine. It consists of `serialization` (the frame of a
//!   message), `async_operations` (pending operations, which own their memory), `local_store` (a pool of message buffers),
//!   `shared_store` (transfers of memory in chunks), `heartbeat` (silent hosts) and `heartbeat_thread` (heartbeats while the
//!   engine is busy).
//!
//! The MPI calls themselves are in `unidist-mpi-comm`.

mod async_operations;
#[cfg(feature = "bench")]
pub mod bench;
pub mod controller;
mod embedded;
mod heartbeat;
mod heartbeat_thread;
pub mod launch;
mod local_store;
pub mod monitor;
pub mod network;
mod participant;
mod serialization;
mod session;
mod shared_store;
mod shutdown;
pub mod topology;
pub mod worker;

pub use embedded::start_on;
pub use participant::Participant;
pub use session::{serve_if_started, start};
pub use unidist_mpi_comm::AnyCommunicator;

/// The value of `UNIDIST_BACKEND` that selects this backend.
pub const NAME: &str = "mpi";
