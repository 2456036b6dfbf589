//! `simulate`: many seeded simulations of the scheduler.

use crate::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use unidist_engine::simulation::{Options, Violation, simulate};

/// The arguments of `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 5000)]
    seeds: u64,
    /// The first seed; with `--seeds 1`, a failure is replayed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print every event and every action; with `--seeds 1`.
    #[arg(long)]
    trace: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let seeds = arguments.from..arguments.from.saturating_add(arguments.seeds);
    let bar = ProgressBar::new(arguments.seeds);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left") {
        bar.set_style(style);
    }
    let (steps, violations) = run_all(&seeds, &bar, arguments.trace);
    bar.finish_and_clear();
    violations.iter().for_each(|violation| eprintln!("{violation}"));
    let failed = violations.len() as u64;
    println!("simulation: {} seeds, {steps} steps", arguments.seeds);
    println!("{} passed, {failed} failed", arguments.seeds - failed);
    match violations.first() {
        None => Ok(()),
        Some(first) => {
            Err(format!("replay with `cargo xtask simulate --from {} --seeds 1`", first.seed).into())
        }
    }
}

fn options(seed: u64, trace: bool) -> Options {
    let trace: Option<fn(std::fmt::Arguments<'_>)> =
        if trace { Some(|line| eprintln!("{line}")) } else { None };
    // Where processes die, a call that hangs is sure to end one day: so in some they do not.
    Options { cpus: 1 + seed as usize % 4, deaths: !seed.is_multiple_of(5), trace, ..Options::default() }
}

/// Runs all seeds on all cores; returns the number of steps and what was violated, by seed.
fn run_all(seeds: &Range<u64>, bar: &ProgressBar, trace: bool) -> (u64, Vec<Violation>) {
    let (next, steps, violations) = (AtomicU64::new(seeds.start), AtomicU64::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match simulate(seed, &options(seed, trace)) {
                        Ok(more) => {
                            steps.fetch_add(more, Ordering::Relaxed);
                        }
                        Err(violation) => {
                            violations.lock().unwrap_or_else(|e| e.into_inner()).push(violation)
                        }
                    }
                    bar.inc(1);
                }
            });
        }
    });
    let mut violations = violations.into_inner().unwrap_or_else(|e| e.into_inner());
    violations.sort_by_key(|violation| violation.seed);
    (steps.into_inner(), violations)
}
