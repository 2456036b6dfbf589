//! Very many tasks at once: what each costs in time and in memory.

use super::{Samples, Scale, start_session};
use crate::Result;
use crate::processes::{most_memory, resident_memory};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use unidist::prelude::*;

/// The others are compared with these, which come first.
const FEW: u32 = 10_000;

/// How many tasks there are at once.
pub(crate) fn counts(scale: Scale) -> Vec<u32> {
    scale.of(vec![FEW, 300_000], vec![FEW, 300_000, 1_000_000])
}

/// The names of the samples.
pub(crate) struct InFlight {
    /// How fast they are submitted and done.
    pub(crate) rate: String,
    /// How long it takes to submit one.
    pub(crate) submit: String,
    /// What each takes when all have been submitted.
    pub(crate) memory: String,
    /// What each takes at the most, until all results are there.
    pub(crate) peak: String,
}

/// The names of the samples for so many tasks.
pub(crate) fn names(count: u32) -> InFlight {
    InFlight {
        rate: format!("tasks in flight: {count}"),
        submit: format!("submit one of {count}"),
        memory: format!("memory a task, of {count}"),
        peak: format!("memory a task at the peak, of {count}"),
    }
}

#[remote]
fn empty() {}

/// Holds the only worker until the file is gone.
#[remote]
fn hold(file: PathBuf) {
    while file.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Submits the tasks while the worker is held, so that all of them are in flight; then lets it go.
pub(super) fn tasks(count: u32, samples: &mut Samples) -> Result {
    let _session = start_session(1)?;
    let refs: Vec<_> = (0..1_000).map(|_| empty.remote()).collect();
    get(&refs)?;
    drop(refs);
    let before = resident_memory()?;
    let names = names(count);
    for repetition in 0..(100_000 / count).max(1) {
        let barrier = Barrier::new()?;
        let held = hold.remote(barrier.0.clone());
        let start = Instant::now();
        let refs: Vec<_> = (0..count).map(|_| empty.remote()).collect();
        let submitting = start.elapsed();
        if repetition == 0 {
            let grown = resident_memory()?.saturating_sub(before);
            samples.add(&names.memory, grown as f64 / f64::from(count));
        }
        let start = Instant::now();
        drop(barrier);
        get(&held)?;
        get(&refs)?;
        let time = submitting + start.elapsed();
        samples.add(&names.submit, submitting.as_secs_f64() / f64::from(count));
        samples.add(&names.rate, f64::from(count) / time.as_secs_f64());
        if repetition == 0 {
            let grown = most_memory()?.saturating_sub(before);
            samples.add(&names.peak, grown as f64 / f64::from(count));
        }
    }
    Ok(())
}

/// A file that is there until this is dropped.
struct Barrier(PathBuf);

impl Barrier {
    fn new() -> Result<Barrier> {
        let file: &Path = &std::env::temp_dir().join(format!("unidist-bench-{}", std::process::id()));
        std::fs::write(file, "").map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Barrier(file.into()))
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        // If it cannot be removed, the part ends at its limit of time.
        let _ = std::fs::remove_file(&self.0);
    }
}
