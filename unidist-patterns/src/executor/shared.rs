//! The state that an executor shares with its futures and maps.
//!
//! The registry holds every submitted call until the session reports its end, and every map as long as its iterator
//! exists. Calls that a dropped map leaves running are registered like submitted ones. The session reports ends on any
//! thread that calls it, so no lock is held here during a call of the session.

use super::callbacks::Callbacks;
use super::completion::lock;
use super::error::{Error, Result};
use super::initializer::InitializerFailed;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use unidist_core::{Error as CoreError, ErrorKind, Group, TaskError, current_call, session};

/// Calls that may not have ended.
pub(super) trait Outstanding: Send + Sync {
    /// Waits until they have ended.
    fn wait(&self) -> unidist_core::Result<()>;
    /// Cancels the ones that have not started.
    fn cancel_unstarted(&self) -> unidist_core::Result<()>;
}

#[derive(Default)]
pub(super) struct Shared {
    /// How many calls may run at once; `None`: as many as there are workers.
    pub(super) limit: Option<NonZeroUsize>,
    /// Empty until the first call of an executor with a setup.
    pub(super) id: OnceLock<Arc<str>>,
    pub(super) callbacks: Arc<Callbacks>,
    broken: OnceLock<TaskError>,
    registry: Mutex<Registry>,
    all_ended: Condvar,
}

#[derive(Default)]
struct Registry {
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

    /// Fails if calls cannot be submitted.
    pub(super) fn check(&self, call: &'static str) -> Result<()> {
        if lock(&self.registry).is_shut {
            return Err(Error::ShutDown { call });
        }
        match self.broken.get() {
            Some(cause) => Err(Error::Broken { cause: Box::new(cause.clone()) }),
            None => Ok(()),
        }
    }

    pub(super) fn register(&self, call: Arc<dyn Outstanding>) -> u64 {
        let mut registry = lock(&self.registry);
        registry.next += 1;
        let key = registry.next;
        registry.calls.insert(key, call);
        key
    }

    pub(super) fn unregister(&self, key: u64) {
        let (removed, is_empty) = {
            let mut registry = lock(&self.registry);
            (registry.calls.remove(&key), registry.calls.is_empty())
        };
        drop(removed); // outside of the lock, since it may hold the last ref to a result
        if is_empty {
            self.all_ended.notify_all();
        }
    }

    pub(super) fn register_map(&self, map: Weak<dyn Outstanding>) {
        let mut registry = lock(&self.registry);
        if registry.maps.len() == registry.maps.capacity() {
            registry.maps.retain(|map| map.strong_count() > 0);
        }
        registry.maps.push(map);
    }

    /// Refuses all further calls.
    pub(super) fn refuse_calls(&self) {
        lock(&self.registry).is_shut = true;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get().is_some()
    }

    /// Waits for all registered calls and maps, and for the callbacks of ended futures.
    pub(super) fn wait_for_all(&self) {
        for outstanding in self.outstanding() {
            if let Err(error) = outstanding.wait() {
                log::debug!("an executor stops waiting for its calls: {error}");
                return;
            }
        }
        if current_call().is_some() {
            return; // this task occupies a slot: calls that callbacks wait for might never run
        }
        let mut registry = lock(&self.registry);
        while !registry.calls.is_empty() {
            registry = self.all_ended.wait(registry).unwrap_or_else(PoisonError::into_inner);
        }
        drop(registry);
        self.callbacks.drain();
    }

    pub(super) fn cancel_unstarted(&self) {
        for outstanding in self.outstanding() {
            if let Err(error) = outstanding.cancel_unstarted() {
                return log::debug!("cannot cancel the calls of an executor: {error}");
            }
        }
    }

    fn outstanding(&self) -> Vec<Arc<dyn Outstanding>> {
        let registry = lock(&self.registry);
        let maps = registry.maps.iter().filter_map(Weak::upgrade);
        registry.calls.values().cloned().chain(maps).collect()
    }

    /// The failure of a call of this executor, as the user sees it.
    pub(super) fn classify(self: &Arc<Self>, error: CoreError) -> Error {
        match error {
            CoreError::Task(error) => self.classify_task(*error),
            error => Error::Other(error),
        }
    }

    pub(super) fn classify_task(self: &Arc<Self>, error: TaskError) -> Error {
        self.record_failure(&error);
        match self.broken.get() {
            Some(cause) if self.is_initializer_failure(&error) || error.kind == ErrorKind::Cancelled => {
                Error::Broken { cause: Box::new(cause.clone()) }
            }
            _ => error.into(),
        }
    }

    fn is_initializer_failure(&self, error: &TaskError) -> bool {
        self.failed_initializer(error).is_some()
    }

    fn failed_initializer(&self, error: &TaskError) -> Option<InitializerFailed> {
        let id = self.id.get()?;
        error.downcast::<InitializerFailed>().filter(|failed| *failed.executor == **id)
    }

    /// Marks the executor as broken if this is the failure of its initializer. It never blocks.
    pub(super) fn record_failure(self: &Arc<Self>, error: &TaskError) {
        if let Some(failed) = self.failed_initializer(error)
            && self.broken.set(failed.cause).is_ok()
        {
            let shared = self.clone();
            self.callbacks.run(Box::new(move || shared.cancel_unstarted()));
        }
    }
}
