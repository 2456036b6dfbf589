//! How a rank that waits for a lock sleeps, and is told that it has it.

use super::queue::Ticket;
use crate::board::wake_all;
use crate::leftovers::Leftover;
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
pub(super) struct Turn {
    way: Way,
    object: u32,
    communicator: Communicator,
}

#[derive(Debug)]
enum Way {
    /// Memory of the one host: for each rank, a bell to sleep on. It looks for itself whether it has the lock.
    Bells(Words),
    /// Messages from host to host.
    Messages(Tokens),
    Ended,
}

impl Turn {
    /// Of the lock with this number. Collective.
    pub(super) fn new(communicator: &Communicator, object: u32) -> Result<Self> {
        let way = match communicator.network().filter(|_| communicator.hosts() > 1) {
            Some(network) => Way::Messages(network.tokens()?),
            None => {
                let ranks = communicator.size();
                let too_many = || Error::Memory { message: format!("{ranks} ranks are too many") };
                let memory = communicator.memory(Words::len(0, ranks).ok_or_else(too_many)?)?;
                Way::Bells(Words::new(memory, 0, ranks).ok_or_else(too_many)?)
            }
        };
        Ok(Turn { way, object, communicator: communicator.clone() })
    }

    /// Tells a rank that the lock is its own.
    pub(super) fn tell(&self, rank: usize, ticket: Ticket) -> Result<()> {
        match &self.way {
            Way::Bells(words) => {
                if let Some(bell) = words.bells().get(rank) {
                    bell.fetch_add(1, Ordering::Release);
                    wake_all(bell);
                }
                Ok(())
            }
            Way::Messages(tokens) => tokens.send(rank, self.token(ticket)),
            Way::Ended => Ok(()),
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
        match &self.way {
            Way::Bells(words) => self.sleep(words, deadline, was_passed),
            Way::Messages(tokens) => self.look_for_token(tokens, self.token(ticket), deadline),
            Way::Ended => Ok(false),
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
        match &mut std::mem::replace(&mut self.way, Way::Ended) {
            Way::Messages(tokens) => tokens.free(),
            Way::Bells(_) | Way::Ended => Ok(()),
        }
    }
}

/// It waits for nobody: see [`crate::leftovers`].
impl Drop for Turn {
    fn drop(&mut self) {
        if let Way::Messages(tokens) = std::mem::replace(&mut self.way, Way::Ended) {
            self.communicator.leftovers().add(self.object, Leftover::Tokens(tokens));
        }
    }
}
