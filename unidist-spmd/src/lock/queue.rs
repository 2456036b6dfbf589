//! The queue of a lock: a ticket lock whose slots record the waiting ranks.
//!
//! One cell counts the tickets that were issued, and those that are outstanding: the holder's, and one for each waiting
//! rank. A rank that takes a ticket while none is outstanding holds the lock at once. Any other rank writes itself into the
//! slot of its ticket. The rank that releases the lock while other tickets are outstanding marks the next slot as granted and
//! notifies the rank that it finds there. Slots are swapped atomically, so whichever of the two comes second sees the other,
//! and the lock moves on whether or not the next rank has written itself down. A rank that stops waiting marks its slot as
//! abandoned and is skipped. Its ticket stays outstanding until then, so that no rank has more than one ticket, and one slot
//! for each rank is enough.

use crate::Result;
use crate::cells::AtomicCells;

/// The cell of the counts: tickets issued (high bits), tickets outstanding (low bits).
const COUNTS: usize = 0;
const TICKET: u64 = 1 << OUTSTANDING_BITS;
const OUTSTANDING_BITS: u32 = 24;
const OUTSTANDING: u64 = TICKET - 1;

/// Ticket numbers wrap around after this many.
const TICKETS: u64 = 1 << (u64::BITS - OUTSTANDING_BITS);
/// A slot has room for this many different ranks.
pub(super) const MAX_RANKS: usize = 1 << RANK_BITS;
const RANK_BITS: u32 = OUTSTANDING_BITS - 2;

/// The state of a slot, between the ticket and the rank.
const WAITING: u64 = 1;
const GRANTED: u64 = 2;
const ABANDONED: u64 = 3;

/// The number of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(pub(super) u64);

impl Ticket {
    fn next(self) -> Self {
        Ticket((self.0 + 1) % TICKETS)
    }

    /// The value of a slot.
    fn slot_value(self, state: u64, rank: u64) -> u64 {
        self.0 << OUTSTANDING_BITS | state << RANK_BITS | rank
    }
}

/// The result of [`Queue::enqueue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enqueued {
    Held(Ticket),
    Waiting(Ticket),
}

/// The queue as one of its ranks sees it.
#[derive(Debug)]
pub(super) struct Queue {
    rank: u64,
    slots: u64,
}

impl Queue {
    pub(super) fn new(rank: usize, ranks: usize) -> Self {
        Queue { rank: rank as u64, slots: Queue::slots(ranks) }
    }

    /// A power of two, so that consecutive tickets have consecutive slots when ticket numbers wrap around.
    fn slots(ranks: usize) -> u64 {
        ranks.next_power_of_two() as u64
    }

    /// The number of cells, all 0 at first.
    pub(super) fn cells(ranks: usize) -> usize {
        1 + Queue::slots(ranks) as usize
    }

    fn slot(&self, ticket: Ticket) -> usize {
        1 + (ticket.0 % self.slots) as usize
    }

    /// Takes a ticket.
    pub(super) fn enqueue<A: AtomicCells + ?Sized>(&self, cells: &A) -> Result<Enqueued> {
        let counts = cells.add(COUNTS, TICKET + 1)?;
        let ticket = Ticket(counts >> OUTSTANDING_BITS);
        if counts & OUTSTANDING == 0 {
            return Ok(Enqueued::Held(ticket));
        }
        let previous = cells.swap(self.slot(ticket), ticket.slot_value(WAITING, self.rank))?;
        let is_granted = previous == ticket.slot_value(GRANTED, 0);
        Ok(if is_granted { Enqueued::Held(ticket) } else { Enqueued::Waiting(ticket) })
    }

    /// Takes the lock if no rank holds it.
    pub(super) fn try_acquire<A: AtomicCells + ?Sized>(&self, cells: &A) -> Result<Option<Ticket>> {
        let counts = cells.load(COUNTS)?;
        if counts & OUTSTANDING != 0 {
            return Ok(None);
        }
        let previous = cells.compare_and_swap(COUNTS, counts, counts.wrapping_add(TICKET + 1))?;
        Ok((previous == counts).then_some(Ticket(counts >> OUTSTANDING_BITS)))
    }

    /// Releases the lock. Returns the waiting rank that holds it now and must be notified.
    pub(super) fn release<A: AtomicCells + ?Sized>(
        &self,
        cells: &A,
        mut ticket: Ticket,
    ) -> Result<Option<(usize, Ticket)>> {
        loop {
            let counts = cells.add(COUNTS, u64::MAX)?;
            if counts & OUTSTANDING == 1 {
                return Ok(None);
            }
            ticket = ticket.next();
            let previous = cells.swap(self.slot(ticket), ticket.slot_value(GRANTED, 0))?;
            let rank = previous & (MAX_RANKS as u64 - 1);
            if previous == ticket.slot_value(WAITING, rank) {
                return Ok(Some((rank as usize, ticket)));
            }
            if previous != ticket.slot_value(ABANDONED, rank) {
                return Ok(None); // the next rank sees the grant when it writes its slot
            }
        }
    }

    /// Whether this ticket holds the lock.
    pub(super) fn is_granted<A: AtomicCells + ?Sized>(&self, cells: &A, ticket: Ticket) -> Result<bool> {
        Ok(cells.load(self.slot(ticket))? == ticket.slot_value(GRANTED, 0))
    }

    /// Stops waiting. False if this rank was granted the lock before.
    pub(super) fn abandon<A: AtomicCells + ?Sized>(&self, cells: &A, ticket: Ticket) -> Result<bool> {
        let waiting = ticket.slot_value(WAITING, self.rank);
        let abandoned = ticket.slot_value(ABANDONED, self.rank);
        Ok(cells.compare_and_swap(self.slot(ticket), waiting, abandoned)? == waiting)
    }

