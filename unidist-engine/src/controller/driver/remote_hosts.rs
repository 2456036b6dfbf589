//! The other hosts of a session: the network, and the state of each host.

use super::remote_store::RemoteStore;
use crate::network::{Arrival, HostId, Network};
use crate::protocol::monitor::{Greeting, MessageBatch, ToMonitor};
use crate::protocol::wire::WireError;
use crate::store::Block;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use unidist_common::ProcessId;
use unidist_sync::PollBackoff;

/// The other hosts and the network to them.
pub(crate) struct RemoteHosts {
    pub(super) network: Box<dyn Network>,
    /// How many there are, greeted or not.
    pub(super) count: usize,
    pub(super) remote: Vec<RemoteHost>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) poll_backoff: PollBackoff,
    last_poll: Instant,
    backoff: Duration,
    /// Time-outs of the start and of the end.
    pub(super) timeouts: [Duration; 2],
    pub(super) on_end: Option<OnEnd>,
}

/// A busy event loop polls the network once in this time.
const POLL_INTERVAL: Duration = Duration::from_micros(10);

/// Takes the network over at the end.
type OnEnd = Box<dyn FnOnce(Box<dyn Network>) + Send>;

/// What the controller knows of a host before it connects to its monitor.
pub(crate) struct MonitorSpec {
    /// Its name in messages.
    pub(crate) name: String,
    /// Its address.
    pub(crate) ip: String,
    /// The first message to its monitor.
    pub(crate) greeting: Greeting,
}

/// A remote host.
pub(super) struct RemoteHost {
    pub(super) host: HostId,
    pub(super) name: String,
    ip: String,
    pub(super) phase: HostPhase,
    batch: MessageBatch,
    pub(super) store: RemoteStore,
    /// Processes that are starting there and have not joined.
    pub(super) starting: BTreeSet<ProcessId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostPhase {
    /// The monitor has not answered.
    Greeted,
    Ready,
    Ended,
    Lost,
}

impl RemoteHosts {
    /// `count` hosts whose monitors are not connected. On drop, all monitors are told to end, and `on_end` gets the
    /// network. `timeouts` are those of the start and of the end.
    pub(crate) fn new(
        network: Box<dyn Network>,
        count: usize,
        on_end: OnEnd,
        backoff: Duration,
        timeouts: [Duration; 2],
    ) -> Self {
        RemoteHosts {
            network,
            count,
            remote: Vec::new(),
            arrivals: Vec::new(),
            poll_backoff: PollBackoff::new(backoff, Instant::now()),
            last_poll: Instant::now(),
            backoff,
            timeouts,
            on_end: Some(on_end),
        }
    }

    /// Whether no monitor is connected.
    pub(super) fn is_empty(&self) -> bool {
        self.remote.is_empty()
    }

    /// The longest sleep between two polls of the network while there is work.
    pub(crate) fn backoff(&self) -> Duration {
        self.backoff
    }

    pub(super) fn place(&self, host: HostId) -> Option<usize> {
        self.remote.iter().position(|remote| remote.host == host)
    }

    /// A remote host that is part of the session.
    pub(super) fn get(&mut self, host: HostId) -> Option<&mut RemoteHost> {
        self.remote.get_mut(host.place().checked_sub(1)?).filter(|remote| remote.phase == HostPhase::Ready)
    }

    /// Whether the host is a remote one and part of the session.
    pub(super) fn has(&self, host: HostId) -> bool {
        self.place(host).is_some_and(|at| self.remote[at].phase == HostPhase::Ready)
    }

    /// The address of a remote host.
    pub(super) fn ip(&self, host: HostId) -> Option<&str> {
        self.place(host).map(|at| &*self.remote[at].ip)
    }

    pub(super) fn name(&self, host: HostId) -> &str {
        self.place(host).map_or("this host", |at| &*self.remote[at].name)
    }

    /// The host on which a process is starting.
    pub(super) fn host_of_starting(&self, process: ProcessId) -> Option<HostId> {
        self.remote.iter().find(|remote| remote.starting.contains(&process)).map(|remote| remote.host)
    }

