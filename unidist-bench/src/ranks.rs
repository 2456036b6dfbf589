//! What MPI does without unidist between two ranks, by its own waiting calls: what the other host costs at the least.

use crate::Result;
use crate::parts::{Samples, Scale};
use crate::plans::{RAW_MESSAGE, RAW_TRANSFER};
use unidist_mpi::bench::Ranks;

const MESSAGE: usize = 64;
const TRANSFER: usize = 64 << 20;

/// In each of two ranks: measures together with the other one. The first one says what was measured.
pub(crate) fn measure(scale: Scale) -> Result {
    let ranks = Ranks::join()?;
    if ranks.size() != 2 {
        return Err(format!("two ranks are needed, not {}", ranks.size()).into());
    }
    let mut samples = Samples::default();
    for _ in 0..scale.of(10, 30) {
        ranks.barrier()?;
        ranks.raw_round_trip(MESSAGE, 20)?;
        samples.add(RAW_MESSAGE, ranks.raw_round_trip(MESSAGE, 100)?.as_secs_f64());
    }
    for _ in 0..scale.of(3, 6) {
        ranks.barrier()?;
        // There and back.
        samples.add(RAW_TRANSFER, ranks.raw_round_trip(TRANSFER, 3)?.as_secs_f64() / 2.0);
    }
    if ranks.rank() == 0 {
        print!("{samples}");
    }
    ranks.leave();
    Ok(())
}
