//! Many tasks in flight: the cost of each in time and memory.

use super::{Samples, Scale, cpu_name, start_session};
use crate::Result;
use crate::procfs::{cpu_time, peak_memory, resident_memory};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use unidist::prelude::*;

/// The baseline count; it comes first.
const FEW: u32 = 10_000;

/// The numbers of tasks in flight.
pub(crate) fn counts(scale: Scale) -> Vec<u32> {
    scale.of(vec![FEW, 300_000], vec![FEW, 300_000, 1_000_000])
}

/// The names of the samples.
pub(crate) struct InFlight {
    /// The rate at which they are submitted and done.
    pub(crate) rate: String,
    /// The time to submit one.
    pub(crate) submit: String,
    /// The memory per task when all are submitted.
    pub(crate) memory: String,
    /// The peak memory per task until all results are ready.
    pub(crate) peak: String,
}

/// The names of the samples for `count` tasks.
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

/// Occupies the only worker until the file is removed.
#[remote]
fn hold(file: PathBuf) {
    while file.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Submits the tasks while the worker is occupied, so that all of them are in flight; then releases it.
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
        let (start, cpu_before) = (Instant::now(), cpu_time()?);
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
        let cpu = cpu_time()?.saturating_sub(cpu_before);
        samples.add(cpu_name(&names.rate), cpu.as_secs_f64() / f64::from(count));
        samples.add(&names.submit, submitting.as_secs_f64() / f64::from(count));
        samples.add(&names.rate, f64::from(count) / time.as_secs_f64());
        if repetition == 0 {
            let grown = peak_memory()?.saturating_sub(before);
            samples.add(&names.peak, grown as f64 / f64::from(count));
        }
    }
    Ok(())
}

/// A file that exists until this is dropped.
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
        // If it cannot be removed, the part ends at its time limit.
        let _ = std::fs::remove_file(&self.0);
    }
}