    /// Waits again with an abandoned ticket. False if it was skipped before.
    pub(super) fn rejoin<A: AtomicCells + ?Sized>(&self, cells: &A, ticket: Ticket) -> Result<bool> {
        let waiting = ticket.slot_value(WAITING, self.rank);
        let abandoned = ticket.slot_value(ABANDONED, self.rank);
        Ok(cells.compare_and_swap(self.slot(ticket), abandoned, waiting)? == abandoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    fn cells(ranks: usize) -> Vec<AtomicU64> {
        (0..Queue::cells(ranks)).map(|_| AtomicU64::new(0)).collect()
    }

    fn queues(ranks: usize) -> Vec<Queue> {
        (0..ranks).map(|rank| Queue::new(rank, ranks)).collect()
    }

    fn waiting(entry: Enqueued) -> Ticket {
        let Enqueued::Waiting(ticket) = entry else { panic!("{entry:?}") };
        ticket
    }

    #[test]
    fn queue_is_first_come_first_served() {
        let (cells, queues) = (cells(3), queues(3));
        let cells = &cells[..];
        let Enqueued::Held(first) = queues[2].enqueue(cells).unwrap() else { panic!() };
        assert_eq!(queues[0].try_acquire(cells), Ok(None));
        let second = waiting(queues[0].enqueue(cells).unwrap());
        let third = waiting(queues[1].enqueue(cells).unwrap());
        assert_eq!(queues[2].release(cells, first), Ok(Some((0, second))));
        assert_eq!(queues[0].release(cells, second), Ok(Some((1, third))));
        assert_eq!(queues[1].release(cells, third), Ok(None));
        assert!(queues[0].try_acquire(cells).unwrap().is_some());
    }

    #[test]
    fn abandoned_ticket_is_skipped_and_may_rejoin() {
        let (cells, queues) = (cells(3), queues(3));
        let cells = &cells[..];
        let Enqueued::Held(first) = queues[0].enqueue(cells).unwrap() else { panic!() };
        let second = waiting(queues[1].enqueue(cells).unwrap());
        let third = waiting(queues[2].enqueue(cells).unwrap());
        assert_eq!(queues[1].abandon(cells, second), Ok(true));
        assert_eq!(queues[1].rejoin(cells, second), Ok(true));
        assert_eq!(queues[1].abandon(cells, second), Ok(true));
        assert_eq!(queues[0].release(cells, first), Ok(Some((2, third))));
        assert_eq!(queues[1].rejoin(cells, second), Ok(false));
        assert_eq!(queues[2].abandon(cells, third), Ok(false), "it holds the lock");
        assert_eq!(queues[2].release(cells, third), Ok(None));
    }

    #[test]
    fn queue_is_empty_when_all_abandon() {
        let (cells, queues) = (cells(2), queues(2));
        let cells = &cells[..];
        for _ in 0..5 {
            let Enqueued::Held(first) = queues[0].enqueue(cells).unwrap() else { panic!() };
            let second = waiting(queues[1].enqueue(cells).unwrap());
            assert_eq!(queues[1].abandon(cells, second), Ok(true));
            assert_eq!(queues[0].release(cells, first), Ok(None));
        }
    }

    #[test]
    fn ticket_numbers_wrap_around() {
        let (cells, queues) = (cells(2), queues(2));
        cells[COUNTS].store((TICKETS - 1) << OUTSTANDING_BITS, Ordering::Relaxed);
        let cells = &cells[..];
        let Enqueued::Held(last) = queues[0].enqueue(cells).unwrap() else { panic!() };
        assert_eq!(last, Ticket(TICKETS - 1));
        let first = waiting(queues[1].enqueue(cells).unwrap());
        assert_eq!(first, Ticket(0));
        assert_eq!(queues[0].release(cells, last), Ok(Some((1, first))));
        assert_eq!(queues[1].release(cells, first), Ok(None));
        assert_eq!(cells[COUNTS].load(Ordering::Relaxed) & OUTSTANDING, 0);
    }

    /// The ranks are threads, some of which abandon their tickets.
    #[test]
    fn lock_is_held_by_one_rank_at_a_time() {
        const RANKS: usize = 4;
        const ROUNDS: usize = if cfg!(miri) { 20 } else { 5_000 };
        let cells = cells(RANKS);
        let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let run = |rank: usize| {
            let (queue, cells) = (Queue::new(rank, RANKS), &cells[..]);
            let mut abandoned = None;
            for round in 0..ROUNDS {
                let rejoined = abandoned.take().filter(|ticket| queue.rejoin(cells, *ticket).unwrap());
                let ticket = match rejoined.map_or_else(|| queue.enqueue(cells).unwrap(), Enqueued::Waiting) {
                    Enqueued::Held(ticket) => ticket,
                    Enqueued::Waiting(ticket) => {
                        let mut polls = 0;
                        let is_held = loop {
                            if queue.is_granted(cells, ticket).unwrap() {
                                break true;
                            }
                            polls += 1;
                            if round % 3 == 0 && polls > 2 {
                                break !queue.abandon(cells, ticket).unwrap();
                            }
                            std::thread::yield_now();
                        };
                        if !is_held {
                            abandoned = Some(ticket);
                            continue;
                        }
                        ticket
                    }
                };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                taken.fetch_add(1, Ordering::SeqCst);
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                queue.release(cells, ticket).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let run = &run;
            (0..RANKS).for_each(|rank| {
                scope.spawn(move || run(rank));
            });
        });
        assert!(taken.into_inner() >= RANKS * ROUNDS / 2);
        assert_eq!(cells[COUNTS].load(Ordering::SeqCst) & OUTSTANDING, 0, "no ticket is outstanding");
    }
}
