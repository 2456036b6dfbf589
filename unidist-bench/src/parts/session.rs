//! What a session costs by itself.

use super::{Samples, Scale, cores, start_session};
use crate::Result;
use crate::processes::cpu_time;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use unidist::prelude::*;

pub(super) const WORKERS: usize = 4;
/// After so long a session between hosts is as quiet as it gets.
const REST: Duration = Duration::from_secs(5);

#[remote]
fn empty() {}

/// The start and the end of a session with four workers, beside four processes that do nothing.
pub(super) fn start(scale: Scale, samples: &mut Samples) -> Result {
    let executable = std::env::current_exe()?;
    let times = if scale.place.allows_several_sessions() { scale.of(4, 8) } else { 1 };
    for _ in 0..times {
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

/// How many workers there are while nothing happens.
pub(super) fn idle_workers(scale: Scale) -> usize {
    if scale.place.is_mpi() { WORKERS } else { cores() }
}

/// The share of a core that all processes of a session use together, on whatever host, while there is nothing to do.
/// What MPI itself has started is not among them, but for the ranks.
pub(super) fn idle(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(idle_workers(scale))?;
    let refs: Vec<_> = (0..100).map(|_| empty.remote()).collect();
    get(&refs)?;
    drop(refs);
    std::thread::sleep(if scale.place.is_mpi() { REST } else { Duration::from_millis(500) });
    let (start, before) = (Instant::now(), cpu_time()?);
    std::thread::sleep(Duration::from_secs(2));
    let (time, used) = (start.elapsed(), cpu_time()?.saturating_sub(before));
    samples.add("CPU of an idle session", used.as_secs_f64() / time.as_secs_f64());
    Ok(())
}
