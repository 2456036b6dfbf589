//! Measures the patterns in each rank of a job. `peers/with_pshmem.py` does the same with pshmem.

use super::Part;
use super::measures::{AT_ONCE, HAND_OVER, LOCK, LOCK_BY_ANOTHER, NEXT_TASK, SET, SET_TINY};
use super::shared_timestamp::{SharedTimestamp, nanoseconds};
use crate::Result;
use crate::parts::{Samples, Scale};
use ndarray::Array;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::time::{Duration, Instant};
use unidist_spmd::{Batch, Communicator, Lock, SharedArray};

/// The number of `f64` in 64 MiB.
const LENGTH: usize = 8 << 20;
/// The number of CPUs in the part `hand-over`, fewer than ranks.
const CORES: usize = 2;
const TASKS: usize = 100_000;

/// Measures a part together with the other ranks. The first rank prints the samples.
pub(crate) fn measure(part: &str, scale: Scale) -> Result {
    let part = Part::named(part)?;
    if part == Part::HandOver {
        // Before MPI starts threads.
        restrict_to(CORES)?;
    }
    let communicator = Communicator::world()?;
    if communicator.size() != scale.workers {
        return Err(format!("this needs {} ranks, not {}", scale.workers, communicator.size()).into());
    }
    let samples = in_rank(part, &communicator, scale)?;
    if communicator.rank() == 0 {
        print!("{samples}");
    }
    Ok(())
}

/// Restricts this process to this number of CPUs.
fn restrict_to(cores: usize) -> Result {
    let allowed = sched_getaffinity(None)?;
    let mut chosen = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).take(cores).for_each(|cpu| chosen.set(cpu));
    Ok(sched_setaffinity(None, &chosen)?)
}

fn in_rank(part: Part, communicator: &Communicator, scale: Scale) -> Result<Samples> {
    let mut ranks = Ranks { communicator, scale, samples: Samples::default() };
    match part {
        Part::Array => {
            ranks.array(LENGTH)?;
            ranks.tiny_array()?;
        }
        Part::Lock => ranks.lock()?,
        Part::HandOver => {
            ranks.at_once()?;
            ranks.hand_over()?;
        }
        Part::Tasks => ranks.tasks()?,
    }
    Ok(ranks.samples)
}

/// The benchmarks in one rank.
struct Ranks<'a> {
    communicator: &'a Communicator,
    scale: Scale,
    samples: Samples,
}

