//! Exchange of records between the ranks of a host, and their barrier, in shared memory.
//!
//! A rank that waits spins for a moment, then sleeps on a futex; the last rank to arrive wakes the others. So waiting costs
//! no CPU time, and one host needs no call of MPI.

use crate::memory::{AtomicWords, SharedMemory};
use rustix::process::{Pid, test_kill_process};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use unidist_sync::futex::{self, WaitOutcome};
use unidist_sync::{MAX_SPIN, spin_until};

/// The length of a record in bytes.
pub(crate) const RECORD: usize = 256;
const RECORD_WORDS: usize = RECORD / size_of::<u64>();
/// Records are double-buffered: the next exchange does not overwrite what some ranks still read.
const BUFFERS: usize = 2;

/// How often a waiting rank checks whether the other ranks of its host are alive.
pub(crate) const LIVENESS_INTERVAL: Duration = Duration::from_millis(500);

/// The futex words. One word for each rank of the host follows, which says whether the rank has left.
const GENERATION: usize = 0;
const ARRIVED: usize = 1;
const SLEEPERS: usize = 2;
const LEFT: usize = 3;

/// A rank of the host that does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LostRank {
    /// Its index among the ranks of the host.
    pub(crate) host_rank: usize,
    /// Whether it has dropped its communicator; else its process has ended.
    pub(crate) has_left: bool,
}

/// The exchange memory of a host, as one of its ranks sees it.
#[derive(Debug)]
pub(crate) struct HostExchange {
    words: AtomicWords,
    host_rank: usize,
    host_size: usize,
    /// The number of ranks on all hosts; 0 if there is no other host.
    global_size: usize,
    buffer: Cell<usize>,
    /// Whether each rank of the host can have a core of its own.
    spins: bool,
    /// The rank for which a barrier has failed: later barriers fail at once.
    failed: Cell<Option<LostRank>>,
}

impl HostExchange {
    fn sizes(host_size: usize, global_size: usize) -> Option<(usize, usize)> {
        let records = host_size.checked_add(global_size)?.checked_mul(BUFFERS * RECORD_WORDS)?;
        Some((host_size.checked_add(records)?, LEFT.checked_add(host_size)?))
    }

    /// The length of its memory in bytes.
    pub(crate) fn len(host_size: usize, global_size: usize) -> Option<usize> {
        let (numbers, futexes) = HostExchange::sizes(host_size, global_size)?;
        AtomicWords::len(numbers, futexes)
    }

    /// In zeroed memory of this length that all ranks of a host share.
    pub(crate) fn new(
        memory: SharedMemory,
        host_rank: usize,
        host_size: usize,
        global_size: usize,
    ) -> Option<Self> {
        let (numbers, futexes) = HostExchange::sizes(host_size, global_size)?;
        let words = AtomicWords::new(memory, numbers, futexes)?;
        let exchange = HostExchange {
            words,
            host_rank,
            host_size,
            global_size,
            buffer: Cell::new(0),
            spins: host_size <= online_cores(),
            failed: Cell::new(None),
        };
        exchange.pid(host_rank)?.store(std::process::id().into(), Ordering::Relaxed);
        Some(exchange)
    }

    fn futex(&self, index: usize) -> &AtomicU32 {
        &self.words.futexes()[index]
    }

    fn pid(&self, host_rank: usize) -> Option<&AtomicU64> {
        self.words.numbers().get(host_rank)
    }

    fn record(&self, index: usize) -> &[AtomicU64] {
        let start = self.host_size + index * RECORD_WORDS;
        &self.words.numbers()[start..start + RECORD_WORDS]
    }

    /// Writes this rank's record and waits for those of all ranks of the host. Returns the buffer in which they are until
    /// the call after the next one.
    pub(crate) fn exchange(&self, own: &[u8; RECORD]) -> Result<usize, LostRank> {
        let buffer = self.buffer.get();
        self.buffer.set(1 - buffer);
        self.write(buffer * self.host_size + self.host_rank, own);
        self.barrier()?;
        Ok(buffer)
    }

    /// The record of a rank of this host.
    pub(crate) fn host_record(&self, buffer: usize, host_rank: usize) -> [u8; RECORD] {
        self.read(buffer * self.host_size + host_rank)
    }

    /// A record of those of all hosts, in the order in which the first rank of this host has published them.
    pub(crate) fn global_record(&self, buffer: usize, index: usize) -> [u8; RECORD] {
        self.read(BUFFERS * self.host_size + buffer * self.global_size + index)
    }

    /// Writes the records of all hosts; the other ranks read them after a barrier.
    pub(crate) fn publish(&self, buffer: usize, records: &[u8]) {
        for (index, record) in records.as_chunks().0.iter().enumerate().take(self.global_size) {
            self.write(BUFFERS * self.host_size + buffer * self.global_size + index, record);
        }
    }

