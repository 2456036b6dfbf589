//! What an executor, its futures and its maps share.
//!
//! Who ends when: the ledger knows every call that was submitted until the session says that it has ended, and every map
//! for as long as its iterator is there. A call that is left running by a map that was dropped is entered as if it had been
//! submitted. The session tells of ends on whatever thread asks it for something; so no lock is held here while the
//! session is asked.

use super::callbacks::Callbacks;
use super::error::{Error, Result};
use super::initializer::InitializerFailed;
use super::notice::lock;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use unidist_core::{Error as CoreError, ErrorKind, Group, TaskError, current_call, session};

/// Calls that may not have ended.
pub(super) trait Outstanding: Send + Sync {
    /// Waits until they have ended, in one way or the other.
    fn wait(&self) -> unidist_core::Result<()>;
    /// Cancels those that have not started.
    fn cancel_unstarted(&self) -> unidist_core::Result<()>;
}

#[derive(Default)]
pub(super) struct Shared {
    /// How many calls may run at once; none: as many as there are workers.
    pub(super) limit: Option<NonZeroUsize>,
    /// None until the executor has started with an initializer.
    pub(super) id: OnceLock<Arc<str>>,
    pub(super) callbacks: Arc<Callbacks>,
    broken: OnceLock<TaskError>,
    ledger: Mutex<Ledger>,
    emptied: Condvar,
}

#[derive(Default)]
struct Ledger {
    is_shut: bool,
    next: u64,
    calls: HashMap<u64, Arc<dyn Outstanding>>,
    maps: Vec<Weak<dyn Outstanding>>,
}

impl Shared {
    pub(super) fn new(limit: Option<NonZeroUsize>) -> Arc<Self> {
        Arc::new(Shared { limit, ..Shared::default() })
    }

    /// The CPU slots of the session.
    pub(super) fn cpus(call: &str) -> Result<usize> {
        let hosts = session::current(call)?.cluster()?.hosts;
        let cpus: f64 = hosts.values().filter_map(|resources| resources.get("CPU")).sum();
        Ok(cpus as usize)
    }

    /// A group for the calls of this executor.
    pub(super) fn group(&self) -> Result<Group> {
        let limit = match self.limit {
            Some(limit) if limit.get() < Shared::cpus("Executor")? => u32::try_from(limit.get()).ok(),
            _ => None,
        };
        Ok(match limit {
            Some(limit) => Group::limited(limit)?,
            None => Group::new()?,
        })
    }

    /// Whether calls can be made.
    pub(super) fn check(&self, call: &'static str) -> Result<()> {
        if lock(&self.ledger).is_shut {
            return Err(Error::ShutDown { call });
        }
        match self.broken.get() {
            Some(cause) => Err(Error::Broken { cause: Box::new(cause.clone()) }),
            None => Ok(()),
        }
    }

    pub(super) fn enter(&self, call: Arc<dyn Outstanding>) -> u64 {
        let mut ledger = lock(&self.ledger);
        ledger.next += 1;
        let key = ledger.next;
        ledger.calls.insert(key, call);
        key
    }

    pub(super) fn leave(&self, key: u64) {
        let (left, is_empty) = {
            let mut ledger = lock(&self.ledger);
            (ledger.calls.remove(&key), ledger.calls.is_empty())
        };
        drop(left); // not under the lock: it may hold the last ref to a result
        if is_empty {
            self.emptied.notify_all();
        }
    }

    pub(super) fn enter_map(&self, map: Weak<dyn Outstanding>) {
        let mut ledger = lock(&self.ledger);
        if ledger.maps.len() == ledger.maps.capacity() {
            ledger.maps.retain(|map| map.strong_count() > 0);
        }
        ledger.maps.push(map);
    }

    /// Refuses calls from now on.
    pub(super) fn shut(&self) {
        lock(&self.ledger).is_shut = true;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get().is_some()
    }

    /// Waits for all that is known now, and for the callbacks of what has ended.
    pub(super) fn wait_for_all(&self) {
        for outstanding in self.outstanding() {
            if let Err(error) = outstanding.wait() {
                log::debug!("an executor does not wait for its calls any longer: {error}");
                return;
            }
        }
        if current_call().is_some() {
            return; // the slot of this task is taken: what callbacks wait for might never run
        }
        let mut ledger = lock(&self.ledger);
        while !ledger.calls.is_empty() {
            ledger = self.emptied.wait(ledger).unwrap_or_else(PoisonError::into_inner);
        }
        drop(ledger);
        self.callbacks.drain();
    }

    pub(super) fn cancel_unstarted(&self) {
        for outstanding in self.outstanding() {
            if let Err(error) = outstanding.cancel_unstarted() {
                return log::debug!("an executor does not cancel its calls: {error}");
            }
        }
    }

    fn outstanding(&self) -> Vec<Arc<dyn Outstanding>> {
        let ledger = lock(&self.ledger);
        let maps = ledger.maps.iter().filter_map(Weak::upgrade);
        ledger.calls.values().cloned().chain(maps).collect()
    }

    /// The failure of a call of this executor, as it is told to the user.
    pub(super) fn judge(self: &Arc<Self>, error: CoreError) -> Error {
        match error {
            CoreError::Task(error) => self.judge_task(*error),
            error => Error::Other(error),
        }
    }

    pub(super) fn judge_task(self: &Arc<Self>, error: TaskError) -> Error {
        self.notice_failure(&error);
        match self.broken.get() {
            Some(cause) if self.is_of_initializer(&error) || error.kind == ErrorKind::Cancelled => {
                Error::Broken { cause: Box::new(cause.clone()) }
            }
            _ => error.into(),
        }
    }

    fn is_of_initializer(&self, error: &TaskError) -> bool {
        self.failed_initializer(error).is_some()
    }

    fn failed_initializer(&self, error: &TaskError) -> Option<InitializerFailed> {
        let id = self.id.get()?;
        error.downcast::<InitializerFailed>().filter(|failed| *failed.executor == **id)
    }

    /// Breaks the executor if this is the failure of its initializer. It never waits.
    pub(super) fn notice_failure(self: &Arc<Self>, error: &TaskError) {
        if let Some(failed) = self.failed_initializer(error)
            && self.broken.set(failed.cause).is_ok()
        {
            let shared = self.clone();
            self.callbacks.run(Box::new(move || shared.cancel_unstarted()));
        }
    }
}
