//! Separate CPUs for each virtual host, by cgroups (v1 or v2).

use super::network::GRACE;
use crate::{Result, process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The cgroup roots of versions 1 and 2.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"];

/// Divides this machine's CPUs among the hosts. Returns the cgroup of each, which its processes join.
pub(super) fn partition(hosts: &[String]) -> Result<Vec<PathBuf>> {
    let cpus = rustix::thread::sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu)).collect();
    let each = cpus.len() / hosts.len().max(1);
    if each == 0 {
        return Err(format!("there are {} CPUs for {} hosts", cpus.len(), hosts.len()).into());
    }
    let root = root()?;
    hosts.iter().zip(cpus.chunks_exact(each)).map(|(host, cpus)| make(&root, host, cpus)).collect()
}

/// Removes a host's cgroup, and kills the processes that are left in it.
pub(super) fn remove(host: &str) -> Result {
    let end = Instant::now() + GRACE;
    for group in ROOTS.iter().map(|root| Path::new(root).join(host)).filter(|group| group.exists()) {
        while let Err(error) = fs::remove_dir(&group) {
            if Instant::now() >= end {
                return Err(format!("{}: {error}", group.display()).into());
            }
            let left = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            left.lines().filter_map(|process| process.parse().ok()).for_each(process::kill);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

fn make(root: &Path, host: &str, cpus: &[usize]) -> Result<PathBuf> {
    let group = root.join(host);
    fs::create_dir_all(&group)?;
    let memory = ["cpuset.effective_mems", "cpuset.mems.effective"];
    let memory = memory.iter().find_map(|name| fs::read_to_string(root.join(name)).ok());
    let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
    write(&group.join("cpuset.mems"), memory.as_deref().unwrap_or("0"))?;
    write(&group.join("cpuset.cpus"), &cpus.join(","))?;
    Ok(group)
}

/// The cgroup root with CPU sets.
fn root() -> Result<PathBuf> {
    let [first, second] = ROOTS.map(Path::new);
    if first.join("cpuset.cpus").exists() {
        return Ok(first.into());
    }
    let controllers = fs::read_to_string(second.join("cgroup.controllers")).unwrap_or_default();
    if !controllers.split_whitespace().any(|name| name == "cpuset") {
        return Err("this system has no cgroup controller `cpuset`".into());
    }
    // It stays enabled, since other clusters may use it.
    write(&second.join("cgroup.subtree_control"), "+cpuset")?;
    Ok(second.into())
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text.trim()).map_err(|error| format!("{}: {error}", path.display()).into())
}
