//! An array shared by the ranks of a job: one rank sets a part, and all ranks see it.
//!
//! ```sh
//! cargo run -p unidist-examples-numeric --bin spmd_array
//! cargo build -p unidist-examples-numeric --features mpi --bin spmd_array && mpiexec -n 4 target/debug/spmd_array
//! ```

use unidist::spmd::ndarray::{Array2, Ix2};
use unidist::spmd::{Communicator, Result, SharedArray};

fn main() -> Result<()> {
    let world = Communicator::world()?;
    // Each host has one copy, initially zero.
    let mut array = SharedArray::<f64, _>::new((3, 5), &world)?;
    if world.rank() == 0 {
        println!("{array}");
    }
    show("made", &array)?;

    // All ranks call `set`, but only the data of rank 0 is used.
    let numbers = Array2::from_shape_fn((2, 3), |(row, column)| (3 * row + column) as f64);
    array.set((world.rank() == 0).then(|| numbers.view()), (1, 1), 0)?;
    show("set", &array)?;

    // With `assign`, the ranks find out which of them has the data.
    let tenfold = &numbers * 10.0;
    array.assign((1, 1), (world.rank() == 0).then(|| tenfold.view()))?;
    show("assigned", &array)?;

    // Any rank can read its host's copy at any time, as an `ndarray` view.
    if world.rank() == world.size() - 1 {
        println!("rank {}: element (2, 3) is {}", world.rank(), array[(2, 3)]);
        println!("rank {}: row 1 adds up to {}", world.rank(), array.view().row(1).sum());
    }
    Ok(())
}

/// Prints the array as each rank sees it, in the order of ranks.
fn show(when: &str, array: &SharedArray<f64, Ix2>) -> Result<()> {
    let world = array.communicator();
    for rank in 0..world.size() {
        if rank == world.rank() {
            let text = format!("rank {rank}, {when}:\n{}\n", array.view());
            print!("{text}"); // a single write, so that output of ranks does not mix
        }
        world.barrier()?;
    }
    Ok(())
}
