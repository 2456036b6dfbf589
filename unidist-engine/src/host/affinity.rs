//! Which CPUs the processes of a host may use.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The sets of CPUs that were chosen for workers, and how many processes have each.
#[derive(Debug, Default)]
pub(crate) struct Places {
    sets: Vec<Vec<usize>>,
    taken: Vec<usize>,
}

/// A place in the list of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

impl Places {
    pub(crate) fn new(sets: Vec<Vec<usize>>) -> Self {
        Places { taken: vec![0; sets.len()], sets }
    }

    /// Gives a process that has just started its CPUs: a worker of the pool those of the place that the fewest have, an
    /// actor all of them. What the system refuses is logged: the process then has those of its parent.
    pub(crate) fn settle(&mut self, pid: Pid, actor: bool) -> Option<Place> {
        let place = if actor { None } else { self.emptiest() };
        let cpus: Vec<usize> = match place {
            Some(Place(at)) => self.sets[at].clone(),
            None => self.sets.concat(),
        };
        if cpus.is_empty() {
            return None;
        }
        let mut set = CpuSet::new();
        cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(*cpu));
        if let Err(error) = sched_setaffinity(Some(pid), &set) {
            log::warn!("process {pid:?} cannot be bound to the CPUs {cpus:?}: {error}");
        }
        if let Some(Place(at)) = place {
            self.taken[at] += 1;
        }
        place
    }

    /// The process is gone.
    pub(crate) fn leave(&mut self, place: Option<Place>) {
        if let Some(Place(at)) = place {
            self.taken[at] -= 1;
        }
    }

    fn emptiest(&self) -> Option<Place> {
        (0..self.sets.len()).min_by_key(|at| self.taken[*at]).map(Place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_emptiest_place_and_actors_none() {
        let pid = rustix::process::getpid();
        let all: Vec<_> = {
            let now = rustix::thread::sched_getaffinity(Some(pid)).unwrap();
            (0..CpuSet::MAX_CPU).filter(|cpu| now.is_set(*cpu)).collect()
        };
        let mut places = Places::new(vec![all.clone(), all]);
        let settled: Vec<_> = (0..3).map(|_| places.settle(pid, false)).collect();
        assert_eq!(settled, [Some(Place(0)), Some(Place(1)), Some(Place(0))]);
        assert_eq!(places.settle(pid, true), None);
        places.leave(settled[0]);
        places.leave(settled[2]);
        assert_eq!(places.settle(pid, false), Some(Place(0)));
        assert_eq!(Places::new(vec![]).settle(pid, false), None);
    }
}
