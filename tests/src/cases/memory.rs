//! The memory of a machine or of a control group: the default limit of the store, and processes that the kernel kills
//! when memory runs out.

use super::crashes::lost;
use crate::case::{Case, MPI, PYMP, Result, cases};
use crate::process::{self, Ended, eventually};
use crate::runner;
use crate::support::{BOUND, square};
use std::path::{Path, PathBuf};
use std::process::Command;
use unidist::prelude::*;
use unidist::{num_cpus, store_usage};

pub(super) const CASES: &[Case] = cases!["memory":
    out_of_memory_is_explained.only(PYMP),
    default_store_fits_the_group.bare().only(PYMP).except(MPI),
    default_store_fits_an_outer_group.bare().only(PYMP).except(MPI),
    limit_of_the_group_is_explained.bare().only(PYMP).except(MPI),
    default_cpus_fit_the_group.bare().except(MPI),
];

/// Programs that the cases start.
pub(super) const PROGRAMS: &[Case] = cases!["memory_programs":
    prints_its_defaults.bare(), takes_more_than_its_group.bare(),
];

const MIB: u64 = 1 << 20;

/// A control group; making one needs root.
struct Group {
    path: PathBuf,
    /// The group above it that was made with it.
    outer: Option<Box<Group>>,
}

impl Group {
    /// A group whose memory is limited.
    fn with_memory(limit: u64) -> std::io::Result<Group> {
        let group = Group::make("memory")?;
        let is_v1 = group.path.join("memory.limit_in_bytes").exists();
        let file = if is_v1 { "memory.limit_in_bytes" } else { "memory.max" };
        std::fs::write(group.path.join(file), limit.to_string())?;
        // Without this, swap would extend the limit.
        let _ = std::fs::write(group.path.join("memory.swap.max"), "0");
        Ok(group)
    }

    /// A group whose processes together may use one CPU.
    fn with_one_cpu() -> std::io::Result<Group> {
        let group = Group::make("cpu")?;
        let is_v1 = group.path.join("cpu.cfs_quota_us").exists();
        let (file, quota) = if is_v1 { ("cpu.cfs_quota_us", "100000") } else { ("cpu.max", "100000 100000") };
        std::fs::write(group.path.join(file), quota)?;
        Ok(group)
    }

    fn make(controller: &str) -> std::io::Result<Group> {
        let v1 = Path::new("/sys/fs/cgroup").join(controller);
        let root = if v1.exists() { v1 } else { PathBuf::from("/sys/fs/cgroup") };
        let path = root.join(format!("unidist-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Group { path, outer: None })
    }

    /// A group without a limit of its own inside this one.
    fn inner(self) -> std::io::Result<Group> {
        let path = self.path.join("inner");
        std::fs::create_dir(&path)?;
        Ok(Group { path, outer: Some(Box::new(self)) })
    }

    /// Runs a program of these cases in the group, with the defaults of all settings.
    fn run(&self, name: &str) -> Ended {
        let program = PROGRAMS.iter().find(|program| program.name == name).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.path);
        command.arg(std::env::current_exe().unwrap());
        let backend = std::env::var("UNIDIST_BACKEND").unwrap();
        runner::command_for(&mut command, &backend, &[*program]);
        command.env_remove("UNIDIST_CPUS");
        process::run(&mut command, BOUND).unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The group is empty as soon as the killed processes are gone.
        assert!(eventually(BOUND, || std::fs::remove_dir(&self.path).is_ok()), "{}", self.path.display());
        self.outer.take();
    }
}

/// The group, or `None` with a message where none can be made.
fn made(group: std::io::Result<Group>) -> Option<Group> {
    group.inspect_err(|error| eprintln!("skipped: no control group can be made here: {error}")).ok()
}

#[remote]
fn takes_memory(group: PathBuf, bytes: usize) -> i64 {
    std::fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let memory = std::hint::black_box(vec![1_u8; bytes]);
    i64::from(memory[bytes - 1])
}

/// A process that the out-of-memory killer has killed: the error says so, and the session continues.
fn out_of_memory_is_explained() -> Result {
    let Some(group) = made(Group::with_memory(64 * MIB)) else { return Ok(()) };
    let error = lost(takes_memory.remote(group.path.clone(), 256_usize << 20), "takes_memory", "SIGKILL");
    assert!(error.to_string().contains("out of memory"), "{error}");
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

/// Prints the limit of the store and the number of CPUs that a session has without settings.
fn prints_its_defaults() -> Result {
    let _session = unidist::init()?;
    println!("store {} cpus {}", store_usage()?.limit, num_cpus()?);
    Ok(())
}

fn check_default_store(group: &Group) {
    let Ended { status, output } = group.run("prints_its_defaults");
    let words: Vec<_> = output.split_whitespace().collect();
    assert!(status.is_some_and(|status| status.success()) && words.first() == Some(&"store"), "{output}");
    let limit: u64 = words[1].parse().unwrap();
    assert!(limit <= 150 * MIB && limit > 100 * MIB, "{output}");
}

/// Without a setting, the store takes at most half of the memory of the program's control group.
fn default_store_fits_the_group() -> Result {
    if let Some(group) = made(Group::with_memory(300 * MIB)) {
        check_default_store(&group);
    }
    Ok(())
}

/// The same if the limit is that of a group further out, as in a batch system.
fn default_store_fits_an_outer_group() -> Result {
    if let Some(group) = made(Group::with_memory(300 * MIB).and_then(Group::inner)) {
        check_default_store(&group);
    }
    Ok(())
}

/// Takes more memory in a task than the program's control group may have, and prints the error.
fn takes_more_than_its_group() -> Result {
    let _session = unidist::init()?;
    let takes = |bytes: usize| i64::from(std::hint::black_box(vec![1_u8; bytes])[bytes - 1]);
    println!("{}", lost(takes.remote(400_usize << 20), "closure", "SIGKILL"));
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

/// A process that was killed at the limit of the program's control group: the error names the limit.
fn limit_of_the_group_is_explained() -> Result {
    if let Some(group) = made(Group::with_memory(200 * MIB)) {
        let Ended { status, output } = group.run("takes_more_than_its_group");
        assert!(status.is_some_and(|status| status.success()), "{output}");
        assert!(output.contains("control group") && output.contains("200 MiB"), "{output}");
    }
    Ok(())
}

/// Without a setting, a session has as many CPUs as the program's control group may use.
fn default_cpus_fit_the_group() -> Result {
    if let Some(group) = made(Group::with_one_cpu()) {
        let Ended { status, output } = group.run("prints_its_defaults");
        assert!(
            status.is_some_and(|status| status.success()) && output.trim().ends_with("cpus 1"),
            "{output}"
        );
    }
    Ok(())
}
