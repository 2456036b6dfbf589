//! A reduced basis for a heated rod of two materials, made and checked by a worker pool.
//!
//! ```sh
//! cargo run --release -p unidist-examples-numeric --bin pool_reduced_basis
//! cargo run --release -p unidist-examples-numeric --bin pool_reduced_basis -- --sequential
//! ```
//!
//! 1. The full model is solved for a grid of parameters: `map`, an item of the grid a call.
//! 2. Proper orthogonal decomposition of these snapshots gives a basis, Galerkin projection a model of a few unknowns.
//! 3. Both models are solved for parameters drawn by chance, which are scattered: `apply`, each worker its own part.
//!    How far they are apart, for growing bases, is printed and drawn.

mod model;
mod plot;
mod reduction;

use clap::Parser;
use model::{HeatedRod, Parameter};
use nalgebra::DMatrix;
use reduction::ReducedRod;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use unidist::pool::{self, Local, RemoteObjectManager, WorkerPool, each, new_pool};

/// The diffusivities that occur, in both materials.
const DIFFUSIVITIES: (f64, f64) = (0.05, 1.0);

/// Reduce a model of a heated rod of two materials, and see how the error falls as the basis grows.
#[derive(Parser)]
struct Arguments {
    /// How many diffusivities of each material the basis is made from.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    training: u32,
    /// For how many parameters the error is computed.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    tests: u32,
    /// How large the basis gets.
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=50))]
    basis: u32,
    /// The seed from which the parameters of the tests are drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to draw the errors.
    #[arg(long, default_value = "reduced_basis.svg")]
    output: PathBuf,
    /// Do without workers.
    #[arg(long)]
    sequential: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let _session = if arguments.sequential { None } else { Some(unidist::init()?) };
    let pool = new_pool()?.with_seed(arguments.seed); // sequential where there is no session
    let start = Instant::now();
    let errors = errors_by_size(&pool, &arguments)?;
    let seconds = start.elapsed().as_secs_f64();

    println!("basis  worst relative error of {} tests", arguments.tests);
    for (size, error) in (1..).zip(&errors) {
        println!("{size:>5}  {error:.2e}");
    }
    let (first, last) = (errors[0], errors[errors.len() - 1]);
    println!("the error falls by a factor of {:.0}", first / last);
    plot::draw(&arguments.output, &errors)
        .map_err(|error| format!("{}: {error}", arguments.output.display()))?;
    println!("wrote {}; workers: {}, {seconds:.2} s", arguments.output.display(), pool.len());
    Ok(())
}

/// The worst relative error in all tests with a basis of 1, 2, .. vectors.
fn errors_by_size(pool: &WorkerPool, arguments: &Arguments) -> unidist::Result<Vec<f64>> {
    let model = Arc::new(HeatedRod::new(120, 60));
    let manager = RemoteObjectManager::new(); // the workers keep nothing when this function ends
    let on_workers = manager.manage(pool.push(&model)?);

    let snapshots = pool.map(snapshots, (&on_workers, each(grid(arguments.training))))?;
    let basis = reduction::decompose(&snapshots, arguments.basis as usize);
    let reduced = manager.manage(pool.push(&Arc::new(ReducedRod::project(&model, basis)))?);

    let tests = pool.map(draw, (each(0..arguments.tests),))?;
    let tests = manager.manage(pool.scatter_list(tests)?);
    let of_workers = pool.apply(worst_errors, (&on_workers, &reduced, &tests))?;
    Ok(of_workers.into_iter().reduce(worse).unwrap_or_default())
}

/// Runs on any worker, for each parameter of the grid: what the rod is like every few time steps.
fn snapshots(model: Local<HeatedRod>, parameter: Parameter) -> DMatrix<f64> {
    let temperatures = model.solve(parameter);
    temperatures.columns_with_step(0, temperatures.ncols().div_ceil(6), 5).into_owned()
}

/// Runs on any worker: a parameter that depends on the pool's seed and the number of the test alone.
fn draw(_test: u32) -> Parameter {
    let mut numbers = pool::rng();
    [between(numbers.f64()), between(numbers.f64())]
}

/// Runs on each worker: the worst errors in those tests that the worker has, for each size of the basis.
fn worst_errors(
    model: Local<HeatedRod>,
    reduced: Local<ReducedRod>,
    tests: Local<Vec<Parameter>>,
) -> Vec<f64> {
    let mut worst = vec![0.0; reduced.size()];
    for &parameter in tests.iter() {
        let exact = model.solve(parameter);
        let errors = (1..=reduced.size()).map(|size| {
            let approximation = reduced.solve(parameter, size);
            (&exact - approximation).norm() / exact.norm()
        });
        worst = worse(worst, errors.collect());
    }
    worst
}

fn worse(one: Vec<f64>, other: Vec<f64>) -> Vec<f64> {
    one.into_iter().zip(other).map(|(one, other)| one.max(other)).collect()
}

/// All pairs of so many diffusivities.
fn grid(count: u32) -> Vec<Parameter> {
    let values = || (0..count).map(move |step| between(f64::from(step) / f64::from(count - 1)));
    values().flat_map(|left| values().map(move |right| [left, right])).collect()
}

/// The diffusivity at this part of the way from the smallest to the largest, on a logarithmic scale.
fn between(part: f64) -> f64 {
    let (least, most) = DIFFUSIVITIES;
    least * (most / least).powf(part)
}
