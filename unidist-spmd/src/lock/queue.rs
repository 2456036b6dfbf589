//! Who waits for a lock, in the order in which they came.
//!
//! One cell counts the tickets that were given out and those that are out: the holder's, and one for each rank that waits.
//! Who takes a ticket when none is out has the lock, at once. Who does not writes its rank into the slot of its ticket; who
//! gives the lock back, and sees that more tickets are out, marks the next slot as passed, and tells the rank that it finds
//! there. Whoever comes second to a slot sees the other, so the lock goes on whether the next rank has written itself down
//! by then or not. A rank that will wait no longer says so in its slot, and is passed over; its ticket stays out until then,
//! so that no rank has more than one, and as many slots as ranks are enough.

use crate::Result;
use crate::cells::Atomics;

/// The cell of the counts: of tickets given out, and of tickets that are out.
const COUNTS: usize = 0;
const TICKET: u64 = 1 << OUT_BITS;
const OUT_BITS: u32 = 24;
const OUT: u64 = TICKET - 1;

/// The numbers of tickets begin anew after so many.
const TICKETS: u64 = 1 << (u64::BITS - OUT_BITS);
/// So many ranks can be told apart in a slot.
pub(super) const MOST_RANKS: usize = 1 << RANK_BITS;
const RANK_BITS: u32 = OUT_BITS - 2;

/// What is in a slot, beside the ticket.
const WAITING: u64 = 1;
const PASSED: u64 = 2;
const LEFT: u64 = 3;

/// The number of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(pub(super) u64);

impl Ticket {
    fn next(self) -> Self {
        Ticket((self.0 + 1) % TICKETS)
    }

    /// What a slot says.
    fn says(self, what: u64, rank: u64) -> u64 {
        self.0 << OUT_BITS | what << RANK_BITS | rank
    }
}

