//! What a core file of a crashed process contains.

use crate::case::{Case, MPI, PYMP, Result, cases};
use crate::support::failure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::unix::fs::MetadataExt;
use unidist::prelude::*;
use unidist::{ErrorKind, SharedSlice, put_slice};

pub(super) const CASES: &[Case] = cases!["core_files":
    shared_memory_is_marked.only(PYMP)
        .settings(&[("UNIDIST_OBJECT_STORE_MEMORY", "8MiB"), ("UNIDIST_SPILL_LIMIT", "64MiB")]),
    core_file_is_small.bare().only(PYMP).except(MPI)
        .settings(&[("UNIDIST_OBJECT_STORE_MEMORY", "512MiB")]),
];

const MIB: usize = 1 << 20;

/// The session's shared memory in this process, and whether it is left out of core files.
fn shared_mappings() -> Vec<(String, bool)> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut found: Vec<(String, bool)> = Vec::new();
    let mut is_ours = false;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("VmFlags:") if is_ours => {
                if let Some(mapping) = found.last_mut() {
                    mapping.1 = words.any(|flag| flag == "dd");
                }
            }
            // The range, permissions, offset, device, inode and name.
            Some(range) if range.contains('-') => {
                let permissions = words.next().unwrap_or_default();
                let name = words.skip(3).collect::<Vec<_>>().join(" ");
                // An MPI may have shared memory of its own, which it names so.
                let is_of_mpi = name.starts_with("/dev/shm/") || name.starts_with("/SYSV");
                is_ours = permissions.ends_with('s') && name.ends_with("(deleted)") && !is_of_mpi;
                if is_ours {
                    found.push((name, false));
                }
            }
            _ => {}
        }
    }
    found
}

/// Store, links and views of the spill file are marked as not to be dumped, in every process.
fn shared_memory_is_marked() -> Result {
    let objects: Vec<_> = (0..4).map(|n| put_slice(&vec![n; 3 * MIB]).unwrap()).collect();
    let first = get(&objects[0])?;
    let in_worker = |_first: SharedSlice<u8>| shared_mappings();
    let in_worker = get(in_worker.remote(&objects[0]))?;
    let here = shared_mappings();
    assert_eq!(first[0], 0);
    for (process, mappings) in [("program", here), ("worker", in_worker)] {
        for name in ["unidist-store", "unidist-link"] {
            assert!(mappings.iter().any(|mapping| mapping.0.contains(name)), "{process}: {mappings:?}");
        }
        assert!(mappings.iter().any(|mapping| !mapping.0.contains("memfd")), "no spilled view: {mappings:?}");
        assert!(mappings.iter().all(|mapping| mapping.1), "{process}: {mappings:?}");
    }
    Ok(())
}

/// The core file of a worker that crashes with a view of a large object does not contain the store.
fn core_file_is_small() -> Result {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let limit = getrlimit(Resource::Core);
    if pattern.is_empty() || pattern.starts_with(['|', '/']) || limit.maximum == Some(0) {
        eprintln!("skipped: core files are not written to the working directory here ({})", pattern.trim());
        return Ok(());
    }
    setrlimit(Resource::Core, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let folder = std::env::temp_dir().join(format!("unidist-core-files-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::env::set_current_dir(&folder).unwrap();
    let session = unidist::init()?;
    let crashes = |data: SharedSlice<u8>| -> i64 {
        assert_eq!(data[data.len() - 1], 7);
        std::process::abort();
    };
    assert_eq!(failure(crashes.remote(put_slice(&vec![7_u8; 128 * MIB])?)), ErrorKind::WorkerDied);
    drop(session);
    // Its size on disk: a core file has holes.
    let files = std::fs::read_dir(&folder).unwrap().flatten();
    let sizes: Vec<u64> = files.map(|file| file.metadata().unwrap().blocks() * 512).collect();
    std::env::set_current_dir("/").unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(matches!(sizes[..], [1..0x400_0000]), "core files of {sizes:?} bytes");
    Ok(())
}