    fn write(&self, index: usize, record: &[u8; RECORD]) {
        for (word, bytes) in self.record(index).iter().zip(record.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    fn read(&self, index: usize) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        for (word, bytes) in self.record(index).iter().zip(record.as_chunks_mut().0) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        record
    }

    /// Waits until all ranks of the host have arrived. What each has written before is visible to all afterwards.
    pub(crate) fn barrier(&self) -> Result<(), LostRank> {
        if let Some(lost) = self.failed.get() {
            return Err(lost);
        }
        let generation = self.futex(GENERATION);
        let before = generation.load(Ordering::Acquire);
        let arrived = self.futex(ARRIVED).fetch_add(1, Ordering::AcqRel) + 1;
        if usize::try_from(arrived) == Ok(self.host_size) {
            self.futex(ARRIVED).store(0, Ordering::Relaxed);
            generation.store(before.wrapping_add(1), Ordering::SeqCst);
            if self.futex(SLEEPERS).load(Ordering::SeqCst) > 0 {
                futex::wake_all(generation);
            }
            return Ok(());
        }
        if self.spins && spin_until(MAX_SPIN, || generation.load(Ordering::Acquire) != before) {
            return Ok(());
        }
        self.futex(SLEEPERS).fetch_add(1, Ordering::SeqCst);
        let outcome = loop {
            if generation.load(Ordering::SeqCst) != before {
                break Ok(());
            }
            let slept = futex::wait(generation, before, LIVENESS_INTERVAL);
            if slept == WaitOutcome::TimedOut
                && let Some(lost) = self.lost_rank()
                && generation.load(Ordering::SeqCst) == before
            {
                break Err(lost);
            }
            if let Some(host_rank) = self.rank_that_left()
                && generation.load(Ordering::SeqCst) == before
            {
                break Err(LostRank { host_rank, has_left: true });
            }
        };
        self.futex(SLEEPERS).fetch_sub(1, Ordering::SeqCst);
        self.failed.set(outcome.err());
        outcome
    }

    /// Announces that this rank takes part in no further barrier.
    pub(crate) fn leave(&self) {
        self.futex(LEFT + self.host_rank).store(1, Ordering::SeqCst);
        futex::wake_all(self.futex(GENERATION));
    }

    fn rank_that_left(&self) -> Option<usize> {
        (0..self.host_size).find(|rank| self.futex(LEFT + rank).load(Ordering::SeqCst) != 0)
    }

    /// A rank of the host that has ended or left.
    pub(crate) fn lost_rank(&self) -> Option<LostRank> {
        if let Some(host_rank) = self.rank_that_left() {
            return Some(LostRank { host_rank, has_left: true });
        }
        let is_alive = |host_rank: &usize| {
            let pid = self.pid(*host_rank).map_or(0, |pid| pid.load(Ordering::Relaxed));
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // A rank that has not written its process id yet is starting.
            pid.is_none_or(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
        };
        let host_rank = (0..self.host_size).find(|rank| !is_alive(rank))?;
        Some(LostRank { host_rank, has_left: false })
    }
}

/// The number of cores of the host, whatever the launcher has bound this process to.
fn online_cores() -> usize {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    cores_in(&list).unwrap_or(1)
}

/// The number of cores in a list such as `0-3,8`.
fn cores_in(list: &str) -> Option<usize> {
    let mut cores = 0;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        cores += last.checked_sub(first)? + 1;
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchanges of this many ranks, which are threads here.
    fn exchanges(ranks: usize) -> Vec<HostExchange> {
        let len = HostExchange::len(ranks, 0).unwrap();
        let (created, _file, handle) = SharedMemory::create(len).unwrap();
        let mut memories = vec![created];
        memories.extend((1..ranks).map(|_| SharedMemory::open(&handle, len).unwrap()));
        let exchanges = memories.into_iter().enumerate();
        exchanges.map(|(rank, memory)| HostExchange::new(memory, rank, ranks, 0).unwrap()).collect()
    }

    #[test]
    fn exchange_gives_all_ranks_all_records() {
        const RANKS: usize = 4;
        const ROUNDS: usize = 2_000;
        let ranks = exchanges(RANKS).into_iter().enumerate().map(|(rank, exchange)| {
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    let mut own = [rank as u8; RECORD];
                    own[..8].copy_from_slice(&(round as u64).to_ne_bytes());
                    let buffer = exchange.exchange(&own).unwrap();
                    for other in 0..RANKS {
                        let record = exchange.host_record(buffer, other);
                        assert_eq!(record[..8], (round as u64).to_ne_bytes());
                        assert!(record[8..].iter().all(|byte| *byte == other as u8));
                    }
                }
            })
        });
        ranks.collect::<Vec<_>>().into_iter().for_each(|rank| rank.join().unwrap());
    }

    #[test]
    fn barrier_fails_for_a_rank_that_left() {
        let mut exchanges = exchanges(2);
        let other = exchanges.pop().unwrap();
        let waiting = std::thread::spawn(move || other.barrier());
        exchanges[0].leave();
        assert_eq!(waiting.join().unwrap(), Err(LostRank { host_rank: 0, has_left: true }));
    }

    #[test]
    fn barrier_fails_for_a_rank_that_ended() {
        let exchanges = exchanges(2);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        exchanges[0].pid(1).unwrap().store(child.id().into(), Ordering::Relaxed);
        // Later barriers fail, too.
        for _ in 0..3 {
            assert_eq!(exchanges[0].barrier(), Err(LostRank { host_rank: 1, has_left: false }));
        }
    }

    #[test]
    fn core_lists_are_counted() {
        assert_eq!(cores_in("0-3,8\n"), Some(5));
        assert_eq!(cores_in("0"), Some(1));
        assert_eq!(cores_in(""), None);
        assert!(online_cores() >= 1);
    }
}
