//! The cost of a session: start, end, and idle CPU time.

use super::{Samples, Scale, cores, start_session};
use crate::Result;
use crate::procfs::cpu_time;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use unidist::prelude::*;

pub(super) const WORKERS: usize = 4;
/// After this time, a session on several hosts is idle.
const REST: Duration = Duration::from_secs(5);

#[remote]
fn empty() {}

/// The start and the end of a session with four workers, compared with four empty processes.
pub(super) fn start(scale: Scale, samples: &mut Samples) -> Result {
    let executable = std::env::current_exe()?;
    let times = if scale.environment.allows_several_sessions() { scale.of(4, 8) } else { 1 };
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

/// The number of workers of the idle session.
pub(super) fn idle_workers(scale: Scale) -> usize {
    if scale.environment.is_mpi() { WORKERS } else { cores() }
}

/// The share of a core that all processes of an idle session use together, on all hosts. Of MPI's own processes, only
/// ranks are included.
pub(super) fn idle(scale: Scale, samples: &mut Samples) -> Result {
    let _session = start_session(idle_workers(scale))?;
    let refs: Vec<_> = (0..100).map(|_| empty.remote()).collect();
    get(&refs)?;
    drop(refs);
    std::thread::sleep(if scale.environment.is_mpi() { REST } else { Duration::from_millis(500) });
    let (start, before) = (Instant::now(), cpu_time()?);
    std::thread::sleep(Duration::from_secs(2));
    let (time, used) = (start.elapsed(), cpu_time()?.saturating_sub(before));
    samples.add("CPU of an idle session", used.as_secs_f64() / time.as_secs_f64());
    Ok(())
}
