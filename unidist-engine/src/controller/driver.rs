//! The engine's state: events from the links, the inbox, the supervisor and the other hosts go into the scheduler, and
//! its actions are carried out.
//!
//! `link` is the engine's end of the link to one process, `inbound` handles messages of processes, `actions` carries
//! out the scheduler's actions, `allocation` finds memory for new blocks. For sessions of several hosts: `remote_hosts`
//! has the network and the state of each host, `connect` connects and disconnects their monitors, `monitor_messages`
//! handles messages of monitors, `remote_store` has their memory, `transfers` transfers objects between hosts.

mod actions;
mod allocation;
mod connect;
mod inbound;
mod link;
mod monitor_messages;
mod remote_hosts;
mod remote_store;
mod transfers;

pub(super) use remote_hosts::{MonitorSpec, RemoteHosts};

use super::inbox::{Inbox, Input};
use super::local_store::LocalStore;
use super::timers::TimerQueue;
use crate::client::pending::{Callback, PendingRequests};
use crate::host::supervisor::{ProcessEvent, Supervisor};
use crate::network::HostId;
use crate::protocol::worker::FromWorker;
use crate::scheduler::{Action, Event, Scheduler};
use allocation::DeferredAllocation;
use link::Link;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use transfers::Transfers;
use unidist_backend::ClusterInfo;
use unidist_common::{Error, ProcessId, Result};
use unidist_sync::SpinLimit;

/// A poll reads at most this many messages of one link, so that no link starves the others.
const MESSAGES_PER_POLL: usize = 512;

/// The state of the engine. The thread that holds it runs the event loop.
pub(crate) struct Driver {
    scheduler: Scheduler,
    links: Vec<Link>,
    by_process: FxHashMap<ProcessId, usize>,
    inbox: Inbox,
    /// The inputs that are being read; kept for its memory.
    inputs: Vec<Input>,
    actions: Vec<Action>,
    /// Events that follow from carrying out actions: calls that cannot be sent, transfers that cannot be made.
    follow_up_events: VecDeque<Event>,
    supervisor: Arc<Supervisor>,
    local_store: LocalStore,
    /// None on a single host.
    hosts: Option<RemoteHosts>,
    /// A network without other hosts, kept for the end of the session.
    unused_network: Option<RemoteHosts>,
    transfers: Transfers,
    requests: Arc<PendingRequests>,
    cluster: ClusterInfo,
    /// Callbacks to run without the driver's lock.
    callbacks: Vec<Callback>,
    /// Allocations that could not be granted at once.
    deferred_allocations: Vec<DeferredAllocation>,
    /// The hosts of which the scheduler knows that their memory is short.
    short_of_memory: Vec<HostId>,
    /// Calls that have not ended, for threads without the driver's lock.
    pending: Arc<AtomicUsize>,
    /// Why the last process that failed to join did so.
    last_join_failure: Option<String>,
    timers: TimerQueue,
}

impl Driver {
    pub(crate) fn new(
        scheduler: Scheduler,
        inbox: Inbox,
        supervisor: Arc<Supervisor>,
        local_store: LocalStore,
        requests: Arc<PendingRequests>,
        cluster: ClusterInfo,
        pending: Arc<AtomicUsize>,
    ) -> Self {
        Driver {
            scheduler,
            links: Vec::new(),
            by_process: FxHashMap::default(),
            inbox,
            inputs: Vec::new(),
            actions: Vec::new(),
            follow_up_events: VecDeque::new(),
            supervisor,
            local_store,
            hosts: None,
            unused_network: None,
            transfers: Transfers::default(),
            requests,
            cluster,
            callbacks: Vec::new(),
            deferred_allocations: Vec::new(),
            short_of_memory: Vec::new(),
            pending,
            last_join_failure: None,
            timers: TimerQueue::default(),
        }
    }

