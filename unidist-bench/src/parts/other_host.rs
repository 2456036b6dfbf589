//! Tasks and objects between two hosts, compared with MPI itself between the same hosts.

use super::calls::{first, while_work_flows};
use super::{Samples, Scale, settle_to, start_session};
use crate::Result;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use unidist::config::Resources;
use unidist::prelude::*;
use unidist::{Session, SharedSlice, get_ip, put_slice};

/// A resource that only the program's own host has.
const HOME: &str = "home";
const SIZE: usize = 64 << 20;
/// After this time without calls, all processes sleep.
const QUIET: Duration = Duration::from_secs(1);

#[remote]
fn empty() {}

#[remote]
fn make(len: usize) -> SharedSlice<u8> {
    match SharedSlice::build(len, |items| items.fill(7)) {
        Ok(slice) => slice,
        Err(error) => panic!("{error}"), // fails the call
    }
}

/// Occupies a worker until the lock of the file is free, without using its CPU.
#[remote]
fn hold(file: PathBuf) {
    let Ok(file) = File::open(file) else { return };
    // An error also frees the worker.
    let _ = flock(file, FlockOperation::LockExclusive);
}

/// A session in which every task runs on another host.
struct Away {
    held: Option<ObjectRef<()>>,
    lock: Option<File>,
    path: PathBuf,
    _session: Session,
}

impl Away {
    /// Starts a session with one worker per host, and occupies this host's worker with a task that needs a resource of
    /// this host. No task is queued behind a task with a resource of its own.
    fn start(scale: Scale) -> Result<Away> {
        if scale.is_home {
            Resources::put([(HOME, 1.0)])?;
        }
        let session = start_session(scale.environment.hosts())?;
        let path = std::env::temp_dir().join(format!("unidist-bench-{}", std::process::id()));
        let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive)?;
        let held = hold.options().resource(HOME, 1.0).remote(path.clone());
        let away = Away { held: Some(held), lock: Some(file), path, _session: session };
        away.check()?;
        Ok(away)
    }

    /// Fails unless tasks run on another host.
    fn check(&self) -> Result {
        let place = || get_ip();
        let here = get_ip()?;
        let refs: [_; 32] = std::array::from_fn(|_| place.remote());
        match get(&refs)?.contains(&here) {
            true => Err("a task ran on this host instead of another one".into()),
            false => Ok(()),
        }
    }

    /// Checks again, and releases this host's worker.
    fn end(mut self) -> Result {
        self.check()?;
        self.lock = None;
        Ok(self.held.take().map_or(Ok(()), get)?)
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.lock = None;
        // If this fails, an empty file is left in the temporary folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn call() -> Result {
    Ok(get(empty.remote())?)
}

fn burst() -> Result {
    let refs: [_; 16] = std::array::from_fn(|_| empty.remote());
    Ok(get(&refs).map(drop)?)
}

/// Calls one after the other: under load, alone, and after a pause; and many calls at once.
pub(super) fn tasks(scale: Scale, samples: &mut Samples) -> Result {
    let away = Away::start(scale)?;
    let count: u32 = scale.of(10_000, 50_000);
    for _ in 0..scale.of(5, 10) {
        while_work_flows(burst, || samples.time("round trip to another host, awake", 25, call))?;
    }
    for _ in 0..scale.of(5, 10) {
        (0..20).try_for_each(|_| call())?;
        samples.time("round trip to another host", 50, call)?;
    }
    samples.cpu("round trip to another host", 500, || (0..500).try_for_each(|_| call()))?;
    for _ in 0..scale.of(2, 4) {
        let rate = samples.cpu("empty tasks on another host", count, || {
            let start = Instant::now();
            let refs: Vec<_> = (0..count).map(|_| empty.remote()).collect();
            get(&refs)?;
            Ok(f64::from(count) / start.elapsed().as_secs_f64())
        })?;
        samples.add("empty tasks on another host", rate);
    }
    for _ in 0..scale.of(4, 8) {
        std::thread::sleep(QUIET);
        samples.time("round trip to another host, after 1 s", 1, call)?;
    }
    away.end()
}

/// 64 MiB made by a task on the other host, and 64 MiB from this host read by a task there. The memory is touched.
pub(super) fn objects(scale: Scale, samples: &mut Samples) -> Result {
    let away = Away::start(scale)?;
    let data = vec![7_u8; SIZE];
    for round in 0..scale.of(4, 8) {
        // One object is left: that of the task that occupies this host's worker.
        settle_to(1)?;
        let made = make.remote(SIZE);
        wait(&made, 1, None)?;
        let start = Instant::now();
        let slice = get(&made)?;
        let from_there = start.elapsed();
        drop((slice, made));
        settle_to(1)?;
        let mine = put_slice(&data)?;
        let start = Instant::now();
        get(first.remote(&mine))?;
        let to_there = start.elapsed();
        drop(mine);
        // The first round touches new memory, which takes several times as long.
        if round > 0 {
            samples.add("get 64 MiB from another host", from_there.as_secs_f64());
            samples.add("task on another host, on 64 MiB", to_there.as_secs_f64());
        }
    }
    settle_to(1)?;
    away.end()
}
