//! What `/proc` tells of memory and CPU time: see proc_pid_status(5), proc_pid_schedstat(5).

use crate::Result;
use std::path::Path;
use std::time::Duration;

/// Bytes of memory that this process has in use.
pub(crate) fn resident_memory() -> Result<u64> {
    kibibytes("/proc/self/status", "VmRSS:")
}

/// Bytes of memory that this process had in use at the most.
pub(crate) fn most_memory() -> Result<u64> {
    kibibytes("/proc/self/status", "VmHWM:")
}

/// What the first CPU is called.
pub(crate) fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// Bytes of memory that programs can still have.
pub(crate) fn available_memory() -> Result<u64> {
    kibibytes("/proc/meminfo", "MemAvailable:")
}

/// The CPU time that this process and its children have used so far.
pub(crate) fn cpu_time() -> Result<Duration> {
    let this = std::process::id();
    let mut time = cpu_time_of(this)?;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let process = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(process) = process.filter(|&process| parent(process) == Some(this)) {
            time += cpu_time_of(process)?;
        }
    }
    Ok(time)
}

/// The sum over its threads, in nanoseconds: the clock ticks of other files are too coarse.
fn cpu_time_of(process: u32) -> Result<Duration> {
    let mut time = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = read(&thread?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().unwrap_or_default();
        time += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(time))
}

/// The second word after the name, which is in parentheses and may have any characters in it.
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
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
    fn this_process_has_memory_and_uses_time() {
        assert!(resident_memory().unwrap() > 0);
        assert!(most_memory().unwrap() > 0);
        assert!(available_memory().unwrap() > resident_memory().unwrap());
        assert!(cpu_time().unwrap() > Duration::ZERO);
    }
}
