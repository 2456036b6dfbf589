//! MPI itself between two ranks, with blocking calls: the lower limit for messages between hosts.

use crate::Result;
use crate::measures::{RAW_MESSAGE, RAW_TRANSFER};
use crate::parts::{Samples, Scale};
use unidist_mpi::bench::Ranks;

const MESSAGE: usize = 64;
const TRANSFER: usize = 64 << 20;

/// Measures together with the other rank. The first rank prints the samples.
pub(crate) fn measure(scale: Scale) -> Result {
    let ranks = Ranks::join()?;
    if ranks.size() != 2 {
        return Err(format!("this needs two ranks, not {}", ranks.size()).into());
    }
    let mut samples = Samples::default();
    for _ in 0..scale.of(10, 30) {
        ranks.barrier()?;
        ranks.raw_round_trip(MESSAGE, 20)?;
        samples.add(RAW_MESSAGE, ranks.raw_round_trip(MESSAGE, 100)?.as_secs_f64());
    }
    for _ in 0..scale.of(3, 6) {
        ranks.barrier()?;
        // A round trip has two transfers.
        samples.add(RAW_TRANSFER, ranks.raw_round_trip(TRANSFER, 3)?.as_secs_f64() / 2.0);
    }
    if ranks.rank() == 0 {
        print!("{samples}");
    }
    ranks.leave();
    Ok(())
}
