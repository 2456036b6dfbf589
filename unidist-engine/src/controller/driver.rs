//! The engine's turn: events from the links, the inbox, the supervisor and the other hosts go into the scheduler, and
//! what it decides goes out.
//!
//! `link` is the end of the link to one process, `hear` deals with what processes say, `act` with what the scheduler
//! wants, `room` finds room for new blocks. For sessions of several hosts: `hosts` has the way to each of them,
//! `meeting` begins and ends that, `relay` deals with what their monitors say, `remote_store` has their memory,
//! `copies` has objects copied between them.

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

/// How many messages one link may deliver in a turn, so that none starves the others.
const MESSAGES_PER_POLL: usize = 512;

/// The state of the engine. Whoever holds it drives.
pub(crate) struct Driver {
    scheduler: Scheduler,
    links: Vec<Link>,
    by_process: FxHashMap<ProcessId, usize>,
    inbox: Inbox,
    actions: Vec<Action>,
    /// What came of doing what the scheduler wanted: calls that could not be sent, copies that cannot be made.
    outcomes: VecDeque<Event>,
    supervisor: Arc<Supervisor>,
    local_store: LocalStore,
    /// None where there is one host.
    hosts: Option<RemoteHosts>,
    /// A network on which there is nobody: it is kept for the end.
    unused_network: Option<RemoteHosts>,
    copies: Transfers,
    requests: Arc<PendingRequests>,
    cluster: ClusterInfo,
    /// Answers that are to be called without the lock.
    callbacks: Vec<Callback>,
    /// What wants blocks of a store that were not there at once.
    deferred_allocations: Vec<DeferredAllocation>,
    /// How many calls have not ended, for those who do not hold the driver.
    pending: Arc<AtomicUsize>,
    /// Why the last process that could not join did not.
    last_loss: Option<String>,
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
            actions: Vec::new(),
            outcomes: VecDeque::new(),
            supervisor,
            local_store,
            hosts: None,
            unused_network: None,
            copies: Transfers::default(),
            requests,
            cluster,
            callbacks: Vec::new(),
            deferred_allocations: Vec::new(),
            pending,
            last_loss: None,
            timers: TimerQueue::default(),
        }
    }

    /// The session has these other hosts, too.
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

    /// Takes the inbox out: when it is dropped, it is closed.
    pub(crate) fn take_inbox(&mut self) -> Inbox {
        std::mem::replace(&mut self.inbox, crossbeam_channel::never())
    }

    /// Starts the first workers.
    pub(crate) fn start_workers(&mut self) {
        self.scheduler.start_workers(&mut self.actions);
        self.carry_out();
    }

    /// Whether no process is starting; if none is there either, why.
    pub(crate) fn started(&self) -> Option<Result<()>> {
        match self.scheduler.workers_started()? {
            true => Some(Ok(())),
            false => {
                let why = self.last_loss.as_deref().unwrap_or("no reason is known");
                Some(Err(Error::Launch { message: format!("no worker could be started: {why}") }))
            }
        }
    }

    /// Whether the session is over: every process has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.scheduler.is_over()
    }

    /// Whether there are callbacks, for which the driver has to be left.
    pub(crate) fn has_callbacks(&self) -> bool {
        !self.callbacks.is_empty()
    }

    /// What is to be called once the lock is given up.
    pub(crate) fn take_callbacks(&mut self) -> Vec<Callback> {
        std::mem::take(&mut self.callbacks)
    }

    /// How many results workers may let lie while this sleeps.
    pub(crate) fn results_per_wake(&self) -> usize {
        self.scheduler.max_result_batch()
    }

    /// Says how long to look at the links before going to sleep, to the processes of this host and to who drives.
    pub(crate) fn update_spin_limit(&mut self, limit: &SpinLimit, cores: usize) -> Duration {
        // As far as it matters: this process and those that have not gone to sleep, up to one more than there are cores.
        let awake = 1 + self.links.iter().filter(|link| link.is_awake_here()).take(cores).count();
        match &mut self.hosts {
            Some(hosts) => {
                limit.set_beside_network(awake, cores);
                hosts.poll_backoff.spin_time_left(Instant::now())
            }
            None => limit.set(awake, cores),
        }
    }

    /// Whoever drove has stopped.
    pub(crate) fn stop_waiting(&mut self) {
        if let Some(hosts) = &mut self.hosts {
            hosts.poll_backoff.stop_waiting();
        }
    }

    /// Whether a turn would find something to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.inbox.is_empty()
            || self.links.iter().any(|link| link.has_work() || link.has_room_for_backlog())
            || self.timers.is_due()
    }

    /// When there will be something to do even if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether there are, or were, other hosts.
    pub(crate) fn has_remote_hosts(&self) -> bool {
        self.hosts.is_some()
    }

    /// How long to sleep at most before the other hosts are to be heard again, if there are any.
    pub(crate) fn network_sleep(&mut self) -> Option<Duration> {
        self.hosts.as_mut().map(RemoteHosts::network_sleep)
    }

    /// Deals with everything that has happened; false if nothing had.
    pub(crate) fn poll(&mut self) -> bool {
        let mut happened = self.read_inbox();
        happened |= self.read_links();
        for timer in self.timers.take_due() {
            happened = true;
            self.handle(Event::Expired(timer));
        }
        self.finish_turn(happened);
        // Last, since to look at the network takes longer than all of the above, which would wait for it.
        let is_looked_at = self.hosts.as_ref().is_some_and(|hosts| !happened || hosts.wants_a_look());
        if is_looked_at && self.hear_hosts() {
            happened = true;
            self.read_links();
            self.finish_turn(true);
        }
        self.pending.store(self.scheduler.pending_tasks(), Ordering::Relaxed);
        happened
    }

    fn read_links(&mut self) -> bool {
        let mut happened = false;
        for at in 0..self.links.len() {
            if self.links[at].has_work() {
                happened = true;
                self.read_link(at, MESSAGES_PER_POLL);
            } else if self.links[at].has_backlog() {
                self.links[at].dirty = true;
            }
        }
        happened
    }

    /// Does and says what follows from what was heard.
    fn finish_turn(&mut self, happened: bool) {
        if happened {
            self.scheduler.dispatch_into(&mut self.actions);
        }
        self.carry_out_all();
        self.retry_deferred();
        self.carry_out_all();
        self.flush(happened);
    }

    fn carry_out_all(&mut self) {
        while self.carry_out() {
            self.scheduler.dispatch_into(&mut self.actions);
        }
    }

    fn read_inbox(&mut self) -> bool {
        // What arrives meanwhile is read by the next poll.
        let count = self.inbox.len();
        for _ in 0..count {
            match self.inbox.try_recv() {
                Ok(Input::Message(message)) => self.on_program_message(message),
                Ok(Input::Process(ProcessEvent::Joined(process, memory))) => {
                    self.joined(Link::here(process, memory));
                }
                Ok(Input::Process(ProcessEvent::Lost(process, why))) => self.lost(process, why),
                Ok(Input::Shutdown) => self.handle(Event::Shutdown),
                Err(_) => break,
            }
        }
        count > 0
    }

    fn on_program_message(&mut self, message: FromWorker) {
        match message {
            FromWorker::Request(request) => {
                self.handle(Event::Request { process: ProcessId::CONTROLLER, request });
            }
            message => self.hear_of_store(ProcessId::CONTROLLER, message),
        }
    }

    fn joined(&mut self, link: Link) {
        let process = link.process;
        self.by_process.insert(process, self.links.len());
        self.links.push(link);
        self.handle(Event::Joined(process));
    }

    fn lost(&mut self, process: ProcessId, why: String) {
        let mut unseen = Vec::new();
        match self.by_process.get(&process).copied() {
            Some(at) => {
                // What it said before it ended still counts.
                while self.links[at].has_work() {
                    self.read_link(at, MESSAGES_PER_POLL);
                }
                self.by_process.remove(&process);
                let mut link = self.links.swap_remove(at);
                unseen = link.unseen();
                if let Some(moved) = self.links.get(at) {
                    self.by_process.insert(moved.process, at);
                }
                link.drafts().for_each(|(_, block)| self.free(link.host(), block));
                log::debug!("{process}: {why}");
            }
            None => {
                log::error!("{process}: {why}");
                self.last_loss = Some(why.clone());
            }
        }
        self.handle(Event::Lost { process, cause: why, undelivered: unseen });
    }

    /// The host of a process that has joined, and that of the controller.
    fn host_of(&self, process: ProcessId) -> Option<HostId> {
        match process {
            ProcessId::CONTROLLER => Some(HostId::CONTROLLER),
            _ => self.by_process.get(&process).map(|at| self.links[*at].host()),
        }
    }
}

#[cfg(test)]
mod tests;
