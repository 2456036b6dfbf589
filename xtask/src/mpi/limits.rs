//! What an MPI cannot do itself, and so no test asks of it.

use super::{Kind, Mode, Mpi};

impl Mpi {
    /// Why sessions in this mode are not possible on this many hosts; `None` if they are.
    pub(crate) fn limit(&self, mode: Mode, hosts: usize) -> Option<&'static str> {
        (self.kind == Kind::OpenMpi5 && mode == Mode::Spawn && hosts > 1).then_some(
            "mpiexec of Open MPI 5 crashes when a process spawns others on several hosts (in 5 of 100 starts of a program in C, \
             by a corrupted heap), and without mpiexec its wheel does not find its daemons there",
        )
    }
}
