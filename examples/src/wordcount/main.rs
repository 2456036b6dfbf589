//! Counts the words in all text files in a folder: map tasks over batches of files, then a reduction.
//!
//! ```sh
//! cargo run --release -p unidist-examples --bin wordcount -- unidist-core
//! cargo run --release -p unidist-examples --bin wordcount -- unidist-core --sequential
//! ```
//!
//! Why the parallel version is efficient: the workers read the files, so only paths are sent to them. Each map task
//! counts into one table and returns it in [`PARTITIONS`] parts, split by the words' hashes, as separate objects; so
//! the parts are merged in parallel, and the controller never receives them. A merge borrows the words from its
//! inputs. The last merge of a part returns only its most frequent words, since those of the whole are among them.

mod count;
mod files;

use clap::Parser;
use count::{Counter, Counts, PARTITIONS, Summary, Words};
use files::{Files, Skipped};
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use unidist::as_completed;
use unidist::config::Backend;
use unidist::prelude::*;

/// Number of words to print.
const TOP: usize = 20;
/// Number of tables per merge.
const FAN_IN: usize = 8;
/// Map tasks per CPU: enough to even out the differences between batches.
const BATCHES_PER_CPU: usize = 4;
/// Maximum bytes in a batch, to bound memory and to show progress.
const MAX_BATCH_BYTES: u64 = 64 << 20;

/// Count the words in all text files in a folder and print the most frequent ones.
#[derive(Parser)]
struct Arguments {
    /// The folder.
    folder: PathBuf,
    /// Count in this process, without tasks, for comparison.
    #[arg(long)]
    sequential: bool,
}

/// The result of a run.
struct Outcome {
    summary: Summary,
    skipped: Vec<Skipped>,
    took: Duration,
    how: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let files = Files::below(&arguments.folder)?;
    let count = files.found.len();
    let mut outcome = match arguments.sequential {
        true => sequential(files),
        false => parallel(files)?,
    };
    outcome.skipped.sort();
    for skipped in &outcome.skipped {
        eprintln!("skipped {skipped}");
    }
    let Summary { words, distinct, .. } = outcome.summary;
    for (word, count) in &outcome.summary.top {
        println!("{count:>10} {word}");
    }
    println!(
        "{words} words, {distinct} different ones, in {count} files found, {} skipped",
        outcome.skipped.len()
    );
    println!("counted in {:.3} s {}", outcome.took.as_secs_f64(), outcome.how);
    Ok(())
}

fn sequential(files: Files) -> Outcome {
    let start = Instant::now();
    let paths: Vec<OsString> = files.found.into_iter().map(|file| file.path).collect();
    let (counter, mut skipped) = count_files(&paths);
    let summary = counter.words().summary(TOP);
    skipped.extend(files.skipped);
    Outcome { summary, skipped, took: start.elapsed(), how: "sequentially".to_owned() }
}

fn parallel(files: Files) -> unidist::Result<Outcome> {
    let session = unidist::init()?;
    let cpus = unidist::num_cpus()?;
    let start = Instant::now();
    let batches = files::balance(files.found, cpus * BATCHES_PER_CPU, MAX_BATCH_BYTES);
    let mut tasks = batches.len();

    let mut reports = Vec::with_capacity(batches.len());
    let mut partitions: [Vec<ObjectRef<Counts>>; PARTITIONS] = Default::default();
    for batch in batches {
        let (report, a, b, c, d) = count_batch.options().num_returns::<5>().remote(batch);
        reports.push(report);
        for (partition, counts) in partitions.iter_mut().zip([a, b, c, d]) {
            partition.push(counts);
        }
    }
    let mut summaries = Vec::with_capacity(PARTITIONS);
    for mut level in partitions {
        while level.len() > FAN_IN {
            level = level.chunks(FAN_IN).map(|counts| merge.remote(counts.to_vec())).collect();
            tasks += level.len();
        }
        summaries.push(summarize.remote(level));
        tasks += 1;
    }

    let skipped = show_progress(reports)?;
    let summary = get(summaries)?.into_iter().fold(Summary::default(), |all, part| all.join(part, TOP));
    let took = start.elapsed();
    drop(session); // waits for running tasks, then stops the workers
    Ok(Outcome {
        summary,
        skipped: skipped.into_iter().chain(files.skipped).collect(),
        took,
        how: format!("by {tasks} tasks on backend {} with {cpus} CPUs", Backend::get()?),
    })
}

/// Waits for the map tasks, with a progress bar on a terminal, and returns the files they could not read.
fn show_progress(reports: Vec<ObjectRef<Vec<Skipped>>>) -> unidist::Result<Vec<Skipped>> {
    let bar = ProgressBar::new(reports.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} batches [{elapsed}]") {
        bar.set_style(style);
    }
    let mut skipped = Vec::new();
    for report in as_completed(reports, None) {
        skipped.extend(get(report?)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(skipped)
}

/// The words of a batch of files, in parts, after what could not be read.
#[remote]
fn count_batch(paths: Vec<OsString>) -> (Vec<Skipped>, Counts, Counts, Counts, Counts) {
    let (counter, skipped) = count_files(&paths);
    let [a, b, c, d] = counter.words().partition();
    (skipped, a, b, c, d)
}

/// Several tables as one.
#[remote]
fn merge(counts: Vec<Counts>) -> Counts {
    Words::merge(&counts).to_counts()
}

/// The most frequent words of several tables.
#[remote]
fn summarize(counts: Vec<Counts>) -> Summary {
    Words::merge(&counts).summary(TOP)
}

fn count_files(paths: &[OsString]) -> (Counter, Vec<Skipped>) {
    let mut counter = Counter::default();
    let mut skipped = Vec::new();
    let mut text = Vec::new();
    for path in paths {
        match files::read(path, &mut text) {
            Ok(text) => counter.count(text),
            Err(reason) => skipped.push(Skipped::new(path, reason)),
        }
    }
    (counter, skipped)
}
