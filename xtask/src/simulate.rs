//! `simulate`: many seeded simulations of the scheduler.

use crate::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use unidist_engine::simulation::{Digest, Options, Violation, simulate};

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
    /// Print one digest over all events and actions of all seeds: equal before and after a change of the code that
    /// leaves the scheduler's decisions as they were.
    #[arg(long)]
    digest: bool,
    /// Fail unless the digest is this one (hexadecimal).
    #[arg(long, value_name = "DIGEST", value_parser = parse_digest)]
    expect: Option<u64>,
}

fn parse_digest(text: &str) -> std::result::Result<u64, std::num::ParseIntError> {
    u64::from_str_radix(text, 16)
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let seeds = arguments.from..arguments.from.saturating_add(arguments.seeds);
    let bar = ProgressBar::new(arguments.seeds);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left") {
        bar.set_style(style);
    }
    let (steps, digest, violations) = run_all(&seeds, &bar, arguments.trace);
    bar.finish_and_clear();
    violations.iter().for_each(|violation| eprintln!("{violation}"));
    let failed = violations.len() as u64;
    println!("simulation: {} seeds, {steps} steps", arguments.seeds);
    if arguments.digest || arguments.expect.is_some() {
        println!("digest of {} seeds: {digest:016x}", arguments.seeds);
    }
    println!("{} passed, {failed} failed", arguments.seeds - failed);
    if let Some(first) = violations.first() {
        return Err(format!("replay with `cargo xtask simulate --from {} --seeds 1`", first.seed).into());
    }
    match arguments.expect {
        Some(expected) if expected != digest => Err(format!(
            "the scheduler decides otherwise than before: the digest was {expected:016x}. Where that is intended, say \
             so in the commit and write the new digest where the old one was given"
        )
        .into()),
        _ => Ok(()),
    }
}

fn options(seed: u64, trace: bool) -> Options {
    let trace: Option<fn(std::fmt::Arguments<'_>)> =
        if trace { Some(|line| eprintln!("{line}")) } else { None };
    // Where processes die, a call that hangs is sure to end one day: so in some they do not.
    Options { cpus: 1 + seed as usize % 4, deaths: !seed.is_multiple_of(5), trace, ..Options::default() }
}

/// Runs all seeds on all cores; returns the number of steps, the digest of all seeds, and what was violated, by seed.
fn run_all(seeds: &Range<u64>, bar: &ProgressBar, trace: bool) -> (u64, u64, Vec<Violation>) {
    let next = AtomicU64::new(seeds.start);
    let (done, violations) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
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
                        Ok(summary) => {
                            done.lock().unwrap_or_else(|e| e.into_inner()).push((seed, summary));
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
    let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    done.sort_by_key(|(seed, _)| *seed);
    let mut digest = Digest::default();
    for (seed, summary) in &done {
        digest.add(*seed);
        digest.add(summary.digest);
    }
    let mut violations = violations.into_inner().unwrap_or_else(|e| e.into_inner());
    violations.sort_by_key(|violation| violation.seed);
    (done.iter().map(|(_, summary)| summary.steps).sum(), digest.value(), violations)
}
