//! A fair lock across ranks.

mod grant;
mod queue;

use crate::call::CallKind;
use crate::cells::Cells;
use crate::{Communicator, Error, Result};
use grant::GrantChannel;
use queue::{Enqueued, MAX_RANKS, Queue, Ticket};
use std::time::{Duration, Instant};

/// A lock over all ranks of a communicator: first come, first served. Locks on one communicator are independent.
///
/// [`Lock::new`] and [`Lock::close`] are collective; in between, each rank takes the lock when it likes. A rank that waits
/// sleeps. A rank may also drop its part, which waits for no other rank: over several hosts, the MPI resources are then
/// freed when all ranks have dropped it, in the next collective function of the communicator, or when the job ends.
///
/// ```
/// use unidist_spmd::{Communicator, Lock};
///
/// # fn main() -> unidist_spmd::Result<()> {
/// let world = Communicator::world()?;
/// let mut lock = Lock::new(&world)?;
/// {
///     let _guard = lock.lock()?;
///     println!("rank {} alone writes the file", world.rank());
/// }
/// lock.close()
/// # }
/// ```
///
/// # Which ranks it waits for
///
/// Only for the rank that holds it. On one host, taking and releasing the lock are operations on shared memory. Over several
/// hosts the queue is kept on the first rank, and is changed by one-sided MPI. Over most networks that rank's MPI must make
/// progress, which a thread of it does, whatever the program does there. While the lock is idle, that thread takes less than
/// a hundredth of a core.
///
/// If a rank ends while it holds the lock, waiting ranks of its host get [`Error::RankLost`]; usually the launcher ends the
/// whole job.
#[derive(Debug)]
pub struct Lock {
    communicator: Communicator,
    object: u32,
    queue: Queue,
    cells: Cells,
    grants: GrantChannel,
    held: Option<Ticket>,
    /// A ticket that this rank has abandoned after a time-out, and that may still be in the queue.
    abandoned: Option<Ticket>,
}

impl Lock {
    /// A lock that no rank holds. Collective.
    ///
    /// # Errors
    ///
    /// Another rank called something else, or is lost; MPI fails, or the ranks of a host cannot share memory.
    pub fn new(communicator: &Communicator) -> Result<Self> {
        let ranks = communicator.size();
        if ranks > MAX_RANKS {
            return Err(Error::argument("Lock::new", format!("{ranks} ranks are more than {MAX_RANKS}")));
        }
        let (object, _) = communicator.agree_on_new(CallKind::NewLock, &())?;
        let grants = GrantChannel::new(communicator, object)?;
        Ok(Lock {
            queue: Queue::new(communicator.rank(), ranks),
            cells: Cells::new(communicator, &vec![0; Queue::cells(ranks)])?,
            grants,
            communicator: communicator.clone(),
            object,
            held: None,
            abandoned: None,
        })
    }

    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// A rank of this host is lost; MPI fails; or this rank holds the lock, because a guard was leaked.
    pub fn lock(&mut self) -> Result<LockGuard<'_>> {
        while !self.acquire("Lock::lock", None)? {}
        Ok(LockGuard { lock: self })
    }

    /// Takes the lock if no rank holds it.
    ///
    /// # Errors
    ///
    /// See [`Lock::lock`].
    pub fn try_lock(&mut self) -> Result<Option<LockGuard<'_>>> {
        self.check_not_held("Lock::try_lock")?;
        self.held = self.queue.try_acquire(&self.cells)?;
        Ok(self.held.map(|_| LockGuard { lock: self }))
    }

    /// Waits for the lock at most for `time`; `None` after a time-out.
    ///
    /// A rank that tries again soon keeps its place in the queue, unless the lock has passed it meanwhile.
    ///
    /// # Errors
    ///
    /// See [`Lock::lock`].
    pub fn lock_timeout(&mut self, time: Duration) -> Result<Option<LockGuard<'_>>> {
        let acquired = self.acquire("Lock::lock_timeout", Instant::now().checked_add(time))?;
        Ok(acquired.then(|| LockGuard { lock: self }))
    }

    /// Frees the lock. Collective.
    ///
    /// # Errors
    ///
    /// Other ranks call something else, or one is lost.
    pub fn close(mut self) -> Result<()> {
        self.communicator.agree(CallKind::FreeLock, self.object, &())?;
        self.grants.free()?;
        self.cells.free()
    }

    /// A leaked guard never releases the lock.
    fn check_not_held(&self, call: &str) -> Result<()> {
        let message = "this rank holds the lock and has leaked its guard, so no rank can take it again: do not call \
                       `mem::forget` on a guard";
        if self.held.is_some() { Err(Error::argument(call, message)) } else { Ok(()) }
    }

    fn acquire(&mut self, call: &str, deadline: Option<Instant>) -> Result<bool> {
        self.check_not_held(call)?;
        let old = match self.abandoned.take() {
            Some(ticket) if self.queue.rejoin(&self.cells, ticket)? => Some(ticket),
            _ => None,
        };
        let enqueued =
            old.map_or_else(|| self.queue.enqueue(&self.cells), |old| Ok(Enqueued::Waiting(old)))?;
        let ticket = match enqueued {
            Enqueued::Held(ticket) => {
                self.held = Some(ticket);
                return Ok(true);
            }
            Enqueued::Waiting(ticket) => ticket,
        };
        let is_granted = || self.queue.is_granted(&self.cells, ticket);
        let waited = self.grants.wait(ticket, deadline, is_granted);
        if waited == Ok(true) || !self.queue.abandon(&self.cells, ticket)? {
            self.held = Some(ticket);
            return Ok(true);
        }
        self.abandoned = Some(ticket);
        waited
    }

    fn release(&mut self) -> Result<()> {
        let Some(ticket) = self.held.take() else { return Ok(()) };
        match self.queue.release(&self.cells, ticket)? {
            Some((rank, ticket)) => self.grants.notify(rank, ticket),
            None => Ok(()),
        }
    }
}

/// This rank holds the lock until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'a> {
    lock: &'a mut Lock,
}

impl LockGuard<'_> {
    /// Releases the lock, as dropping the guard does, and returns errors.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn unlock(self) -> Result<()> {
        self.lock.release()
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.lock.release() {
            log::error!("a lock cannot be released, so other ranks wait for it: {error}");
        }
    }
}
