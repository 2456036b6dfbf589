//! Workers are not MPI processes: their environment and CPUs, and the ranks that sleep in their place in SPMD mode.

use crate::launch;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::CpuSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::time::Duration;
use unidist_mpi_comm::{Communicator, MpiError};
use unidist_sync::ExponentialBackoff;

/// The tag of the message that wakes sleeping ranks.
pub(crate) const SLEEPERS: i32 = 2;
/// How often a sleeping rank looks for the wake message: MPI rings no bell.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// The prefixes of the variables that MPI launchers set in the processes of a job.
pub const LAUNCHER_PREFIXES: [&str; 12] = [
    "OMPI_",
    "PMIX_",
    "PMI_",
    "PMI2_",
    "PRTE_",
    "HYDRA_",
    "HYDI_",
    "MPI_LOCAL",
    "ORTE_",
    "OPAL_",
    "SLURM_PMI",
    "I_MPI_HYDRA",
];

/// Whether a variable makes a process part of an MPI job. Workers must not have it: an MPI that a task loads would take the
/// worker for the rank that started it.
pub fn is_launcher_variable(variable: &OsStr) -> bool {
    let Some(name) = variable.to_str() else { return false };
    // Settings of the user for every MPI process are not part of the job.
    let users = name.starts_with("OPAL_PREFIX") || name.contains("ALLOW_RUN_AS_ROOT");
    !users && LAUNCHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The variables of this process that workers must not have.
pub fn variables_to_remove() -> Vec<OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| is_launcher_variable(name)).collect()
}

/// The CPUs to which this thread is bound.
pub fn bound_cpus() -> Vec<u32> {
    rustix::thread::sched_getaffinity(None).map(|set| members(&set)).unwrap_or_default()
}

/// The CPUs that this process could use without the binding of the launcher: those of its cgroup.
pub fn unbound_cpus() -> Vec<u32> {
    let look = || {
        bind_cpus(0..CpuSet::MAX_CPU as u32).ok()?; // the kernel removes CPUs outside the cgroup
        Some(bound_cpus())
    };
    // On another thread, so that the binding of this one does not change.
    let found = std::thread::scope(|scope| scope.spawn(look).join().ok().flatten());
    found.filter(|cpus| !cpus.is_empty()).unwrap_or_else(bound_cpus)
}

/// Binds this thread, and the threads that it starts, to these CPUs.
///
/// # Errors
///
/// None of them is available.
pub fn bind_cpus(cpus: impl IntoIterator<Item = u32>) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    cpus.into_iter().filter(|cpu| (*cpu as usize) < CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu as usize));
    rustix::thread::sched_setaffinity(None, &set)
}

fn members(set: &CpuSet) -> Vec<u32> {
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).map(|cpu| cpu as u32).collect()
}

/// Why a sleeping rank wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WakeReason {
    /// The session has ended.
    Shutdown,
    /// The session has ended after hosts were lost, for which finalising MPI would wait.
    ShutdownWithoutFinalize,
    /// The process of the engine on this host has ended.
    EngineLost,
}

/// The message that wakes a sleeping rank; empty if the rank finalises MPI.
pub(crate) fn wake_message(finalize: bool) -> Vec<u8> {
    if finalize { Vec::new() } else { vec![1] }
}

/// Sleeps until the controller, rank 0, sends the wake message, or the engine process on this host ends.
pub(crate) fn sleep(world: &Communicator, engine: u32) -> Result<WakeReason, MpiError> {
    let watched = match watch(engine) {
        Err(Errno::SRCH) => return Ok(WakeReason::EngineLost),
        watched => watched.ok(),
    };
    let mut backoff = ExponentialBackoff::new(MIN_PAUSE, MAX_PAUSE);
    loop {
        if let Some(mut message) = world.try_receive(0, SLEEPERS, Vec::with_capacity)? {
            while !message.test()? {
                std::thread::sleep(MIN_PAUSE);
            }
            let body = message.into_message().unwrap_or_default();
            return Ok(if body.is_empty() {
                WakeReason::Shutdown
            } else {
                WakeReason::ShutdownWithoutFinalize
            });
        }
        if has_ended_within(watched.as_ref(), backoff.next_pause()) {
            return Ok(WakeReason::EngineLost);
        }
    }
}

/// Keeps this process alive until the engine process ends, where that is necessary: a launcher whose job does not survive the
/// death of a process treats a process that exits without finalising MPI as dead, and kills the program.
pub(crate) fn wait_for_program_exit(engine: u32) {
    if launch::survives_process_death() {
        return;
    }
    match watch(engine) {
        Err(Errno::SRCH) => {}
        watched => while !has_ended_within(watched.as_ref().ok(), MAX_PAUSE) {},
    }
}

/// Waits until a process ends, at most for `limit`.
pub(crate) fn wait_for_process_end(process: Option<u32>, limit: Duration) {
    match process.map(watch) {
        Some(Err(Errno::SRCH)) => {}
        watched => {
            has_ended_within(watched.and_then(Result::ok).as_ref(), limit);
        }
    }
}

/// A process whose end is awaited.
enum Watched {
    /// Readable when the process has ended.
    Descriptor(OwnedFd),
    /// Where the system has no such descriptors (Linux before 5.3, sandboxes): looked for at each turn.
    Id(Pid),
}

/// Watches a process; [`Errno::SRCH`] if it has ended.
fn watch(process: u32) -> Result<Watched, Errno> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)?;
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Watched::Descriptor(pidfd)),
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Ok(Watched::Id(pid)),
        Err(error) => Err(error),
    }
}

/// Whether the process ends within `limit`. Without a descriptor, it sleeps first.
fn has_ended_within(process: Option<&Watched>, limit: Duration) -> bool {
    let process = match process {
        Some(Watched::Descriptor(process)) => process,
        Some(Watched::Id(process)) => {
            std::thread::sleep(limit);
            return rustix::process::test_kill_process(*process) == Err(Errno::SRCH);
        }
        None => {
            std::thread::sleep(limit);
            return false;
        }
    };
    let timeout =
        Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) };
    let ended = rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout));
    ended.is_ok_and(|ended| ended > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launcher_variables_are_recognised() {
        for name in
            ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_FD", "PRTE_LAUNCHED", "HYDRA_X", "MPI_LOCALRANKID"]
        {
            assert!(is_launcher_variable(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "UNIDIST_CPUS", "OPAL_PREFIX", "SLURM_JOB_ID", "OMPI_ALLOW_RUN_AS_ROOT"] {
            assert!(!is_launcher_variable(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn unbound_cpus_ignore_the_binding() {
        let all = unbound_cpus();
        let first = all[..1].to_vec();
        std::thread::spawn(move || {
            bind_cpus(first.clone()).unwrap();
            assert_eq!(bound_cpus(), first);
            assert_eq!(unbound_cpus(), all);
            assert_eq!(bound_cpus(), first);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn end_of_a_process_is_detected() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        let (watched, by_id) = (watch(child.id()).unwrap(), Watched::Id(pid));
        assert!(matches!(watched, Watched::Descriptor(_)));
        assert!(!has_ended_within(Some(&watched), MIN_PAUSE));
        assert!(!has_ended_within(Some(&by_id), MIN_PAUSE));
        child.kill().unwrap();
        assert!(has_ended_within(Some(&watched), Duration::from_millis(900)));
        child.wait().unwrap();
        assert!(has_ended_within(Some(&by_id), MIN_PAUSE));
        assert!(matches!(watch(child.id()), Err(Errno::SRCH)));
    }
}
