//! Defaults that depend on the machine.

use crate::cgroup;
use crate::parse::ByteCount;
use std::num::NonZeroUsize;

/// The CPUs of this process: by its affinity, and by the quota of its control group.
pub(crate) fn available_cpus() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Half of the memory that this process and its workers can have, and no more than one file may hold.
pub(crate) fn half_of_available_memory() -> ByteCount {
    let read = |path| std::fs::read_to_string(path).ok();
    let limits = read("/proc/self/limits").unwrap_or_default();
    ByteCount(store_limit(
        read("/proc/meminfo").and_then(|meminfo| available_memory(&meminfo)),
        cgroup::memory_limit(),
        process_limit(&limits, "Max address space"),
        process_limit(&limits, "Max file size"),
    ))
}

/// The memory that this process and its workers can have at most; `None` if the system does not say.
pub(crate) fn total_memory() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = meminfo.and_then(|meminfo| memory_in(&meminfo, "MemTotal:"));
    machine.into_iter().chain(cgroup::memory_limit()).min()
}

fn store_limit(
    available: Option<u64>,
    control_group: Option<u64>,
    address_space: Option<u64>,
    file_size: Option<u64>,
) -> u64 {
    const IF_UNKNOWN: u64 = 2 << 30;
    /// The store's file has a header.
    const HEADER: u64 = 64 << 10;
    let memory = [Some(available.unwrap_or(IF_UNKNOWN)), control_group, address_space];
    let half = memory.into_iter().flatten().min().unwrap_or(IF_UNKNOWN) / 2;
    half.min(file_size.map_or(u64::MAX, |size| size.saturating_sub(HEADER))).max(1)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes (see proc_meminfo(5)).
fn available_memory(meminfo: &str) -> Option<u64> {
    memory_in(meminfo, "MemAvailable:")
}

/// A line of `/proc/meminfo`, in bytes.
fn memory_in(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// A soft limit in `/proc/self/limits` (see proc_pid_limits(5)); `None` if it is unlimited.
fn process_limit(limits: &str, name: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_parsed() {
        let meminfo =
            "MemTotal:       24576000 kB\nMemFree:  1 kB\nMemAvailable:   20480000 kB\nBuffers: 0 kB\n";
        assert_eq!(available_memory(meminfo), Some(20_480_000 * 1024));
        assert_eq!(available_memory("MemTotal: 1 kB\n"), None);
        assert_eq!(available_memory("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn process_limit_is_the_soft_one() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max file size             1048576              unlimited            bytes     \n\
                      Max address space         unlimited            unlimited            bytes     \n";
        assert_eq!(process_limit(limits, "Max file size"), Some(1 << 20));
        assert_eq!(process_limit(limits, "Max address space"), None);
        assert_eq!(process_limit("", "Max file size"), None);
    }

    #[test]
    fn store_limit_is_half_of_the_smallest_memory() {
        const GIB: u64 = 1 << 30;
        assert_eq!(store_limit(Some(20 * GIB), None, None, None), 10 * GIB);
        assert_eq!(store_limit(Some(20 * GIB), Some(4 * GIB), None, None), 2 * GIB);
        assert_eq!(store_limit(Some(2 * GIB), Some(4 * GIB), None, None), GIB);
        assert_eq!(store_limit(Some(20 * GIB), Some(4 * GIB), Some(3 * GIB), None), 3 * GIB / 2);
        assert_eq!(store_limit(None, None, None, None), GIB);
        assert_eq!(store_limit(None, Some(0), None, None), 1);
    }

    #[test]
    fn store_fits_into_one_file() {
        let limit = |size| store_limit(Some(1 << 30), None, None, Some(size));
        assert_eq!((limit(100 << 20), limit(0)), ((100 << 20) - (64 << 10), 1));
        assert_eq!(limit(u64::MAX), 1 << 29);
    }
}
