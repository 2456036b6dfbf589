//! Processes: running one with a time limit, and finding those that it left behind.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a process ended, and what it printed.
pub(crate) struct Ended {
    /// `None` if it was killed after the time limit.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) output: String,
}

/// Runs a command in its own process group, which is killed after the time limit.
pub(crate) fn run(command: &mut Command, limit: Duration) -> std::io::Result<Ended> {
    // A file, not a pipe: processes left behind must not block the reader.
    let mut output = File::from(rustix::fs::memfd_create("conformance-output", MemfdFlags::CLOEXEC)?);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()?;
    let status = match wait(&child, limit)? {
        true => Some(child.wait()?),
        false => {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            child.wait()?;
            None
        }
    };
    let mut text = Vec::new();
    output.seek(SeekFrom::Start(0))?;
    output.read_to_end(&mut text)?;
    Ok(Ended { status, output: String::from_utf8_lossy(&text).into_owned() })
}

/// Waits until a child has ended. Returns `false` after the time limit.
fn wait(child: &Child, limit: Duration) -> std::io::Result<bool> {
    wait_for_end(Pid::from_child(child), limit)
}

/// Waits until a process has ended. Returns `false` after the time limit.
pub(crate) fn wait_for_end(process: Pid, limit: Duration) -> std::io::Result<bool> {
    let handle = match pidfd_open(process, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let end = Instant::now() + limit;
    loop {
        let rest = end.saturating_duration_since(Instant::now());
        let rest = Timespec::try_from(rest).map_err(|_| std::io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&rest)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Polls a condition for which there is no event. Returns `false` after the time limit.
pub(crate) fn eventually(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// The other processes with this variable and value in their environment. Zombies have no environment.
pub(crate) fn with_environment(variable: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{variable}={value}");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let others = ids.filter(|id| *id != std::process::id());
    let is_marked = |id: &u32| {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    others.filter(is_marked).collect()
}

/// Whether the process exists and is not a zombie.
pub(crate) fn is_alive(process: u32) -> bool {
    // The name in parentheses may contain any text; the state comes after it.
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    let state = status.ok().and_then(|status| status.rsplit(") ").next()?.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The CPU time that all current threads of a process have used.
pub(crate) fn cpu_time(process: u32) -> Duration {
    // From schedstat, in nanoseconds (see proc_pid_schedstat(5)): sampling by clock ticks overstates threads that wake
    // up briefly and often.
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let times = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    let time: u64 = times.sum();
    if time > 0 {
        return Duration::from_nanos(time);
    }
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = status.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks: u64 = [11, 12].iter().filter_map(|place| fields.get(*place)?.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}
