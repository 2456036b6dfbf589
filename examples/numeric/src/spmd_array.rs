//! An array that the ranks of a job share: one of them sets a part, all of them see it.
//!
//! ```sh
//! cargo run -p unidist-examples-numeric --bin spmd_array
//! cargo build -p unidist-examples-numeric --features mpi --bin spmd_array && mpiexec -n 4 target/debug/spmd_array
//! ```

use unidist::spmd::ndarray::{Array2, Ix2};
use unidist::spmd::{Communicator, Result, SharedArray};

fn main() -> Result<()> {
    let world = Communicator::world()?;
    // Each host has one copy of it, of zeros at first.
    let mut array = SharedArray::<f64, _>::new((3, 5), &world)?;
    if world.rank() == 0 {
        println!("{array}");
    }
    show("made", &array)?;

    // All ranks call `set` together, but only what rank 0 passes counts.
    let numbers = Array2::from_shape_fn((2, 3), |(row, column)| (3 * row + column) as f64);
    array.set((world.rank() == 0).then(|| numbers.view()), (1, 1), 0)?;
    show("set", &array)?;

    // With `assign`, the ranks find out which of them has the data.
    let tenfold = &numbers * 10.0;
    array.assign((1, 1), (world.rank() == 0).then(|| tenfold.view()))?;
    show("assigned", &array)?;

    // Any rank reads its host's copy, at any time, as a view of `ndarray`.
    if world.rank() == world.size() - 1 {
        println!("rank {}: element (2, 3) is {}", world.rank(), array[(2, 3)]);
        println!("rank {}: row 1 adds up to {}", world.rank(), array.view().row(1).sum());
    }
    Ok(())
}

/// Has each rank say what it sees, when those before it have.
fn show(when: &str, array: &SharedArray<f64, Ix2>) -> Result<()> {
    let world = array.communicator();
    for rank in 0..world.size() {
        if rank == world.rank() {
            let text = format!("rank {rank}, {when}:\n{}\n", array.view());
            print!("{text}"); // in one piece
        }
        world.barrier()?;
    }
    Ok(())
}
