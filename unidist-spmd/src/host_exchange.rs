//! What the ranks of a host write for each other: a place for what each has to say, and a barrier.
//!
//! Who waits looks for a moment and then sleeps on a word of the memory; the last one to come wakes them. So waiting
//! costs no CPU, and no call of MPI is needed on one host.

use crate::memory::Words;
use rustix::process::{Pid, test_kill_process};
use rustix::thread::futex;
use rustix::time::Timespec;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The length of what a rank says, in bytes.
pub(crate) const RECORD: usize = 256;
const RECORD_WORDS: usize = RECORD / size_of::<u64>();
/// What is said next does not overwrite what some still read.
const SIDES: usize = 2;

/// For so long it is looked for the others, where all have a core of their own.
const AWAKE: Duration = Duration::from_micros(20);
/// Who sleeps looks this often whether the others are alive.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// The places of the bells; behind them there is one for each rank of the host, which says whether it has left.
const GENERATION: usize = 0;
const ARRIVED: usize = 1;
const SLEEPERS: usize = 2;
const LEFT: usize = 3;

/// A rank of the host that does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Its place among those of the host.
    pub(crate) host_rank: usize,
    /// Whether it has left by itself.
    pub(crate) has_left: bool,
}

/// The memory of a host, seen by one of its ranks.
#[derive(Debug)]
pub(crate) struct HostExchange {
    words: Words,
    host_rank: usize,
    host_size: usize,
    /// How many ranks there are on all hosts; 0 if there is no other host.
    all: usize,
    side: Cell<usize>,
    looks: bool,
    /// One for whom this rank has waited in vain: it waits for nobody any more.
    in_vain: Cell<Option<Lost>>,
}

impl HostExchange {
    fn sizes(host_size: usize, all: usize) -> Option<(usize, usize)> {
        let records = host_size.checked_add(all)?.checked_mul(SIDES * RECORD_WORDS)?;
        Some((host_size.checked_add(records)?, LEFT.checked_add(host_size)?))
    }

    /// The length of its memory, in bytes.
    pub(crate) fn len(host_size: usize, all: usize) -> Option<usize> {
        let (numbers, bells) = HostExchange::sizes(host_size, all)?;
        Words::len(numbers, bells)
    }

    /// In memory of this length, zeroed, of all ranks of a host.
    pub(crate) fn new(
        memory: crate::memory::Memory,
        host_rank: usize,
        host_size: usize,
        all: usize,
    ) -> Option<Self> {
        let (numbers, bells) = HostExchange::sizes(host_size, all)?;
        let words = Words::new(memory, numbers, bells)?;
        let board = HostExchange {
            words,
            host_rank,
            host_size,
            all,
            side: Cell::new(0),
            looks: host_size <= online_cores(),
            in_vain: Cell::new(None),
        };
        board.pid(host_rank)?.store(std::process::id().into(), Ordering::Relaxed);
        Some(board)
    }

    fn bell(&self, place: usize) -> &AtomicU32 {
        &self.words.bells()[place]
    }

    fn pid(&self, host_rank: usize) -> Option<&AtomicU64> {
        self.words.numbers().get(host_rank)
    }

    fn record(&self, place: usize) -> &[AtomicU64] {
        let start = self.host_size + place * RECORD_WORDS;
        &self.words.numbers()[start..start + RECORD_WORDS]
    }

    /// What all ranks of the host have said, this one `own`. It is there until the call after the next one.
    pub(crate) fn exchange(&self, own: &[u8; RECORD]) -> Result<usize, Lost> {
        let side = self.side.get();
        self.side.set(1 - side);
        self.write(side * self.host_size + self.host_rank, own);
        self.barrier()?;
        Ok(side)
    }

    /// What a rank of this host has said.
    pub(crate) fn said(&self, side: usize, host_rank: usize) -> [u8; RECORD] {
        self.read(side * self.host_size + host_rank)
    }

    /// What was said on all hosts, in the order in which it is written by the first rank of this one.
    pub(crate) fn said_by_all(&self, side: usize, place: usize) -> [u8; RECORD] {
        self.read(SIDES * self.host_size + side * self.all + place)
    }

    /// Writes what was said on all hosts; the others read it behind a barrier.
    pub(crate) fn tell(&self, side: usize, records: &[u8]) {
        for (place, record) in records.as_chunks().0.iter().enumerate().take(self.all) {
            self.write(SIDES * self.host_size + side * self.all + place, record);
        }
    }

    fn write(&self, place: usize, record: &[u8; RECORD]) {
        for (word, bytes) in self.record(place).iter().zip(record.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
    }

    fn read(&self, place: usize) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        for (word, bytes) in self.record(place).iter().zip(record.as_chunks_mut().0) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        record
    }

