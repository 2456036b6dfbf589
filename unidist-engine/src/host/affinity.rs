//! Which CPUs the processes of a host may use.

use rustix::process::Pid;
use rustix::thread::sched_setaffinity;

/// The sets of CPUs that are configured for workers, with the number of processes on each.
#[derive(Debug, Default)]
pub(crate) struct CpuSets {
    sets: Vec<Vec<usize>>,
    processes: Vec<usize>,
}

/// A set of CPUs: its index in [`CpuSets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuSet(usize);

impl CpuSets {
    pub(crate) fn new(sets: Vec<Vec<usize>>) -> Self {
        CpuSets { processes: vec![0; sets.len()], sets }
    }

    /// Binds a process that has just started: a worker to the set with the fewest processes, an actor to the union of all
    /// sets. If the system refuses, a warning is logged and the process keeps the CPUs of its parent.
    pub(crate) fn assign(&mut self, pid: Pid, actor: bool) -> Option<CpuSet> {
        let assigned = if actor { None } else { self.least_used() };
        let cpus: Vec<usize> = match assigned {
            Some(CpuSet(at)) => self.sets[at].clone(),
            None => self.sets.concat(),
        };
        if cpus.is_empty() {
            return None;
        }
        let mut mask = rustix::thread::CpuSet::new();
        let max = rustix::thread::CpuSet::MAX_CPU;
        cpus.iter().filter(|cpu| **cpu < max).for_each(|cpu| mask.set(*cpu));
        if let Err(error) = sched_setaffinity(Some(pid), &mask) {
            log::warn!(
                "cannot bind process {pid:?} to the CPUs {cpus:?}: {error}; it may use those of its parent"
            );
        }
        if let Some(CpuSet(at)) = assigned {
            self.processes[at] += 1;
        }
        assigned
    }

    /// Notes that a process has ended.
    pub(crate) fn release(&mut self, assigned: Option<CpuSet>) {
        if let Some(CpuSet(at)) = assigned {
            self.processes[at] -= 1;
        }
    }

    fn least_used(&self) -> Option<CpuSet> {
        (0..self.sets.len()).min_by_key(|at| self.processes[*at]).map(CpuSet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_gets_the_least_used_set_and_actor_none() {
        let pid = rustix::process::getpid();
        let all: Vec<_> = {
            let now = rustix::thread::sched_getaffinity(Some(pid)).unwrap();
            (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| now.is_set(*cpu)).collect()
        };
        let mut sets = CpuSets::new(vec![all.clone(), all]);
        let assigned: Vec<_> = (0..3).map(|_| sets.assign(pid, false)).collect();
        assert_eq!(assigned, [Some(CpuSet(0)), Some(CpuSet(1)), Some(CpuSet(0))]);
        assert_eq!(sets.assign(pid, true), None);
        sets.release(assigned[0]);
        sets.release(assigned[2]);
        assert_eq!(sets.assign(pid, false), Some(CpuSet(0)));
        assert_eq!(CpuSets::new(vec![]).assign(pid, false), None);
    }
}
