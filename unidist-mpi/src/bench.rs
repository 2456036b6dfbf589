//! Round trips between the ranks of a job, by MPI alone and by the network alone.

use crate::network::MpiNetwork;
use std::time::{Duration, Instant};
use unidist_common::{Error, Result};
use unidist_mpi_comm::{Communicator, Mpi, MpiError};

/// The processes that a launcher started.
#[derive(Debug)]
pub struct Ranks {
    mpi: Mpi,
    world: Communicator,
}

impl Ranks {
    /// Initialises MPI.
    ///
    /// # Errors
    ///
    /// MPI cannot be initialised.
    pub fn join() -> Result<Self> {
        let mpi = Mpi::init()?;
        Ok(Ranks { world: mpi.world().map_err(failed)?, mpi })
    }

    /// The number of this process.
    pub fn rank(&self) -> usize {
        self.world.rank()
    }

    /// The number of processes.
    pub fn size(&self) -> usize {
        self.world.size()
    }

    /// Waits until all ranks have arrived.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn barrier(&self) -> Result<()> {
        self.world.all_gather(&[0]).map(drop).map_err(failed)
    }

    /// The median time of a round trip of this many bytes between the first two ranks, by MPI's blocking calls. Other ranks do
    /// nothing.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn raw_round_trip(&self, bytes: usize, rounds: usize) -> Result<Duration> {
        let mut memory = vec![1_u8; bytes];
        let other = 1_usize.wrapping_sub(self.rank());
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let start = Instant::now();
            match self.rank() {
                0 => {
                    self.world.blocking_send(other, &memory).map_err(failed)?;
                    self.world.blocking_receive(other, &mut memory).map_err(failed)?;
                }
                1 => {
                    self.world.blocking_receive(other, &mut memory).map_err(failed)?;
                    self.world.blocking_send(other, &memory).map_err(failed)?;
                }
                _ => {}
            }
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times.get(rounds / 2).copied().unwrap_or_default())
    }

    /// A network in which each rank is a host.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn network(&self, timeout: Duration) -> Result<MpiNetwork> {
        let group = self.world.duplicate().map_err(failed)?;
        Ok(MpiNetwork::new(group, timeout, false))
    }

    /// Finalises MPI.
    pub fn leave(mut self) {
        self.world.free();
        self.mpi.finalize();
    }
}

fn failed(error: MpiError) -> Error {
    Error::system("MPI", error)
}
