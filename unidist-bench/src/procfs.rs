//! Memory and CPU time from `/proc`: see proc_pid_status(5), proc_pid_schedstat(5).

use crate::Result;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The resident memory of this process, in bytes.
pub(crate) fn resident_memory() -> Result<u64> {
    kibibytes("/proc/self/status", "VmRSS:")
}

/// The peak resident memory of this process, in bytes.
pub(crate) fn peak_memory() -> Result<u64> {
    kibibytes("/proc/self/status", "VmHWM:")
}

/// The name of this host.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The model name of the first CPU.
pub(crate) fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// The memory available to programs, in bytes.
pub(crate) fn available_memory() -> Result<u64> {
    kibibytes("/proc/meminfo", "MemAvailable:")
}

/// The CPU time that all processes of this session have used so far: the controller, the workers, and with MPI the
/// monitors.
pub(crate) fn cpu_time() -> Result<Duration> {
    let mut time = cpu_time_of(std::process::id())?;
    for process in session()? {
        time += cpu_time_of(process)?;
    }
    Ok(time)
}

/// The other processes of this session: they run the same executable with the same arguments. On virtual hosts of this
/// machine they are visible too.
fn session() -> Result<Vec<u32>> {
    let this = std::process::id();
    let executable = std::fs::read_link("/proc/self/exe")?;
    let words: Vec<u8> = std::fs::read("/proc/self/cmdline")?;
    let arguments = words.iter().position(|&byte| byte == 0).map_or(&[][..], |end| &words[end..]);
    let is_of_session = |process: &u32| {
        let folder = PathBuf::from(format!("/proc/{process}"));
        *process != this
            && std::fs::read_link(folder.join("exe")).is_ok_and(|other| other == executable)
            && std::fs::read(folder.join("cmdline")).is_ok_and(|words| words.ends_with(arguments))
    };
    let entries = std::fs::read_dir("/proc")?.flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(processes.filter(is_of_session).collect())
}

/// Waits for the end of all other processes of this executable, which has its own name in each run, and kills them
/// after the grace period.
pub(crate) fn end_leftovers(grace: Duration) -> Result {
    let this = std::process::id();
    let executable = std::fs::read_link("/proc/self/exe")?;
    let deadline = Instant::now() + grace;
    loop {
        let entries = std::fs::read_dir("/proc")?.flatten();
        let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let runs_it = |process: &u32| {
            std::fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|other| other == executable)
        };
        let left: Vec<_> = processes.filter(|process| *process != this).filter(runs_it).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            for pid in left.iter().filter_map(|process| Pid::from_raw(i32::try_from(*process).ok()?)) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
            return Err(format!("processes did not end and were killed: {left:?}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The sum over the threads of a process, from schedstat: the clock ticks of other files are too coarse.
fn cpu_time_of(process: u32) -> Result<Duration> {
    let mut time = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = read(&thread?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().unwrap_or_default();
        time += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(time))
}

fn kibibytes(file: &str, field: &str) -> Result<u64> {
    let text = read(Path::new(file))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    let number = number.ok_or_else(|| format!("{file} has no {field}"))?;
    Ok(number.parse::<u64>()? * 1024)
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_process_has_memory_and_cpu_time() {
        assert!(resident_memory().unwrap() > 0);
        assert!(peak_memory().unwrap() > 0);
        assert!(available_memory().unwrap() > resident_memory().unwrap());
        assert!(cpu_time().unwrap() > Duration::ZERO);
    }
}
