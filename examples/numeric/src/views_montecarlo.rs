//! Estimates π by random sampling with views, as in ipyparallel: once with the seeds scattered to the engines, once
//! balanced.
//!
//! ```sh
//! cargo run --release -p unidist-examples-numeric --bin views_montecarlo
//! UNIDIST_BACKEND=pyseq cargo run --release -p unidist-examples-numeric --bin views_montecarlo -- --darts 1000000
//! ```

use clap::Parser;
use std::error::Error;
use std::f64::consts::PI;
use unidist::config::Backend;
use unidist::fallible;
use unidist::view::{self, Client, Distribution, Reference};

/// Estimate π from the number of random points in a square that are inside its circle.
#[derive(Parser)]
struct Arguments {
    /// Number of darts (random points); both methods throw them all.
    #[arg(long, default_value_t = 20_000_000)]
    darts: u64,
    /// Number of series into which the darts are split, each with its own seed.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    series: u64,
}

/// The number of darts that hit.
fn hits(seed: u64, darts: u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..darts).filter(|_| random.f64().powi(2) + random.f64().powi(2) < 1.0).count() as u64
}

/// Throws one series per seed of the engine, and stores the numbers of hits in its namespace.
fn throw(seeds: Vec<u64>, darts: u64) -> view::Result<()> {
    let hits: Vec<u64> = seeds.into_iter().map(|seed| hits(seed, darts)).collect();
    view::namespace()?.set("hits", hits);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { darts, series } = Arguments::parse();
    let each = darts.div_ceil(series);
    let total = each * series;
    let seeds: Vec<u64> = (1..=series).collect();

    let _session = unidist::init()?;
    let client = Client::new()?;

    // Each engine has a part of the seeds, and keeps its results until they are gathered.
    let all = client.view(..)?.label("scattered");
    all.scatter("seeds", &seeds, Distribution::RoundRobin).get(None)?;
    let thrown = all.apply(fallible(throw), (Reference::new("seeds"), each));
    thrown.wait_interactive(None);
    thrown.get(None)?;
    let scattered: Vec<u64> = all.gather("hits", Distribution::RoundRobin).get(None)?;

    // Each series is a task for the least busy engine.
    let balanced = client.load_balanced_view(..)?.label("balanced");
    let thrown =
        balanced.map(|(seed, darts): (u64, u64)| hits(seed, darts), seeds.iter().map(|seed| (*seed, each)));
    thrown.wait_interactive(None);
    if thrown.get(None)? != scattered {
        return Err("the same seeds gave different numbers of hits".into());
    }

    let estimate = 4.0 * scattered.iter().sum::<u64>() as f64 / total as f64;
    // A deviation above six standard deviations is not random.
    let allowed = 6.0 * (PI * (4.0 - PI) / total as f64).sqrt();
    if (estimate - PI).abs() > allowed {
        return Err(format!("{estimate} is too far from π, by more than {allowed:.2e}").into());
    }
    println!("π is about {estimate:.6}, from {total} darts in {series} series");
    println!(
        "{} engines (backend {}), {:.2} s of work in {:.2} s",
        all.len(),
        Backend::get()?,
        thrown.serial_time().as_secs_f64(),
        thrown.wall_time().as_secs_f64()
    );
    Ok(())
}
