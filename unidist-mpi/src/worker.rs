//! What workers get from MPI, which is nothing, and the ranks that stand for them in SPMD mode.

use crate::launch;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::CpuSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::time::Duration;
use unidist_mpi_comm::{Communicator, MpiError};

/// The tag of what the controller says to ranks that sleep.
pub(crate) const SLEEPERS: i32 = 2;
const SHORTEST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(100);

/// What the names of the variables begin with that MPI and its launchers give to the processes of a job.
pub const PREFIXES: [&str; 12] = [
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

/// Whether a variable tells a process that it belongs to an MPI job. A worker does not: with these, an MPI that its
/// tasks load would take it for the rank that started it.
pub fn is_launchers(variable: &OsStr) -> bool {
    let Some(name) = variable.to_str() else { return false };
    // What a user has told MPI to do in every process is no part of the job.
    let users = name.starts_with("OPAL_PREFIX") || name.contains("ALLOW_RUN_AS_ROOT");
    !users && PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The variables of this process that workers are not to have.
pub fn variables_to_remove() -> Vec<OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| is_launchers(name)).collect()
}

/// The CPUs that this thread may use.
pub fn binding() -> Vec<u32> {
    rustix::thread::sched_getaffinity(None).map(|set| members(&set)).unwrap_or_default()
}

/// The CPUs that this process could use if the launcher had not bound it: those of its cgroup.
pub fn unbound() -> Vec<u32> {
    let look = || {
        bind(0..CpuSet::MAX_CPU as u32).ok()?; // the kernel leaves out those that are not ours
        Some(binding())
    };
    // On a thread of its own: this one stays as it is.
    let found = std::thread::scope(|scope| scope.spawn(look).join().ok().flatten());
    found.filter(|cpus| !cpus.is_empty()).unwrap_or_else(binding)
}

/// Has this thread, and those that it starts, use these CPUs.
///
/// # Errors
///
/// None of them can be used.
pub fn bind(cpus: impl IntoIterator<Item = u32>) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    cpus.into_iter().filter(|cpu| (*cpu as usize) < CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu as usize));
    rustix::thread::sched_setaffinity(None, &set)
}

fn members(set: &CpuSet) -> Vec<u32> {
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).map(|cpu| cpu as u32).collect()
}

/// Why a rank that sleeps wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awake {
    /// The session has ended.
    Shutdown,
    /// The session has ended, and some have been lost before: MPI would wait for them.
    Leave,
    /// The process is gone that this one stands beside.
    Alone,
}

/// What a rank that sleeps is told: nothing at all if it is to finalise MPI.
pub(crate) fn wake_message(finalize: bool) -> Vec<u8> {
    if finalize { Vec::new() } else { vec![1] }
}

/// Sleeps until the controller, rank 0, says that the session has ended, or the process with this number is gone.
pub(crate) fn sleep(world: &Communicator, beside: u32) -> Result<Awake, MpiError> {
    // Without a descriptor (in a container of its own, say) the controller's word alone ends the sleep.
    let watched = match watch(beside) {
        Err(Errno::SRCH) => return Ok(Awake::Alone),
        watched => watched.ok(),
    };
    let mut nap = SHORTEST_NAP;
    loop {
        if let Some(mut word) = world.try_receive(0, SLEEPERS, Vec::with_capacity)? {
            while !word.test()? {
                std::thread::sleep(SHORTEST_NAP);
            }
            let said = word.into_message().unwrap_or_default();
            return Ok(if said.is_empty() { Awake::Shutdown } else { Awake::Leave });
        }
        if has_ended_within(watched.as_ref(), nap) {
            return Ok(Awake::Alone);
        }
        nap = (nap * 2).min(LONGEST_NAP);
    }
}

/// Stays where it may not go before the program: a launcher that does not let a job survive a process's death takes a
/// process that ends without finalising MPI for a dead one, and ends the program. When that ends, MPI ends the rest.
pub(crate) fn outlast_session(beside: u32) {
    if launch::survives_process_death() {
        return;
    }
    match watch(beside) {
        Err(Errno::SRCH) => {}
        watched => while !has_ended_within(watched.as_ref().ok(), LONGEST_NAP) {},
    }
}

/// Waits until the process with this number is gone, but no longer than this.
pub(crate) fn wait_for_end(process: Option<u32>, limit: Duration) {
    match process.map(watch) {
        Some(Err(Errno::SRCH)) => {}
        watched => {
            has_ended_within(watched.and_then(Result::ok).as_ref(), limit);
        }
    }
}

/// A descriptor that shows the end of a process; [`Errno::SRCH`] if it has ended.
fn watch(process: u32) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
}

fn has_ended_within(process: Option<&OwnedFd>, nap: Duration) -> bool {
    let Some(process) = process else {
        std::thread::sleep(nap);
        return false;
    };
    let timeout = Timespec { tv_sec: nap.as_secs().cast_signed(), tv_nsec: i64::from(nap.subsec_nanos()) };
    let ended = rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout));
    ended.is_ok_and(|ended| ended > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_variables_are_known() {
        for name in
            ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_FD", "PRTE_LAUNCHED", "HYDRA_X", "MPI_LOCALRANKID"]
        {
            assert!(is_launchers(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "UNIDIST_CPUS", "OPAL_PREFIX", "SLURM_JOB_ID", "OMPI_ALLOW_RUN_AS_ROOT"] {
            assert!(!is_launchers(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_binding_is_undone() {
        let all = unbound();
        let first = all[..1].to_vec();
        std::thread::spawn(move || {
            bind(first.clone()).unwrap();
            assert_eq!(binding(), first);
            assert_eq!(unbound(), all);
            assert_eq!(binding(), first);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        let watched = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert!(!has_ended_within(Some(&watched), SHORTEST_NAP));
        child.kill().unwrap();
        assert!(has_ended_within(Some(&watched), Duration::from_millis(900)));
        child.wait().unwrap();
        assert_eq!(watch(child.id()).unwrap_err(), Errno::SRCH);
    }
}