    /// Waits until all ranks of the host are here. What each has written before is seen by all afterwards.
    pub(crate) fn barrier(&self) -> Result<(), Lost> {
        if let Some(lost) = self.in_vain.get() {
            return Err(lost);
        }
        let generation = self.bell(GENERATION);
        let before = generation.load(Ordering::Acquire);
        let arrived = self.bell(ARRIVED).fetch_add(1, Ordering::AcqRel) + 1;
        if usize::try_from(arrived) == Ok(self.host_size) {
            self.bell(ARRIVED).store(0, Ordering::Relaxed);
            generation.store(before.wrapping_add(1), Ordering::SeqCst);
            if self.bell(SLEEPERS).load(Ordering::SeqCst) > 0 {
                wake_all(generation);
            }
            return Ok(());
        }
        if self.looks {
            let start = Instant::now();
            while start.elapsed() < AWAKE {
                if generation.load(Ordering::Acquire) != before {
                    return Ok(());
                }
                std::hint::spin_loop();
            }
        }
        self.bell(SLEEPERS).fetch_add(1, Ordering::SeqCst);
        let outcome = loop {
            if generation.load(Ordering::SeqCst) != before {
                break Ok(());
            }
            let slept = futex::wait(generation, futex::Flags::empty(), before, Some(&LOOK));
            if slept == Err(rustix::io::Errno::TIMEDOUT)
                && let Some(lost) = self.lost()
                && generation.load(Ordering::SeqCst) == before
            {
                break Err(lost);
            }
            if let Some(host_rank) = self.left()
                && generation.load(Ordering::SeqCst) == before
            {
                break Err(Lost { host_rank, has_left: true });
            }
        };
        self.bell(SLEEPERS).fetch_sub(1, Ordering::SeqCst);
        self.in_vain.set(outcome.err());
        outcome
    }

    /// Says that this rank will come no more.
    pub(crate) fn leave(&self) {
        self.bell(LEFT + self.host_rank).store(1, Ordering::SeqCst);
        wake_all(self.bell(GENERATION));
    }

    fn left(&self) -> Option<usize> {
        (0..self.host_size).find(|rank| self.bell(LEFT + rank).load(Ordering::SeqCst) != 0)
    }

    /// A rank of the host that has ended or left.
    pub(crate) fn lost(&self) -> Option<Lost> {
        if let Some(host_rank) = self.left() {
            return Some(Lost { host_rank, has_left: true });
        }
        let is_alive = |host_rank: &usize| {
            let pid = self.pid(*host_rank).map_or(0, |pid| pid.load(Ordering::Relaxed));
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // One that has not written its number yet is about to.
            pid.is_none_or(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
        };
        let host_rank = (0..self.host_size).find(|rank| !is_alive(rank))?;
        Some(Lost { host_rank, has_left: false })
    }
}

/// Wakes all that sleep on a word.
pub(crate) fn wake_all(word: &AtomicU32) {
    // It fails for no word of memory that is there.
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX.unsigned_abs());
}

/// How many cores the host has, whatever a launcher has bound this process to.
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
    use crate::memory::Memory;

    /// The boards of so many ranks, which are threads here.
    fn boards(ranks: usize) -> Vec<HostExchange> {
        let len = HostExchange::len(ranks, 0).unwrap();
        let (made, _file, offer) = Memory::make(len).unwrap();
        let mut memories = vec![made];
        memories.extend((1..ranks).map(|_| Memory::open(&offer, len).unwrap()));
        let boards = memories.into_iter().enumerate();
        boards.map(|(rank, memory)| HostExchange::new(memory, rank, ranks, 0).unwrap()).collect()
    }

    #[test]
    fn what_is_said_is_heard_by_all() {
        const RANKS: usize = 4;
        const ROUNDS: usize = 2_000;
        let ranks = boards(RANKS).into_iter().enumerate().map(|(rank, board)| {
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    let mut own = [rank as u8; RECORD];
                    own[..8].copy_from_slice(&(round as u64).to_ne_bytes());
                    let side = board.exchange(&own).unwrap();
                    for other in 0..RANKS {
                        let said = board.said(side, other);
                        assert_eq!(said[..8], (round as u64).to_ne_bytes());
                        assert!(said[8..].iter().all(|byte| *byte == other as u8));
                    }
                }
            })
        });
        ranks.collect::<Vec<_>>().into_iter().for_each(|rank| rank.join().unwrap());
    }

    #[test]
    fn nobody_waits_for_one_that_has_left() {
        let mut boards = boards(2);
        let other = boards.pop().unwrap();
        let waiting = std::thread::spawn(move || other.barrier());
        boards[0].leave();
        assert_eq!(waiting.join().unwrap(), Err(Lost { host_rank: 0, has_left: true }));
    }

    #[test]
    fn nobody_waits_for_one_that_has_ended() {
        let boards = boards(2);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        boards[0].pid(1).unwrap().store(child.id().into(), Ordering::Relaxed);
        // It stays so: there is nobody who could come.
        for _ in 0..3 {
            assert_eq!(boards[0].barrier(), Err(Lost { host_rank: 1, has_left: false }));
        }
    }

    #[test]
    fn lists_of_cores() {
        assert_eq!(cores_in("0-3,8\n"), Some(5));
        assert_eq!(cores_in("0"), Some(1));
        assert_eq!(cores_in(""), None);
        assert!(online_cores() >= 1);
    }
}
