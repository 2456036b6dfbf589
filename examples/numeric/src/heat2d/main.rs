//! The heat equation on an insulated plate, with explicit finite differences.
//!
//! ```sh
//! cargo run --release -p unidist-examples-numeric --bin heat2d -- --check
//! cargo build --release -p unidist-examples-numeric --features mpi --bin heat2d
//! mpiexec -n 4 target/release/heat2d --rows 2000 --columns 2000
//! ```
//!
//! Each rank owns a strip of rows. Its neighbours need its first and last row, which go through a shared array: in
//! each step all ranks set their two rows together, and read one row of each neighbour. On one host both are memory
//! accesses. At the end the strips are set in a second shared array, which the first rank draws.

mod picture;
mod strip;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use strip::Strip;
use unidist::spmd::ndarray::{ArrayView2, Ix2};
use unidist::spmd::{self, Communicator, SharedArray, exception_guard};

/// Compute how heat spreads from hot spots on a plate, and draw the result.
#[derive(Parser)]
struct Arguments {
    /// Number of rows of points on the plate.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rows: u32,
    /// Number of points per row.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    columns: u32,
    /// Number of time steps.
    #[arg(long, default_value_t = 1000)]
    steps: u64,
    /// Number of hot spots at the beginning.
    #[arg(long, default_value_t = 20)]
    spots: u32,
    /// Seed for the positions of the spots.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also compute on one rank, and check that all numbers are equal.
    #[arg(long)]
    check: bool,
    /// Where to write the picture.
    #[arg(long, default_value = "heat2d.png")]
    output: PathBuf,
}

impl Arguments {
    fn shape(&self) -> (usize, usize) {
        (self.rows as usize, self.columns as usize)
    }
}

fn main() -> Result<ExitCode, spmd::Error> {
    let arguments = Arguments::parse();
    let world = Communicator::world()?;
    // The guard keeps ranks from waiting for a failed rank.
    match exception_guard(&world, || run(&arguments, &world)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(spmd::Error::Failed { .. }) => Ok(ExitCode::FAILURE), // the guard has printed the cause
        Err(error) => Err(error),
    }
}

fn run(arguments: &Arguments, world: &Communicator) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let plate = solve(arguments, world)?;
    let seconds = start.elapsed().as_secs_f64();
    if world.rank() > 0 {
        return Ok(());
    }
    let plate = plate.view();
    let (rows, columns) = arguments.shape();
    println!("{rows} x {columns} points, {} steps", arguments.steps);
    println!(
        "temperatures from {:.6} to {:.6}, {:.6} on average",
        minimum(plate),
        maximum(plate),
        average(plate)
    );
    if arguments.check {
        let alone = solve(arguments, &Communicator::alone())?;
        let differ =
            plate.iter().zip(alone.view()).filter(|(one, two)| one.to_bits() != two.to_bits()).count();
        if differ > 0 {
            return Err(format!("{differ} numbers are others than on one rank").into());
        }
        println!("all numbers are those of one rank");
    }
    picture::write(&arguments.output, plate)
        .map_err(|error| format!("{}: {error}", arguments.output.display()))?;
    println!(
        "wrote {}: computed in {seconds:.2} s, ranks: {}, hosts: {}",
        arguments.output.display(),
        world.size(),
        world.hosts()
    );
    Ok(())
}

/// The plate after all steps, on each host.
fn solve(arguments: &Arguments, ranks: &Communicator) -> Result<SharedArray<f64, Ix2>, Box<dyn Error>> {
    let (rows, columns) = arguments.shape();
    let (rank, size) = (ranks.rank(), ranks.size());
    if rows < size {
        return Err(format!("{rows} rows are too few for {size} ranks").into());
    }
    let first_row = |rank: usize| rank * rows / size;
    let mut strip = Strip::new(first_row(rank)..first_row(rank + 1), columns);
    for spot in strip::spots(arguments.spots, arguments.seed, rows, columns) {
        strip.heat(&spot);
    }

    let bar = if rank == 0 { ProgressBar::new(arguments.steps) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} steps [{elapsed}]")?);
    // The first and the last row of each rank.
    let mut edges = SharedArray::<f64, _>::new((2 * size, columns), ranks)?;
    for _ in 0..arguments.steps {
        edges.set_each(Some(strip.edges().view()), (2 * rank, 0))?;
        let edges = edges.view();
        let above = rank.checked_sub(1).map(|above| edges.row(2 * above + 1));
        let below = (rank + 1 < size).then(|| edges.row(2 * (rank + 1)));
        strip.step(above, below);
        bar.inc(1);
    }
    bar.finish_and_clear();

    let mut plate = SharedArray::new((rows, columns), ranks)?;
    plate.set_each(Some(strip.rows()), (first_row(rank), 0))?;
    Ok(plate)
}

fn minimum(plate: ArrayView2<'_, f64>) -> f64 {
    plate.iter().copied().fold(f64::INFINITY, f64::min)
}

fn maximum(plate: ArrayView2<'_, f64>) -> f64 {
    plate.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn average(plate: ArrayView2<'_, f64>) -> f64 {
    plate.sum() / plate.len() as f64
}
