//! Processes that the kernel kills when the host is out of memory.

use super::crashes::lost;
use crate::case::{Case, PYMP, Result, cases};
use crate::process::eventually;
use crate::support::{BOUND, square};
use std::path::{Path, PathBuf};
use unidist::prelude::*;

pub(super) const CASES: &[Case] = cases!["memory": out_of_memory_is_explained.only(PYMP)];

/// A control group with a memory limit; making one needs root.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn make(limit: u64) -> std::io::Result<MemoryGroup> {
        let name = format!("unidist-{}", std::process::id());
        let limits = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let (root, file) = limits[usize::from(!Path::new(limits[0].0).exists())];
        let group = MemoryGroup(Path::new(root).join(name));
        std::fs::create_dir(&group.0)?;
        std::fs::write(group.0.join(file), limit.to_string())?;
        // Without this, swap would extend the limit.
        let _ = std::fs::write(group.0.join("memory.swap.max"), "0");
        Ok(group)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The group is empty as soon as the killed process is gone.
        assert!(eventually(BOUND, || std::fs::remove_dir(&self.0).is_ok()), "{}", self.0.display());
    }
}

#[remote]
fn takes_memory(group: PathBuf, bytes: usize) -> i64 {
    std::fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let memory = std::hint::black_box(vec![1_u8; bytes]);
    i64::from(memory[bytes - 1])
}

/// A process that the out-of-memory killer has killed: the error says so, and the session continues.
fn out_of_memory_is_explained() -> Result {
    let group = match MemoryGroup::make(64 << 20) {
        Ok(group) => group,
        Err(error) => {
            eprintln!("skipped: there can be no group of processes with little memory here: {error}");
            return Ok(());
        }
    };
    let error = lost(takes_memory.remote(group.0.clone(), 256_usize << 20), "takes_memory", "SIGKILL");
    assert!(error.to_string().contains("out of memory"), "{error}");
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}
