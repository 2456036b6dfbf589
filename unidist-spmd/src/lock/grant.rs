//! How a rank that waits for a lock sleeps, and how it is notified that it holds the lock.

use super::queue::Ticket;
use crate::deferred_free::DeferredFree;
use crate::host_exchange::LIVENESS_INTERVAL;
use crate::memory::AtomicWords;
use crate::network::Tokens;
use crate::{Communicator, Error, Result};
use std::sync::atomic::Ordering;
use std::time::Instant;
use unidist_sync::futex::{self, WaitOutcome};
use unidist_sync::time_until;

/// The bits of a ticket number; above them, a token has some bits of the lock's number.
const TICKET_BITS: u32 = 40;

/// Carries the notification from the rank that releases a lock to the next one.
#[derive(Debug)]
pub(super) struct GrantChannel {
    transport: Transport,
    object: u32,
    communicator: Communicator,
}

#[derive(Debug)]
enum Transport {
    /// On one host: a futex for each rank. A rank that wakes checks the queue.
    Futexes(AtomicWords),
    /// Between hosts: MPI messages.
    Messages(Tokens),
    Closed,
}

impl GrantChannel {
    /// Of the lock with this number. Collective.
    pub(super) fn new(communicator: &Communicator, object: u32) -> Result<Self> {
        let transport = match communicator.network().filter(|_| communicator.hosts() > 1) {
            Some(network) => Transport::Messages(network.tokens()?),
            None => {
                let ranks = communicator.size();
                let too_many = || Error::Memory {
                    message: format!("the tickets of {ranks} ranks exceed the address space"),
                };
                let memory = communicator.shared_memory(AtomicWords::len(0, ranks).ok_or_else(too_many)?)?;
                Transport::Futexes(AtomicWords::new(memory, 0, ranks).ok_or_else(too_many)?)
            }
        };
        Ok(GrantChannel { transport, object, communicator: communicator.clone() })
    }

    /// Notifies a rank that it holds the lock.
    pub(super) fn notify(&self, rank: usize, ticket: Ticket) -> Result<()> {
        match &self.transport {
            Transport::Futexes(words) => {
                if let Some(word) = words.futexes().get(rank) {
                    word.fetch_add(1, Ordering::Release);
                    futex::wake_all(word);
                }
                Ok(())
            }
            Transport::Messages(tokens) => tokens.send(rank, self.token(ticket)),
            Transport::Closed => Ok(()),
        }
    }

    /// Tells this lock and ticket from others, whose tokens may still arrive.
    fn token(&self, ticket: Ticket) -> u64 {
        u64::from(self.object) << TICKET_BITS | ticket.0
    }

    /// Waits until this rank holds the lock, at most until the deadline. `is_granted` checks the queue. False after a
    /// time-out.
    pub(super) fn wait(
        &self,
        ticket: Ticket,
        deadline: Option<Instant>,
        is_granted: impl Fn() -> Result<bool>,
    ) -> Result<bool> {
        match &self.transport {
            Transport::Futexes(words) => self.wait_on_futex(words, deadline, is_granted),
            Transport::Messages(tokens) => self.wait_for_token(tokens, self.token(ticket), deadline),
            Transport::Closed => Ok(false),
        }
    }

    fn wait_on_futex(
        &self,
        words: &AtomicWords,
        deadline: Option<Instant>,
        is_granted: impl Fn() -> Result<bool>,
    ) -> Result<bool> {
        let word = &words.futexes()[self.communicator.rank()];
        loop {
            let before = word.load(Ordering::Acquire);
            if is_granted()? {
                return Ok(true);
            }
            let time = time_until(deadline, Instant::now(), LIVENESS_INTERVAL);
            if time.is_zero() {
                return Ok(false);
            }
            if futex::wait(word, before, time) == WaitOutcome::TimedOut {
                self.communicator.check_host_alive()?;
            }
        }
    }

    fn wait_for_token(&self, tokens: &Tokens, expected: u64, deadline: Option<Instant>) -> Result<bool> {
        let start = Instant::now();
        let mut last_check = start;
        loop {
            while let Some(token) = tokens.try_receive()? {
                if token == expected {
                    return Ok(true);
                }
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(false);
            }
            if now - last_check > LIVENESS_INTERVAL {
                self.communicator.check_host_alive()?;
                last_check = now;
            }
            tokens.pause(start, deadline.map(|deadline| deadline - now));
        }
    }

    /// Receives stale tokens, then frees the channel. Collective.
    pub(super) fn free(&mut self) -> Result<()> {
        match &mut std::mem::replace(&mut self.transport, Transport::Closed) {
            Transport::Messages(tokens) => tokens.free(),
            Transport::Futexes(_) | Transport::Closed => Ok(()),
        }
    }
}

/// Does not wait for other ranks: see [`crate::deferred_free`].
impl Drop for GrantChannel {
    fn drop(&mut self) {
        if let Transport::Messages(tokens) = std::mem::replace(&mut self.transport, Transport::Closed) {
            self.communicator.deferred_frees().add(self.object, DeferredFree::Tokens(tokens));
        }
    }
}
