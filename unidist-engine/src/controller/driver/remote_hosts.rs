//! The other hosts of a session: the network to them, and what is known of each.

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

/// The other hosts and the way to them.
pub(crate) struct RemoteHosts {
    pub(super) network: Box<dyn Network>,
    /// How many there are, greeted or not.
    pub(super) count: usize,
    pub(super) remote: Vec<RemoteHost>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) poll_backoff: PollBackoff,
    last_look: Instant,
    backoff: Duration,
    /// For the start and for the end.
    pub(super) timeouts: [Duration; 2],
    pub(super) on_end: Option<OnEnd>,
}

/// Who is busy looks at the network once in so much time.
const BETWEEN_LOOKS: Duration = Duration::from_micros(10);

/// What is done with the network at the end.
type OnEnd = Box<dyn FnOnce(Box<dyn Network>) + Send>;

/// What is to be known of another host before anything is said to it.
pub(crate) struct MonitorSpec {
    /// What it is called in messages to people.
    pub(crate) name: String,
    /// Its address.
    pub(crate) ip: String,
    /// What its monitor is told.
    pub(crate) greeting: Greeting,
}

/// Another host.
pub(super) struct RemoteHost {
    pub(super) host: HostId,
    pub(super) name: String,
    ip: String,
    pub(super) phase: HostPhase,
    batch: MessageBatch,
    pub(super) store: RemoteStore,
    /// Processes that were to be started there and have not joined.
    pub(super) starting: BTreeSet<ProcessId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostPhase {
    /// It has not answered.
    Greeted,
    Ready,
    Ended,
    Lost,
}

impl RemoteHosts {
    /// So many hosts, which have not been greeted. When this is dropped, all their monitors are told to end, and `on_end`
    /// is called with the network. The `timeouts` are those of the start and of the end.
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
            last_look: Instant::now(),
            backoff,
            timeouts,
            on_end: Some(on_end),
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.remote.is_empty()
    }

    /// The longest nap between two looks at the network while there is work.
    pub(crate) fn backoff(&self) -> Duration {
        self.backoff
    }

    pub(super) fn place(&self, host: HostId) -> Option<usize> {
        self.remote.iter().position(|remote| remote.host == host)
    }

    /// A host that is not lost.
    pub(super) fn get(&mut self, host: HostId) -> Option<&mut RemoteHost> {
        self.remote.get_mut(host.place().checked_sub(1)?).filter(|remote| remote.phase == HostPhase::Ready)
    }

    /// Whether the host is another one and not lost.
    pub(super) fn has(&self, host: HostId) -> bool {
        self.place(host).is_some_and(|at| self.remote[at].phase == HostPhase::Ready)
    }

    /// The address of another host.
    pub(super) fn ip(&self, host: HostId) -> Option<&str> {
        self.place(host).map(|at| &*self.remote[at].ip)
    }

    pub(super) fn name(&self, host: HostId) -> &str {
        self.place(host).map_or("this host", |at| &*self.remote[at].name)
    }

    /// The host on which this process is being started.
    pub(super) fn host_of_starting(&self, process: ProcessId) -> Option<HostId> {
        self.remote.iter().find(|remote| remote.starting.contains(&process)).map(|remote| remote.host)
    }

    pub(super) fn start_process(&mut self, host: HostId, process: ProcessId, actor: bool) {
        if let Some(remote) = self.get(host) {
            remote.starting.insert(process);
            self.tell(host, &ToMonitor::Start { process, actor });
        }
    }

    pub(super) fn free(&mut self, host: HostId, block: Block) {
        if let Some(remote) = self.get(host) {
            remote.store.free(block);
        }
    }

    pub(super) fn free_spilled(&mut self, host: HostId, block: Block) {
        if let Some(remote) = self.get(host) {
            remote.store.note_freed_on_disk(block);
            self.tell(host, &ToMonitor::FreeSpilled(block));
        }
    }

    /// Tells the monitor of a host something, unless that is lost.
    pub(super) fn tell(&mut self, host: HostId, message: &ToMonitor) {
        if let Some(remote) = self.get(host) {
            remote.add(message);
        }
    }

    /// Tells all monitors but that of this host.
    pub(super) fn tell_others(&mut self, but: HostId, message: &ToMonitor) {
        for remote in &mut self.remote {
            if remote.host != but && remote.phase == HostPhase::Ready {
                remote.add(message);
            }
        }
    }

    /// Has these bytes written into the ring of a process.
    pub(super) fn deliver(&mut self, host: HostId, process: ProcessId, urgent: bool, bytes: Vec<u8>) {
        if let Some(remote) = self.get(host) {
            let message = |bytes| ToMonitor::Deliver { process, urgent, bytes };
            let added = remote.batch.add_stream(bytes.into(), message);
            remote.check(added);
        }
    }

    /// The host is not part of the session any more. False if it was not before.
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

    /// Sends what there is for each host; `happened` says whether the turn has found something.
    pub(super) fn flush(&mut self, happened: bool) {
        let mut traffic = false;
        for remote in &mut self.remote {
            while let Some(bytes) = remote.batch.take() {
                self.network.send(remote.host, bytes);
                traffic = true;
            }
        }
        match (traffic, happened) {
            (true, _) => self.poll_backoff.on_traffic(Instant::now()),
            (false, true) => self.poll_backoff.on_activity(Instant::now()),
            (false, false) => {}
        }
    }

    /// Whether the last look at the network was some time ago, also for who has something else to do: a burst of calls
    /// is not to look once for each.
    pub(super) fn wants_a_look(&self) -> bool {
        self.last_look.elapsed() >= BETWEEN_LOOKS
    }

    /// What has come over the network; to be handed back to `arrivals`.
    pub(super) fn poll(&mut self) -> Vec<Arrival> {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.last_look = Instant::now();
        self.network.poll(&mut arrivals);
        if !arrivals.is_empty() {
            self.poll_backoff.on_traffic(Instant::now());
        }
        arrivals
    }

    /// How long to sleep at most before the network is to be polled again.
    pub(super) fn network_sleep(&mut self) -> Duration {
        self.poll_backoff.next_sleep(self.network.is_busy(), Instant::now())
    }
}

impl RemoteHost {
    /// One that was just greeted.
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
            log::error!("the monitor on {} cannot be told something: {error}", self.name);
        }
    }
}
