//! A reduced basis for a heated rod of two materials, computed and checked by a worker pool.
//!
//! ```sh
//! cargo run --release -p unidist-examples-numeric --bin pool_reduced_basis
//! cargo run --release -p unidist-examples-numeric --bin pool_reduced_basis -- --sequential
//! ```
//!
//! 1. The full model is solved for a grid of parameters: `map`, one call per item of the grid.
//! 2. Proper orthogonal decomposition of these snapshots gives a basis, and Galerkin projection a model with few
//!    unknowns.
//! 3. Both models are solved for random parameters, which are scattered: `apply`, each worker for its own part. The
//!    difference of the models, for growing bases, is printed and drawn.

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

/// The range of diffusivities of both materials.
const DIFFUSIVITIES: (f64, f64) = (0.05, 1.0);

/// Reduce a model of a heated rod of two materials, and show how the error falls as the basis grows.
#[derive(Parser)]
struct Arguments {
    /// Number of diffusivities of each material in the training grid.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    training: u32,
    /// Number of random parameters for which the error is computed.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    tests: u32,
    /// Maximum size of the basis.
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=50))]
    basis: u32,
    /// Seed for the random parameters.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the plot of the errors.
    #[arg(long, default_value = "reduced_basis.svg")]
    output: PathBuf,
    /// Run without workers.
    #[arg(long)]
    sequential: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let _session = if arguments.sequential { None } else { Some(unidist::init()?) };
    let pool = new_pool()?.with_seed(arguments.seed); // sequential without a session
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

/// Runs on any worker, for each parameter of the grid: the temperatures at every few time steps.
fn snapshots(model: Local<HeatedRod>, parameter: Parameter) -> DMatrix<f64> {
    let temperatures = model.solve(parameter);
    temperatures.columns_with_step(0, temperatures.ncols().div_ceil(6), 5).into_owned()
}

/// Runs on any worker: a parameter that depends on the pool's seed and the number of the test alone.
fn draw(_test: u32) -> Parameter {
    let mut numbers = pool::rng();
    [between(numbers.f64()), between(numbers.f64())]
}

/// Runs on each worker: the worst errors of the worker's tests, for each size of the basis.
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

/// All pairs of `count` diffusivities.
fn grid(count: u32) -> Vec<Parameter> {
    let values = || (0..count).map(move |step| between(f64::from(step) / f64::from(count - 1)));
    values().flat_map(|left| values().map(move |right| [left, right])).collect()
}

/// Interpolates between the smallest (0) and the largest (1) diffusivity, on a logarithmic scale.
fn between(part: f64) -> f64 {
    let (min, max) = DIFFUSIVITIES;
    min * (max / min).powf(part)
}
