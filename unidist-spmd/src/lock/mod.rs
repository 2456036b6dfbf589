//! A lock that ranks take in turns.

mod grant;
mod queue;

use crate::call::What;
use crate::cells::Cells;
use crate::{Communicator, Error, Result};
use grant::GrantChannel;
use queue::{Entry, MOST_RANKS, Queue, Ticket};
use std::time::{Duration, Instant};

/// A lock over all ranks of a communicator: first come, first served. Two locks on one communicator have nothing to do with
/// each other.
///
/// It is made by all ranks together, and [closed](Lock::close) by all together; in between each rank takes it when it
/// likes. Who waits sleeps. A rank may also just drop it, and waits for nobody then: what MPI holds for it over several
/// hosts is freed when all ranks have, in the next collective function of the communicator, or when the job ends.
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
/// # Whom it waits for
///
/// For no rank but the one that has it. On one host, taking the lock and giving it back are operations on memory that the
/// ranks share. Over several hosts the list of those that wait is kept on the first rank, and is changed by one-sided MPI;
/// over most networks that rank's MPI has to take part in it, which a thread of it has it do, whatever the program does
/// there. That thread takes less than a hundredth of a core while nobody uses the lock.
///
/// If a rank ends while it has the lock, ranks of its host that wait get [`Error::RankLost`]; mostly the launcher ends the
/// whole job.
#[derive(Debug)]
pub struct Lock {
    communicator: Communicator,
    object: u32,
    queue: Queue,
    cells: Cells,
    grants: GrantChannel,
    held: Option<Ticket>,
    /// A ticket for which this rank has waited too long, and which is perhaps still out.
    left: Option<Ticket>,
}

impl Lock {
    /// A lock that nobody has. Collective.
    ///
    /// # Errors
    ///
    /// Another rank called something else, or is lost; MPI refuses, or the ranks of a host cannot share memory.
    pub fn new(communicator: &Communicator) -> Result<Self> {
        let ranks = communicator.size();
        if ranks > MOST_RANKS {
            return Err(Error::argument("Lock::new", format!("{ranks} ranks are more than {MOST_RANKS}")));
        }
        let (object, _) = communicator.agree_on_new(What::NewLock, &())?;
        let grants = GrantChannel::new(communicator, object)?;
        Ok(Lock {
            queue: Queue::new(communicator.rank(), ranks),
            cells: Cells::new(communicator, &vec![0; Queue::cells(ranks)])?,
            grants,
            communicator: communicator.clone(),
            object,
            held: None,
            left: None,
        })
    }

    /// Waits for the lock.
    ///
    /// # Errors
    ///
    /// A rank of this host is lost; MPI fails; or this rank has the lock, whose guard it has forgotten.
    pub fn lock(&mut self) -> Result<LockGuard<'_>> {
        while !self.acquire("Lock::lock", None)? {}
        Ok(LockGuard { lock: self })
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    ///
    /// See [`Lock::lock`].
    pub fn try_lock(&mut self) -> Result<Option<LockGuard<'_>>> {
        self.check_free("Lock::try_lock")?;
        self.held = self.queue.try_enter(&self.cells)?;
        Ok(self.held.map(|_| LockGuard { lock: self }))
    }

    /// Waits for the lock for this time. `None` if it was not long enough.
    ///
    /// Who tries again soon has still its old place in the queue, unless its turn has come meanwhile.
    ///
    /// # Errors
    ///
    /// See [`Lock::lock`].
    pub fn lock_timeout(&mut self, time: Duration) -> Result<Option<LockGuard<'_>>> {
        let has_it = self.acquire("Lock::lock_timeout", Instant::now().checked_add(time))?;
        Ok(has_it.then(|| LockGuard { lock: self }))
    }

    /// Ends the lock. Collective.
    ///
    /// # Errors
    ///
    /// Other ranks call something else, or one is lost.
    pub fn close(mut self) -> Result<()> {
        self.communicator.agree(What::DropLock, self.object, &())?;
        self.grants.free()?;
        self.cells.free()
    }

    /// A guard that was forgotten never gives the lock back.
    fn check_free(&self, call: &str) -> Result<()> {
        let message = "this rank has the lock, and has forgotten its guard: nobody else can ever take it";
        if self.held.is_some() { Err(Error::argument(call, message)) } else { Ok(()) }
    }

    fn acquire(&mut self, call: &str, deadline: Option<Instant>) -> Result<bool> {
        self.check_free(call)?;
        let old = match self.left.take() {
            Some(ticket) if self.queue.come_back(&self.cells, ticket)? => Some(ticket),
            _ => None,
        };
        let ticket = match old.map_or_else(|| self.queue.enter(&self.cells), |old| Ok(Entry::Waiting(old)))? {
            Entry::Held(ticket) => {
                self.held = Some(ticket);
                return Ok(true);
            }
            Entry::Waiting(ticket) => ticket,
        };
        let was_passed = || self.queue.was_passed(&self.cells, ticket);
        let waited = self.grants.wait(ticket, deadline, was_passed);
        if waited == Ok(true) || !self.queue.give_up(&self.cells, ticket)? {
            self.held = Some(ticket);
            return Ok(true);
        }
        self.left = Some(ticket);
        waited
    }

    fn release(&mut self) -> Result<()> {
        let Some(ticket) = self.held.take() else { return Ok(()) };
        match self.queue.leave(&self.cells, ticket)? {
            Some((rank, ticket)) => self.grants.notify(rank, ticket),
            None => Ok(()),
        }
    }
}

/// The lock is this rank's until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back when it is dropped"]
pub struct LockGuard<'a> {
    lock: &'a mut Lock,
}

impl LockGuard<'_> {
    /// Gives the lock back, as the drop does; and says whether that could be done.
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
            log::error!("a lock cannot be given back: {error}");
        }
    }
}
