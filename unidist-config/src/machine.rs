//! Defaults that depend on the machine.

use crate::parse::ByteCount;
use std::num::NonZeroUsize;

pub(crate) fn available_cpus() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

pub(crate) fn half_of_available_memory() -> ByteCount {
    const IF_UNKNOWN: u64 = 1 << 30;
    let available =
        std::fs::read_to_string("/proc/meminfo").ok().and_then(|meminfo| available_memory(&meminfo));
    ByteCount(available.map_or(IF_UNKNOWN, |bytes| (bytes / 2).max(1)))
}

/// `MemAvailable` of `/proc/meminfo`, in bytes (see proc_meminfo(5)).
fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
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
}