/// What came of asking for the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
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

    /// A power of two, so that slots go on in order when the numbers of tickets begin anew.
    fn slots(ranks: usize) -> u64 {
        ranks.next_power_of_two() as u64
    }

    /// How many cells there have to be, all 0 at first.
    pub(super) fn cells(ranks: usize) -> usize {
        1 + Queue::slots(ranks) as usize
    }

    fn slot(&self, ticket: Ticket) -> usize {
        1 + (ticket.0 % self.slots) as usize
    }

    /// Asks for the lock.
    pub(super) fn enter<A: Atomics + ?Sized>(&self, cells: &A) -> Result<Entry> {
        let counts = cells.add(COUNTS, TICKET + 1)?;
        let ticket = Ticket(counts >> OUT_BITS);
        if counts & OUT == 0 {
            return Ok(Entry::Held(ticket));
        }
        let was = cells.swap(self.slot(ticket), ticket.says(WAITING, self.rank))?;
        Ok(if was == ticket.says(PASSED, 0) { Entry::Held(ticket) } else { Entry::Waiting(ticket) })
    }

    /// Takes the lock if nobody has it.
    pub(super) fn try_enter<A: Atomics + ?Sized>(&self, cells: &A) -> Result<Option<Ticket>> {
        let counts = cells.load(COUNTS)?;
        if counts & OUT != 0 {
            return Ok(None);
        }
        let was = cells.compare_and_swap(COUNTS, counts, counts.wrapping_add(TICKET + 1))?;
        Ok((was == counts).then_some(Ticket(counts >> OUT_BITS)))
    }

    /// Gives the lock back. If it goes on to a rank that waits, that one has to be told.
    pub(super) fn leave<A: Atomics + ?Sized>(
        &self,
        cells: &A,
        mut ticket: Ticket,
    ) -> Result<Option<(usize, Ticket)>> {
        loop {
            let counts = cells.add(COUNTS, u64::MAX)?;
            if counts & OUT == 1 {
                return Ok(None);
            }
            ticket = ticket.next();
            let was = cells.swap(self.slot(ticket), ticket.says(PASSED, 0))?;
            let rank = was & (MOST_RANKS as u64 - 1);
            if was == ticket.says(WAITING, rank) {
                return Ok(Some((rank as usize, ticket)));
            }
            if was != ticket.says(LEFT, rank) {
                return Ok(None); // the next one sees it when it writes itself down
            }
        }
    }

    /// Whether the lock was passed on to this ticket.
    pub(super) fn was_passed<A: Atomics + ?Sized>(&self, cells: &A, ticket: Ticket) -> Result<bool> {
        Ok(cells.load(self.slot(ticket))? == ticket.says(PASSED, 0))
    }

    /// Waits no longer. Whether that was in time: if not, this rank has the lock.
    pub(super) fn give_up<A: Atomics + ?Sized>(&self, cells: &A, ticket: Ticket) -> Result<bool> {
        let (waiting, left) = (ticket.says(WAITING, self.rank), ticket.says(LEFT, self.rank));
        Ok(cells.compare_and_swap(self.slot(ticket), waiting, left)? == waiting)
    }

    /// Waits again with a ticket that was given up. Whether that was in time: if not, it was passed over.
    pub(super) fn come_back<A: Atomics + ?Sized>(&self, cells: &A, ticket: Ticket) -> Result<bool> {
        let (waiting, left) = (ticket.says(WAITING, self.rank), ticket.says(LEFT, self.rank));
        Ok(cells.compare_and_swap(self.slot(ticket), left, waiting)? == left)
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

    fn waiting(entry: Entry) -> Ticket {
        let Entry::Waiting(ticket) = entry else { panic!("{entry:?}") };
        ticket
    }

    #[test]
    fn first_come_first_served() {
        let (cells, queues) = (cells(3), queues(3));
        let cells = &cells[..];
        let Entry::Held(first) = queues[2].enter(cells).unwrap() else { panic!() };
        assert_eq!(queues[0].try_enter(cells), Ok(None));
        let second = waiting(queues[0].enter(cells).unwrap());
        let third = waiting(queues[1].enter(cells).unwrap());
        assert_eq!(queues[2].leave(cells, first), Ok(Some((0, second))));
        assert_eq!(queues[0].leave(cells, second), Ok(Some((1, third))));
        assert_eq!(queues[1].leave(cells, third), Ok(None));
        assert!(queues[0].try_enter(cells).unwrap().is_some());
    }

    #[test]
    fn who_gave_up_is_passed_over_and_may_come_back() {
        let (cells, queues) = (cells(3), queues(3));
        let cells = &cells[..];
        let Entry::Held(first) = queues[0].enter(cells).unwrap() else { panic!() };
        let second = waiting(queues[1].enter(cells).unwrap());
        let third = waiting(queues[2].enter(cells).unwrap());
        assert_eq!(queues[1].give_up(cells, second), Ok(true));
        assert_eq!(queues[1].come_back(cells, second), Ok(true));
        assert_eq!(queues[1].give_up(cells, second), Ok(true));
        assert_eq!(queues[0].leave(cells, first), Ok(Some((2, third))));
        assert_eq!(queues[1].come_back(cells, second), Ok(false));
        assert_eq!(queues[2].give_up(cells, third), Ok(false), "it has the lock");
        assert_eq!(queues[2].leave(cells, third), Ok(None));
    }

    #[test]
    fn all_may_give_up() {
        let (cells, queues) = (cells(2), queues(2));
        let cells = &cells[..];
        for _ in 0..5 {
            let Entry::Held(first) = queues[0].enter(cells).unwrap() else { panic!() };
            let second = waiting(queues[1].enter(cells).unwrap());
            assert_eq!(queues[1].give_up(cells, second), Ok(true));
            assert_eq!(queues[0].leave(cells, first), Ok(None));
        }
    }

    #[test]
    fn tickets_begin_anew() {
        let (cells, queues) = (cells(2), queues(2));
        cells[COUNTS].store((TICKETS - 1) << OUT_BITS, Ordering::Relaxed);
        let cells = &cells[..];
        let Entry::Held(last) = queues[0].enter(cells).unwrap() else { panic!() };
        assert_eq!(last, Ticket(TICKETS - 1));
        let first = waiting(queues[1].enter(cells).unwrap());
        assert_eq!(first, Ticket(0));
        assert_eq!(queues[0].leave(cells, last), Ok(Some((1, first))));
        assert_eq!(queues[1].leave(cells, first), Ok(None));
        assert_eq!(cells[COUNTS].load(Ordering::Relaxed) & OUT, 0);
    }

    /// Threads as ranks, which give up now and then.
    #[test]
    fn one_at_a_time() {
        const RANKS: usize = 4;
        const ROUNDS: usize = if cfg!(miri) { 20 } else { 5_000 };
        let cells = cells(RANKS);
        let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let run = |rank: usize| {
            let (queue, cells) = (Queue::new(rank, RANKS), &cells[..]);
            let mut left = None;
            for round in 0..ROUNDS {
                let back = left.take().filter(|ticket| queue.come_back(cells, *ticket).unwrap());
                let ticket = match back.map_or_else(|| queue.enter(cells).unwrap(), Entry::Waiting) {
                    Entry::Held(ticket) => ticket,
                    Entry::Waiting(ticket) => {
                        let mut looks = 0;
                        let has_it = loop {
                            if queue.was_passed(cells, ticket).unwrap() {
                                break true;
                            }
                            looks += 1;
                            if round % 3 == 0 && looks > 2 {
                                break !queue.give_up(cells, ticket).unwrap();
                            }
                            std::thread::yield_now();
                        };
                        if !has_it {
                            left = Some(ticket);
                            continue;
                        }
                        ticket
                    }
                };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                taken.fetch_add(1, Ordering::SeqCst);
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                queue.leave(cells, ticket).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let run = &run;
            (0..RANKS).for_each(|rank| {
                scope.spawn(move || run(rank));
            });
        });
        assert!(taken.into_inner() >= RANKS * ROUNDS / 2);
        assert_eq!(cells[COUNTS].load(Ordering::SeqCst) & OUT, 0, "no ticket is out");
    }
}