impl Ranks<'_> {
    fn count(&self) -> usize {
        self.scale.of(3, 7)
    }

    fn is_first(&self) -> bool {
        self.communicator.rank() == 0
    }

    /// Adds the duration of the slowest rank, in seconds.
    fn add(&mut self, name: &str, took: f64) -> Result {
        let longest = self.communicator.all_gather(took)?.into_iter().fold(0.0, f64::max);
        self.samples.add(name, longest);
        Ok(())
    }

    /// The duration in this rank, from a common barrier.
    fn time(&self, run: impl FnOnce() -> Result) -> Result<f64> {
        self.communicator.barrier()?;
        let start = Instant::now();
        run()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// The mean duration of repeated runs.
    fn mean(&self, mut run: impl FnMut() -> Result) -> Result<f64> {
        let budget = self.scale.of(Duration::from_millis(50), Duration::from_millis(200));
        run()?;
        let (mut count, start) = (0.0, Instant::now());
        loop {
            for _ in 0..10 {
                run()?;
            }
            count += 10.0;
            let took = start.elapsed();
            if took > budget {
                return Ok(took.as_secs_f64() / count);
            }
        }
    }

    fn array(&mut self, length: usize) -> Result {
        let mut array = SharedArray::<f64, _>::new(length, self.communicator)?;
        let mut data = self.is_first().then(|| Array::zeros(length));
        // The first round touches new memory and does not count.
        for sample in 0..=self.count() {
            let value = sample as f64;
            data.iter_mut().for_each(|data| data.fill(value));
            let took = self.time(|| Ok(array.set(data.as_ref().map(|data| data.view()), 0, 0)?))?;
            if array[0] != value || array[length - 1] != value {
                return Err(format!("{SET}: a rank does not see what was set").into());
            }
            if sample > 0 {
                self.add(SET, took)?;
            }
        }
        Ok(())
    }

    fn tiny_array(&mut self) -> Result {
        let count = self.scale.of(50, 200);
        let mut array = SharedArray::<f64, _>::new((3, 5), self.communicator)?;
        let data = match self.is_first() {
            true => Some(Array::range(0.0, 6.0, 1.0).into_shape_with_order((2, 3))?),
            false => None,
        };
        for _ in 0..self.count() {
            let sets = || {
                (0..count)
                    .try_for_each(|_| Ok(array.set(data.as_ref().map(|data| data.view()), (1, 1), 0)?))
            };
            let took = self.time(sets)?;
            self.add(SET_TINY, took / count as f64)?;
        }
        if array[(2, 3)] != 5.0 {
            return Err(format!("{SET_TINY}: a rank does not see what was set").into());
        }
        Ok(())
    }

    /// One rank takes the lock without contention; the others wait for its result.
    fn lock(&mut self) -> Result {
        let mut lock = Lock::new(self.communicator)?;
        for (name, taker) in [(LOCK, 0), (LOCK_BY_ANOTHER, self.communicator.size() - 1)] {
            for _ in 0..self.count() {
                self.communicator.barrier()?;
                let took = match self.communicator.rank() == taker {
                    true => self.mean(|| Ok(lock.lock()?.unlock()?))?,
                    false => 0.0,
                };
                self.add(name, took)?;
            }
        }
        Ok(lock.close()?)
    }

    /// All ranks take and release the lock as often as they can. An initial phase, until all ranks have begun, does not
    /// count. Returns the duration of the phase that counts.
    fn for_a_while(&self, mut once: impl FnMut(bool) -> Result) -> Result<Duration> {
        let begin = Duration::from_millis(20);
        let window = Duration::from_millis(self.scale.of(100, 300));
        self.communicator.barrier()?;
        let start = Instant::now();
        loop {
            match start.elapsed() {
                now if now > begin + window => return Ok(window),
                now => once(now > begin)?,
            }
        }
    }

    /// The time per acquisition with contention.
    fn at_once(&mut self) -> Result {
        let mut lock = Lock::new(self.communicator)?;
        for _ in 0..self.count() {
            let mut count = 0_u64;
            let window = self.for_a_while(|counts| {
                count += u64::from(counts);
                Ok(lock.lock()?.unlock()?)
            })?;
            let total: u64 = self.communicator.all_gather(count)?.into_iter().sum();
            self.samples.add(AT_ONCE, window.as_secs_f64() / total as f64);
        }
        Ok(lock.close()?)
    }

    /// The time from just before the release of the lock until a waiting rank has it.
    fn hand_over(&mut self) -> Result {
        let mut lock = Lock::new(self.communicator)?;
        let stamp = SharedTimestamp::shared(self.communicator)?;
        for _ in 0..self.count() {
            let (mut took, mut count) = (0, 0_u64);
            self.for_a_while(|counts| {
                let called = nanoseconds();
                let guard = lock.lock()?;
                let held = nanoseconds();
                let given_back = stamp.read()?;
                if counts && given_back > called {
                    took += held.saturating_sub(given_back);
                    count += 1;
                }
                stamp.write(nanoseconds())?;
                Ok(guard.unlock()?)
            })?;
            let all = self.communicator.all_gather([took, count])?;
            let (took, count) = all.iter().fold((0, 0), |sum, rank| (sum.0 + rank[0], sum.1 + rank[1]));
            if count > 0 {
                self.samples.add(HAND_OVER, took as f64 * 1e-9 / count as f64);
            }
        }
        Ok(lock.close()?)
    }

    /// The first rank takes all tasks.
    fn tasks(&mut self) -> Result {
        let mut batch = Batch::new(TASKS).build(self.communicator)?;
        let is_first = self.is_first();
        let take_all = || {
            let mut expected = if is_first { 0..TASKS } else { 0..0 };
            expected.try_for_each(|task| match batch.next_task()? {
                Some(given) if given == task => Ok(()),
                other => Err(format!("{NEXT_TASK}: {other:?} is not the first open task, {task}").into()),
            })
        };
        let took = self.time(take_all)?;
        self.add(NEXT_TASK, took / TASKS as f64)?;
        Ok(batch.close()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spmd::Hosts;
    use crate::spmd::measures::measures;

    #[test]
    fn single_rank_measures_everything() {
        let scale = Scale { quick: true, workers: 1, ..Scale::default() };
        let mut measured = Samples::default();
        for part in Part::ALL {
            measured.add_named(in_rank(part, &Communicator::alone(), scale).unwrap(), str::to_owned);
        }
        // A single rank cannot hand the lock over.
        for measure in measures(&[Hosts::One], false).into_iter().filter(|measure| measure.name != HAND_OVER)
        {
            assert!(measured.median(&measure.name).is_some_and(|value| value > 0.0), "{}", measure.name);
        }
    }

    #[test]
    fn cpus_are_restricted() {
        // In a thread, since the restriction applies to one thread.
        let thread = std::thread::spawn(|| {
            restrict_to(1).unwrap();
            sched_getaffinity(None).unwrap().count()
        });
        assert_eq!(thread.join().unwrap(), 1);
    }

    #[test]
    fn number_of_ranks_is_checked() {
        let scale = Scale { workers: 3, ..Scale::default() };
        assert!(measure("lock", scale).unwrap_err().to_string().contains("3 ranks"));
    }
}
