//! How a rank that waits for a lock sleeps, and is told that it has it.

use super::queue::Ticket;
use crate::board::wake_all;
use crate::memory::Words;
use crate::network::Tokens;
use crate::{Communicator, Error, Result};
use rustix::thread::futex;
use rustix::time::Timespec;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Who sleeps looks this often whether the other ranks of its host are alive.
const LOOK: Duration = Duration::from_millis(500);

/// What ranks are told through.
#[derive(Debug)]
pub(super) enum Turn {
    /// Memory of the one host: for each rank, the ticket that has come last, and a bell to sleep on.
    Host(Words),
    /// Messages from host to host.
    Far(Tokens),
}

impl Turn {
    /// Collective.
    pub(super) fn new(communicator: &Communicator) -> Result<Self> {
        match communicator.network().filter(|_| communicator.hosts() > 1) {
            Some(network) => Ok(Turn::Far(network.tokens()?)),
            None => {
                let ranks = communicator.size();
                let too_many = || Error::Memory { message: format!("{ranks} ranks are too many") };
                let memory = communicator.memory(Words::len(ranks, ranks).ok_or_else(too_many)?)?;
                Ok(Turn::Host(Words::new(memory, ranks, ranks).ok_or_else(too_many)?))
            }
        }
    }

    /// Tells a rank that the lock is its own.
    pub(super) fn tell(&self, rank: usize, ticket: Ticket) -> Result<()> {
        match self {
            Turn::Host(words) => {
                let unknown = || Error::argument("Lock", format!("there is no rank {rank}"));
                let (last, bell) =
                    words.numbers().get(rank).zip(words.bells().get(rank)).ok_or_else(unknown)?;
                last.store(ticket.0 + 1, Ordering::Release);
                bell.fetch_add(1, Ordering::Release);
                wake_all(bell);
                Ok(())
            }
            Turn::Far(tokens) => tokens.send(rank, ticket.0),
        }
    }

    /// Waits until this rank is told that it has the lock, at most until the deadline. Whether it has it.
    pub(super) fn wait(
        &self,
        communicator: &Communicator,
        ticket: Ticket,
        deadline: Option<Instant>,
    ) -> Result<bool> {
        match self {
            Turn::Host(words) => wait_on_host(words, communicator, ticket, deadline),
            Turn::Far(tokens) => wait_for_token(tokens, ticket, deadline),
        }
    }

    /// Takes what nobody waits for any more, and ends. Collective.
    pub(super) fn free(&mut self) -> Result<()> {
        if let Turn::Far(tokens) = self {
            while tokens.receive()?.is_some() {}
            tokens.free();
        }
        Ok(())
    }
}

fn wait_on_host(
    words: &Words,
    communicator: &Communicator,
    ticket: Ticket,
    deadline: Option<Instant>,
) -> Result<bool> {
    let rank = communicator.rank();
    let (last, bell) = (&words.numbers()[rank], &words.bells()[rank]);
    loop {
        let rung = bell.load(Ordering::Acquire);
        if last.load(Ordering::Acquire) == ticket.0 + 1 {
            return Ok(true);
        }
        let time =
            deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()).min(LOOK));
        if time.is_zero() {
            return Ok(false);
        }
        // It is at most half a second.
        let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        if futex::wait(bell, futex::Flags::empty(), rung, Some(&time)) == Err(rustix::io::Errno::TIMEDOUT) {
            communicator.check_host()?;
        }
    }
}

fn wait_for_token(tokens: &Tokens, ticket: Ticket, deadline: Option<Instant>) -> Result<bool> {
    let start = Instant::now();
    loop {
        // A token may still come for a ticket that was given up too late.
        while let Some(token) = tokens.receive()? {
            if token == ticket.0 {
                return Ok(true);
            }
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(false);
        }
        tokens.pause(start);
    }
}
