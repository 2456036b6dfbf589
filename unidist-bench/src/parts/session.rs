//! What a session costs by itself.

use super::{Samples, Scale, cores, start_session};
use crate::Result;
use crate::processes::cpu_time;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use unidist::prelude::*;

const WORKERS: usize = 4;

#[remote]
fn empty() {}

/// The start and the end of a session with four workers, beside four processes that do nothing.
pub(super) fn start(scale: Scale, samples: &mut Samples) -> Result {
    let executable = std::env::current_exe()?;
    for _ in 0..scale.of(4, 8) {
        let start = Instant::now();
        let session = start_session(WORKERS)?;
        let started = start.elapsed();
        drop(session);
        let ended = start.elapsed();
        samples.add("init", started.as_secs_f64());
        samples.add("shutdown", (ended - started).as_secs_f64());
        samples.add("init and shutdown", ended.as_secs_f64());
        samples.time("bare processes", 1, || {
            let process = |_| Command::new(&executable).arg("nothing").stdin(Stdio::null()).spawn();
            let mut processes = (0..WORKERS).map(process).collect::<std::io::Result<Vec<_>>>()?;
            Ok(processes.iter_mut().try_for_each(|process| process.wait().map(drop))?)
        })?;
    }
    Ok(())
}

/// The share of a core that all processes of a session use together while there is nothing to do.
pub(super) fn idle(_: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(cores())?;
    let refs: Vec<_> = (0..100).map(|_| empty.remote()).collect();
    get(&refs)?;
    drop(refs);
    std::thread::sleep(Duration::from_millis(500));
    let (start, before) = (Instant::now(), cpu_time()?);
    std::thread::sleep(Duration::from_secs(2));
    let (time, used) = (start.elapsed(), cpu_time()?.saturating_sub(before));
    samples.add("CPU of an idle session", used.as_secs_f64() / time.as_secs_f64());
    Ok(())
}