    /// Adds the other hosts of the session.
    pub(crate) fn set_remote_hosts(&mut self, hosts: RemoteHosts) {
        match hosts.is_empty() {
            true => self.unused_network = Some(hosts),
            false => self.hosts = Some(hosts),
        }
    }

    /// Takes the other hosts out: from now on the driver has none.
    pub(crate) fn take_remote_hosts(&mut self) -> Option<RemoteHosts> {
        self.hosts.take().or(self.unused_network.take())
    }

    /// What starts and ends the processes of this host.
    pub(crate) fn supervisor(&self) -> Arc<Supervisor> {
        self.supervisor.clone()
    }

    /// Takes the inbox out: when it is dropped, it is closed.
    pub(crate) fn take_inbox(&mut self) -> Inbox {
        std::mem::replace(&mut self.inbox, Inbox::never())
    }

    /// Starts the first workers.
    pub(crate) fn start_workers(&mut self) {
        self.scheduler.start_workers(&mut self.actions);
        self.apply_actions();
    }

    /// The result of the start, once no process is starting any more: an error if no worker has joined.
    pub(crate) fn started(&self) -> Option<Result<()>> {
        match self.scheduler.workers_started()? {
            true => Some(Ok(())),
            false => {
                let why = self.last_join_failure.as_deref().unwrap_or("the reason is unknown");
                Some(Err(Error::Launch { message: format!("no worker process could be started: {why}") }))
            }
        }
    }

    /// Whether the session has ended, with all its processes.
    pub(crate) fn has_ended(&self) -> bool {
        self.scheduler.is_over()
    }

    /// What the end of the session waits for, in words.
    pub(crate) fn running_calls(&self) -> Vec<String> {
        self.scheduler.running_calls()
    }

    /// Whether there are callbacks, for which the driver's lock has to be released.
    pub(crate) fn has_callbacks(&self) -> bool {
        !self.callbacks.is_empty()
    }

    /// The callbacks to run without the lock.
    pub(crate) fn take_callbacks(&mut self) -> Vec<Callback> {
        std::mem::take(&mut self.callbacks)
    }

    /// How many results a worker may leave in its link while the event loop sleeps, before it wakes it.
    pub(crate) fn results_per_wake(&self) -> usize {
        self.scheduler.max_result_batch()
    }

    /// Sets the spin limit of the processes of this host; returns that of this thread.
    pub(crate) fn update_spin_limit(&mut self, limit: &SpinLimit, cores: usize) -> Duration {
        // Beyond one more than there are cores, the number of awake processes makes no difference.
        let awake = 1 + self.links.iter().filter(|link| link.is_awake_here()).take(cores).count();
        match &mut self.hosts {
            Some(hosts) => {
                limit.set_beside_network(awake, cores);
                hosts.poll_backoff.spin_time_left(Instant::now())
            }
            None => limit.set(awake, cores),
        }
    }

    /// The leader leaves.
    pub(crate) fn stop_waiting(&mut self) {
        if let Some(hosts) = &mut self.hosts {
            hosts.poll_backoff.stop_waiting();
        }
    }

