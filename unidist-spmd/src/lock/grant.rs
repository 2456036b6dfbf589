//! How a rank that waits for a lock sleeps, and is told that it has it.

use super::queue::Ticket;
use crate::deferred_free::DeferredFree;
use crate::host_exchange::wake_all;
use crate::memory::Words;
use crate::network::Tokens;
use crate::{Communicator, Error, Result};
use rustix::thread::futex;
use rustix::time::Timespec;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Who sleeps looks this often whether the other ranks of its host are alive.
const LOOK: Duration = Duration::from_millis(500);
/// The numbers of tickets have so many bits; above them, a token has some of its lock's number.
const TICKET_BITS: u32 = 40;

/// What ranks are told through.
#[derive(Debug)]
pub(super) struct GrantChannel {
    transport: Transport,
    object: u32,
    communicator: Communicator,
}

#[derive(Debug)]
enum Transport {
    /// Memory of the one host: for each rank, a bell to sleep on. It looks for itself whether it has the lock.
    Bells(Words),
    /// Messages from host to host.
    Messages(Tokens),
    Ended,
}

impl GrantChannel {
    /// Of the lock with this number. Collective.
    pub(super) fn new(communicator: &Communicator, object: u32) -> Result<Self> {
        let transport = match communicator.network().filter(|_| communicator.hosts() > 1) {
            Some(network) => Transport::Messages(network.tokens()?),
            None => {
                let ranks = communicator.size();
                let too_many = || Error::Memory { message: format!("{ranks} ranks are too many") };
                let memory = communicator.memory(Words::len(0, ranks).ok_or_else(too_many)?)?;
                Transport::Bells(Words::new(memory, 0, ranks).ok_or_else(too_many)?)
            }
        };
        Ok(GrantChannel { transport, object, communicator: communicator.clone() })
    }

    /// Tells a rank that the lock is its own.
    pub(super) fn notify(&self, rank: usize, ticket: Ticket) -> Result<()> {
        match &self.transport {
            Transport::Bells(words) => {
                if let Some(bell) = words.bells().get(rank) {
                    bell.fetch_add(1, Ordering::Release);
                    wake_all(bell);
                }
                Ok(())
            }
            Transport::Messages(tokens) => tokens.send(rank, self.token(ticket)),
            Transport::Ended => Ok(()),
        }
    }

    /// A token for another lock, or for a ticket that was given up, may still come.
    fn token(&self, ticket: Ticket) -> u64 {
        u64::from(self.object) << TICKET_BITS | ticket.0
    }

    /// Waits until this rank has the lock, at most until the deadline; `was_passed` says whether it has. Whether it has it.
    pub(super) fn wait(
        &self,
        ticket: Ticket,
        deadline: Option<Instant>,
        was_passed: impl Fn() -> Result<bool>,
    ) -> Result<bool> {
        match &self.transport {
            Transport::Bells(words) => self.sleep(words, deadline, was_passed),
            Transport::Messages(tokens) => self.look_for_token(tokens, self.token(ticket), deadline),
            Transport::Ended => Ok(false),
        }
    }

    fn sleep(
        &self,
        words: &Words,
        deadline: Option<Instant>,
        was_passed: impl Fn() -> Result<bool>,
    ) -> Result<bool> {
        let bell = &words.bells()[self.communicator.rank()];
        loop {
            let rung = bell.load(Ordering::Acquire);
            if was_passed()? {
                return Ok(true);
            }
            let left = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
            let time = left.min(LOOK);
            if time.is_zero() {
                return Ok(false);
            }
            // It is at most half a second.
            let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
            let slept = futex::wait(bell, futex::Flags::empty(), rung, Some(&time));
            if slept == Err(rustix::io::Errno::TIMEDOUT) {
                self.communicator.check_host()?;
            }
        }
    }

    fn look_for_token(&self, tokens: &Tokens, wanted: u64, deadline: Option<Instant>) -> Result<bool> {
        let start = Instant::now();
        let mut looked = start;
        loop {
            while let Some(token) = tokens.receive()? {
                if token == wanted {
                    return Ok(true);
                }
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(false);
            }
            if now - looked > LOOK {
                self.communicator.check_host()?;
                looked = now;
            }
            tokens.pause(start, deadline.map(|deadline| deadline - now));
        }
    }

    /// Takes what nobody waits for any more, and ends. All ranks call this.
    pub(super) fn free(&mut self) -> Result<()> {
        match &mut std::mem::replace(&mut self.transport, Transport::Ended) {
            Transport::Messages(tokens) => tokens.free(),
            Transport::Bells(_) | Transport::Ended => Ok(()),
        }
    }
}

/// It waits for nobody: see [`crate::deferred_free`].
impl Drop for GrantChannel {
    fn drop(&mut self) {
        if let Transport::Messages(tokens) = std::mem::replace(&mut self.transport, Transport::Ended) {
            self.communicator.deferred_frees().add(self.object, DeferredFree::Tokens(tokens));
        }
    }
}
