//! The scheduler: a reactor that decides everything and does nothing.
//!
//! [`Scheduler::handle`] takes one [`Event`] and appends [`Action`]s. The scheduler has no I/O, no clock, no thread and
//! no randomness, so equal events always lead to equal actions. The controller feeds it and carries out the actions.
//!
//! A call passes through these states:
//!
//! ```text
//! submitted ──dependencies──▶ ready ──dispatch──▶ sent (prefetched ▶ running ⇄ blocked) ──▶ done or failed
//!                               ▲                   │
//!                               └──── retracted, or its worker is lost before it started
//! ```
//!
//! The layers, each of which calls only those below it (`cargo xtask tidy` checks it):
//!
//! - [`reactor`]: one file per kind of event, and the dispatch of ready calls;
//! - [`transitions`]: steps that change several tables, such as settling an object or failing a call;
//! - [`policy`]: decisions over `&State`, which change nothing: placement, stealing, deadlocks;
//! - [`state`]: the tables, each with its own invariants.
//!
//! [`event`], [`request`] and [`limits`] are the vocabulary that all of them and the scheduler's users share.

mod event;
mod limits;
mod policy;
mod reactor;
mod request;
mod state;
mod transitions;

#[cfg(test)]
mod tests;

pub(crate) use event::{Action, Copy, Event, Role, Run, Timer};
pub(crate) use limits::{HostLimits, Limits};
pub(crate) use request::{Blocks, Reply, Request, RequestId, Value};
#[cfg(any(test, feature = "simulation"))]
pub(crate) use state::tasks::Caller;

use crate::store::StoredObject;
use state::State;
use std::sync::Arc;
#[cfg(any(test, feature = "simulation"))]
use unidist_common::TaskId;
use unidist_common::{DataId, HostId, StoreHolder};

/// The scheduler of a session. See the module documentation.
#[derive(Debug)]
pub(crate) struct Scheduler {
    state: State,
}

impl Scheduler {
    /// A session without processes; [`start_workers`](Scheduler::start_workers) starts them.
    pub(crate) fn new(limits: Limits) -> Self {
        Scheduler { state: State::new(&limits) }
    }

    /// Starts one worker for each slot.
    pub(crate) fn start_workers(&mut self, actions: &mut Vec<Action>) {
        reactor::start_workers(&mut self.state);
        actions.append(&mut self.state.actions);
    }

    /// Reacts to an event and appends the actions that follow from it.
    pub(crate) fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        reactor::react(&mut self.state, event);
        actions.append(&mut self.state.actions);
    }

    /// Hands out the calls that are ready. Call it after a batch of events.
    pub(crate) fn dispatch_into(&mut self, actions: &mut Vec<Action>) {
        reactor::dispatch_ready(&mut self.state);
        actions.append(&mut self.state.actions);
    }

    /// Whether a search for deadlocks has not ended.
    pub(crate) fn is_searching(&self) -> bool {
        self.state.deadlocks.is_any()
    }

    /// Takes a step of the search for deadlocks. Call it while nothing else happens.
    pub(crate) fn search_into(&mut self, actions: &mut Vec<Action>) {
        reactor::search_deadlocks(&mut self.state);
        actions.append(&mut self.state.actions);
    }

    /// Has searches for deadlocks take smaller steps.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn set_search_budget(&mut self, budget: usize) {
        self.state.deadlocks.set_budget(budget);
    }

    /// Whether workers have started; `None` while some are still starting.
    pub(crate) fn workers_started(&self) -> Option<bool> {
        let starting: usize = self.state.hosts.iter().map(|host| host.starting).sum();
        (starting == 0).then(|| self.state.pool().next().is_some())
    }

    /// Whether the session has ended: no process is left and none will be started.
    pub(crate) fn is_over(&self) -> bool {
        self.state.ending && self.state.workers.is_empty()
    }

    /// What the end of the session waits for, in words. Looks at every process.
    pub(crate) fn running_calls(&self) -> Vec<String> {
        policy::unfinished::running_calls(&self.state)
    }

    /// The number of calls that have not ended.
    pub(crate) fn pending_tasks(&self) -> usize {
        self.state.tasks.len()
    }

    /// How many results a worker may collect before it sends them.
    pub(crate) fn max_result_batch(&self) -> usize {
        policy::result_batching::max_result_batch(&self.state)
    }

    /// Of the unused objects in a host's memory, the one least recently used after this moment, with the moment of its
    /// own last use.
    pub(crate) fn next_victim(&self, host: HostId, after: u64) -> Option<(u64, DataId, Arc<StoredObject>)> {
        self.state.locations.next_victim(host, after)
    }

    /// Bytes of objects in a host's memory: of all objects, and of unused ones.
    pub(crate) fn resident_bytes(&self, host: HostId) -> (u64, u64) {
        self.state.locations.resident_bytes(host)
    }

    /// Whether calls that have not started keep objects in this host's memory: [`Event::MemoryShort`] has them given back.
    pub(crate) fn are_arguments_kept_ahead(&self, host: HostId) -> bool {
        policy::prefetched_arguments::calls_that_keep_memory(&self.state, host).next().is_some()
    }

    /// The users of the memory of this host, for the error of a full store. Looks at every object.
    pub(crate) fn memory_holders(&self, host: HostId) -> Vec<StoreHolder> {
        policy::memory_report::memory_holders(&self.state, host)
    }

    /// Describes a call or request that has not ended, if there is one.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn describe_unfinished(&self) -> Option<String> {
        self.state.describe_unfinished()
    }

    /// Describes what is left although all references are released, if anything is.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn describe_leftovers(&self) -> Option<String> {
        self.state.describe_leftovers()
    }

    /// The CPU slots that are free on all hosts.
    #[cfg(test)]
    pub(crate) fn free_cpus(&self) -> f64 {
        self.state.resources.free_cpus()
    }

    /// Whether this call has not ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn has_task(&self, id: TaskId) -> bool {
        self.state.tasks.contains_key(&id)
    }
}