    /// Whether a poll would find something to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.inbox.is_empty()
            || self.links.iter().any(|link| link.has_work() || link.can_flush_backlog())
            || self.timers.is_due()
            || self.scheduler.is_searching()
    }

    /// When the next timer expires.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether the session has, or had, other hosts.
    pub(crate) fn has_remote_hosts(&self) -> bool {
        self.hosts.is_some()
    }

    /// The longest sleep before the network has to be polled again; none on a single host.
    pub(crate) fn network_sleep(&mut self) -> Option<Duration> {
        self.hosts.as_mut().map(RemoteHosts::network_sleep)
    }

    /// Handles everything that has happened; false if nothing has.
    pub(crate) fn poll(&mut self) -> bool {
        let mut progressed = self.read_inbox();
        progressed |= self.read_links();
        for timer in self.timers.take_due() {
            progressed = true;
            self.handle(Event::Expired(timer));
        }
        self.finish_poll(progressed);
        // Last: polling the network takes longer than all of the above, which would wait for it.
        let is_looked_at = self.hosts.as_ref().is_some_and(|hosts| !progressed || hosts.is_poll_due());
        if is_looked_at && self.poll_network() {
            progressed = true;
            self.read_links();
            self.finish_poll(true);
        }
        if !progressed && self.scheduler.is_searching() {
            progressed = true;
            self.scheduler.search_into(&mut self.actions);
            self.apply_until_settled();
            self.flush(true);
        }
        self.pending.store(self.scheduler.pending_tasks(), Ordering::Relaxed);
        progressed
    }

    fn read_links(&mut self) -> bool {
        let mut progressed = false;
        for at in 0..self.links.len() {
            if self.links[at].has_work() {
                progressed = true;
                self.read_link(at, MESSAGES_PER_POLL);
            } else if self.links[at].has_backlog() {
                self.links[at].dirty = true;
            }
        }
        progressed
    }

    /// Carries out what follows from the events that were read, and sends it.
    fn finish_poll(&mut self, progressed: bool) {
        if progressed {
            self.scheduler.dispatch_into(&mut self.actions);
        }
        self.apply_until_settled();
        self.retry_deferred();
        self.apply_until_settled();
        self.flush(progressed);
    }

    fn apply_until_settled(&mut self) {
        while self.apply_actions() {
            self.scheduler.dispatch_into(&mut self.actions);
        }
    }

    fn read_inbox(&mut self) -> bool {
        if self.inbox.is_empty() {
            return false;
        }
        let mut inputs = std::mem::take(&mut self.inputs);
        self.inbox.take_into(&mut inputs);
        for input in inputs.drain(..) {
            match input {
                Input::Message(message) => self.on_program_message(message),
                Input::Process(ProcessEvent::Joined { process, pid, link }) => {
                    self.on_process_joined(Link::here(process, link), pid);
                }
                Input::Process(ProcessEvent::Lost(process, why)) => self.on_process_lost(process, why),
                Input::Shutdown => self.handle(Event::Shutdown),
                #[cfg(test)]
                Input::Panic => panic!("this panic belongs to the test"),
            }
        }
        self.inputs = inputs;
        true
    }

    fn on_program_message(&mut self, message: FromWorker) {
        match message {
            FromWorker::Request(request) => {
                self.handle(Event::Request { process: ProcessId::CONTROLLER, request });
            }
            message => self.on_store_request(ProcessId::CONTROLLER, message),
        }
    }

    fn on_process_joined(&mut self, link: Link, pid: u32) {
        let process = link.process;
        self.by_process.insert(process, self.links.len());
        self.links.push(link);
        self.handle(Event::Joined { process, pid });
    }

    fn on_process_lost(&mut self, process: ProcessId, why: String) {
        let mut undelivered = Vec::new();
        match self.by_process.get(&process).copied() {
            Some(at) => {
                // What the process sent before it ended still counts.
                while self.links[at].has_work() {
                    self.read_link(at, MESSAGES_PER_POLL);
                }
                self.by_process.remove(&process);
                let mut link = self.links.swap_remove(at);
                undelivered = link.undelivered();
                if let Some(moved) = self.links.get(at) {
                    self.by_process.insert(moved.process, at);
                }
                let host = link.host();
                std::mem::take(&mut link.unsealed).into_iter().for_each(|place| self.free_place(host, place));
                log::debug!("{process}: {why}");
            }
            None => {
                log::error!("{process}: {why}");
                self.last_join_failure = Some(why.clone());
            }
        }
        self.handle(Event::Lost { process, cause: why, undelivered });
    }

    /// The host of the controller, or of a process that has joined.
    fn host_of(&self, process: ProcessId) -> Option<HostId> {
        match process {
            ProcessId::CONTROLLER => Some(HostId::CONTROLLER),
            _ => self.by_process.get(&process).map(|at| self.links[*at].host()),
        }
    }
}

#[cfg(test)]
mod tests;