    pub(super) fn start_process(&mut self, host: HostId, process: ProcessId, actor: bool) {
        if let Some(remote) = self.get(host) {
            remote.starting.insert(process);
            self.send_to(host, &ToMonitor::Start { process, actor });
        }
    }

    pub(super) fn free(&mut self, host: HostId, block: Block) {
        if let Some(remote) = self.get(host) {
            remote.store.free(block);
        }
    }

    pub(super) fn free_spilled(&mut self, host: HostId, block: Block) {
        if let Some(remote) = self.get(host) {
            remote.store.count_freed_on_disk(block);
            self.send_to(host, &ToMonitor::FreeSpilled(block));
        }
    }

    /// Sends a message to the monitor of a host, unless the host is lost.
    pub(super) fn send_to(&mut self, host: HostId, message: &ToMonitor) {
        if let Some(remote) = self.get(host) {
            remote.add(message);
        }
    }

    /// Sends a message to the monitors of all hosts but one.
    pub(super) fn send_to_others(&mut self, but: HostId, message: &ToMonitor) {
        for remote in &mut self.remote {
            if remote.host != but && remote.phase == HostPhase::Ready {
                remote.add(message);
            }
        }
    }

    /// Has the monitor write these bytes into the ring of a process.
    pub(super) fn deliver(&mut self, host: HostId, process: ProcessId, urgent: bool, bytes: Vec<u8>) {
        if let Some(remote) = self.get(host) {
            let message = |bytes| ToMonitor::Deliver { process, urgent, bytes };
            let added = remote.batch.add_stream(bytes.into(), message);
            remote.check(added);
        }
    }

    /// Removes a host from the session; false if it was not part of it.
    pub(super) fn lose(&mut self, host: HostId) -> bool {
        match self.get(host) {
            Some(remote) => {
                remote.phase = HostPhase::Lost;
                (remote.batch, remote.store) = (MessageBatch::default(), RemoteStore::new(0, 0));
                remote.starting.clear();
                true
            }
            None => false,
        }
    }

    /// Sends the batched messages of each host; `progressed` says whether the poll has handled something.
    pub(super) fn flush(&mut self, progressed: bool) {
        let mut traffic = false;
        for remote in &mut self.remote {
            while let Some(bytes) = remote.batch.take() {
                self.network.send(remote.host, bytes);
                traffic = true;
            }
        }
        match (traffic, progressed) {
            (true, _) => self.poll_backoff.on_traffic(Instant::now()),
            (false, true) => self.poll_backoff.on_activity(Instant::now()),
            (false, false) => {}
        }
    }

    /// Whether the network was not polled for a while. While calls come in a burst, it is not polled once for each.
    pub(super) fn is_poll_due(&self) -> bool {
        self.last_poll.elapsed() >= POLL_INTERVAL
    }

    /// What has arrived over the network; the caller gives the vector back to `arrivals`.
    pub(super) fn poll(&mut self) -> Vec<Arrival> {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.last_poll = Instant::now();
        self.network.poll(&mut arrivals);
        if !arrivals.is_empty() {
            self.poll_backoff.on_traffic(Instant::now());
        }
        arrivals
    }

    /// The longest sleep before the network has to be polled again.
    pub(super) fn network_sleep(&mut self) -> Duration {
        self.poll_backoff.next_sleep(self.network.is_busy(), Instant::now())
    }
}

impl RemoteHost {
    /// A host whose monitor has just been greeted.
    pub(super) fn greeted(host: HostId, name: String, ip: String) -> Self {
        let (batch, store) = (MessageBatch::default(), RemoteStore::new(0, 0));
        RemoteHost { host, name, ip, phase: HostPhase::Greeted, batch, store, starting: BTreeSet::new() }
    }

    pub(super) fn add<M: Serialize>(&mut self, message: &M) {
        let added = self.batch.add(message);
        self.check(added);
    }

    fn check(&self, added: Result<(), WireError>) {
        if let Err(error) = added {
            log::error!("a message to the monitor on {} cannot be sent: {error}", self.name);
        }
    }
}
