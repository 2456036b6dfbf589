//! The program whose processes `cargo xtask chaos` kills: graphs of tasks and actors with known results.
//!
//! `chaos TASKS SECONDS SEED` runs graphs for the given time, and checks every result.

mod graph;
mod remote;

use graph::Graph;
use remote::Oracle;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use unidist::prelude::*;

/// The number of actors.
const ORACLES: usize = 4;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let &[tasks, seconds, seed] = arguments.as_slice() else {
        return Err("usage: chaos TASKS SECONDS SEED".into());
    };
    let _session = unidist::init()?;
    let table = put_slice(&graph::table())?;
    let oracles: Vec<_> = (0..ORACLES).map(|_| Oracle::remote(&table)).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    for seed in seed.. {
        let start = Instant::now();
        let graph = Graph::draw(tasks as usize, seed);
        let expected = graph.values();
        let results = get(&graph.submit(&oracles))?;
        for (at, (result, expected)) in results.iter().zip(&expected).enumerate() {
            if result != expected {
                return Err(format!("seed {seed}, node {at}: {result} instead of {expected}").into());
            }
        }
        println!("seed {seed}: {} results right in {:.1} s", results.len(), start.elapsed().as_secs_f64());
        if Instant::now() >= end {
            break;
        }
    }
    Ok(())
}
