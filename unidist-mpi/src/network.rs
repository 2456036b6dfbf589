//! The engine's network over MPI: one process a host, in one group.
//!
//! Messages to a host arrive in the order in which they were sent, each as one message of MPI's
//! (`serialization`). Memory goes beside them (`shared_store`). Whatever MPI says went wrong with a host, whatever a
//! host sends that cannot be understood, and too long a silence (`heartbeat`), loses the host and nothing else.

use crate::async_operations::{Abandoned, InOrder};
use crate::heartbeat::{Heartbeat, HeartbeatTimer};
use crate::local_store::LocalStore;
use crate::serialization::{self, Malformed, MessageKind, SharedDataRequest};
use crate::shared_store::{Receiving, Sending};
use bytes::Bytes;
use std::ffi::c_int;
use std::fmt;
use std::time::{Duration, Instant};
use unidist_backend::WritableBuffer;
use unidist_engine::network::{Arrival, HostId, Network, Transfer};
use unidist_mpi_comm::{Communicator, MpiError};

const MESSAGES: c_int = 1;
/// So many messages of a host are taken in at once, so that others get their turn.
const TURN: usize = 64;
/// What an engine is told that the controller's did not end before.
const DISMISSED: &str = "the program has ended without ending the session";
/// How often a look is repeated that finds nothing: Open MPI looks first, and fetches what there is to see after that.
const LOOKS: usize = 2;

/// The hosts' network.
pub struct MpiNetwork {
    group: Communicator,
    /// This host and the others, by place; this one has no peer.
    peers: Vec<Option<Peer>>,
    timer: HeartbeatTimer,
    /// Silence is nothing to it any more.
    timeouts_disabled: bool,
    last_progress: Instant,
    store: LocalStore,
    abandoned: Abandoned,
    /// What was seen while nobody asked.
    seen: Vec<Arrival>,
    log: bool,
}

impl fmt::Debug for MpiNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MpiNetwork").field("hosts", &self.peers.len()).finish_non_exhaustive()
    }
}

/// Another host.
struct Peer {
    rank: usize,
    sent: InOrder,
    arriving: InOrder,
    sending: Sending,
    receiving: Receiving,
    heartbeat: Heartbeat,
    /// The last word about the end of the session that came from it.
    shutdown_message: Option<MessageKind>,
    lost: bool,
}

/// Why a host is lost.
enum Loss {
    Mpi(MpiError),
    Malformed(Malformed),
}

impl From<MpiError> for Loss {
    fn from(error: MpiError) -> Self {
        Loss::Mpi(error)
    }
}

impl From<Malformed> for Loss {
    fn from(error: Malformed) -> Self {
        Loss::Malformed(error)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Mpi(error) => write!(f, "MPI cannot reach it: {error}"),
            Loss::Malformed(error) => error.fmt(f),
        }
    }
}

impl MpiNetwork {
    /// The network of a group in which each rank is the host of that place.
    pub(crate) fn new(group: Communicator, timeout: Duration, log: bool) -> Self {
        let (own, now) = (group.rank(), Instant::now());
        let peer = |rank| Peer {
            rank,
            sent: InOrder::default(),
            arriving: InOrder::default(),
            sending: Sending::default(),
            receiving: Receiving::default(),
            heartbeat: Heartbeat::new(now),
            shutdown_message: None,
            lost: false,
        };
        MpiNetwork {
            peers: (0..group.size()).map(|rank| (rank != own).then(|| peer(rank))).collect(),
            group,
            timer: HeartbeatTimer::new(timeout, now),
            timeouts_disabled: false,
            last_progress: now,
            store: LocalStore::default(),
            abandoned: Abandoned::default(),
            seen: Vec::new(),
            log,
        }
    }

    /// How long a host may be silent.
    pub(crate) fn timeout(&self) -> Duration {
        self.timer.timeout()
    }

    /// The other hosts that are not lost, each with the last word about the end of the session that came from it.
    pub(crate) fn living(&self) -> Vec<(HostId, Option<MessageKind>)> {
        let peers = (0..).zip(&self.peers).filter_map(|(place, peer)| Some((place, peer.as_ref()?)));
        peers
            .filter(|(_, peer)| !peer.lost)
            .map(|(place, peer)| (HostId::new(place), peer.shutdown_message))
            .collect()
    }

    /// Whether a host was lost.
    pub(crate) fn has_lost(&self) -> bool {
        self.peers.iter().flatten().any(|peer| peer.lost)
    }

    /// Says something without a body.
    pub(crate) fn send_signal(&mut self, to: HostId, operation: MessageKind) {
        self.send_frame(to, operation, Vec::new());
    }

    /// The hosts that were lost.
    pub(crate) fn lost(&self) -> Vec<HostId> {
        let peers = (0..).zip(&self.peers).filter_map(|(place, peer)| Some((place, peer.as_ref()?)));
        peers.filter(|(_, peer)| peer.lost).map(|(place, _)| HostId::new(place)).collect()
    }

    /// From now on no host is lost because it is silent.
    pub(crate) fn disable_timeouts(&mut self) {
        self.timeouts_disabled = true;
    }

    /// Frees the group. Nothing is under way in it any more, and nothing follows.
    pub(crate) fn free(&mut self) {
        self.group.free();
    }

    fn peer(&mut self, host: HostId) -> Option<&mut Peer> {
        self.peers.get_mut(host.place())?.as_mut().filter(|peer| !peer.lost)
    }

    fn send_frame(&mut self, to: HostId, operation: MessageKind, body: Vec<u8>) {
        let log = self.log;
        let Some(peer) = self.peers.get_mut(to.place()).and_then(Option::as_mut).filter(|peer| !peer.lost)
        else {
            return;
        };
        if log {
            log::info!("to {to}: {operation:?}, {} bytes", body.len());
        }
        peer.heartbeat.record_sent(Instant::now());
        let frame = serialization::frame(operation, body);
        match self.group.send(peer.rank, MESSAGES, frame) {
            Ok(operation) => peer.sent.push(operation),
            Err(error) => self.lose(to, Loss::Mpi(error).to_string()),
        }
    }

    fn lose(&mut self, host: HostId, why: String) {
        let Some(peer) = self.peers.get_mut(host.place()).and_then(Option::as_mut) else { return };
        if std::mem::replace(&mut peer.lost, true) {
            return;
        }
        let messages = std::mem::take(&mut peer.sent).into_iter();
        let arriving = std::mem::take(&mut peer.arriving).into_iter();
        // What has begun to come cannot be ended by anyone but who sends it.
        self.seen.extend(peer.receiving.written().map(Arrival::Stuck));
        let memory = peer.sending.give_up().chain(peer.receiving.give_up());
        self.abandoned.take(messages.chain(arriving).chain(memory));
        log::warn!("{host} is lost: {why}");
        self.seen.push(Arrival::Lost(host, why));
    }

    /// Asks for the data of transfers that are to be received.
    fn request_data(&mut self, from: HostId) {
        while let Some(request) = self.peer(from).and_then(|peer| peer.receiving.next_request()) {
            self.send_frame(from, MessageKind::RequestSharedData, request.encode());
        }
    }

    /// Goes on with everything with one host; says whether something has arrived.
    fn poll_host(&mut self, host: HostId, now: Instant) -> Result<bool, Loss> {
        let Some(peer) = self.peers.get_mut(host.place()).and_then(Option::as_mut).filter(|peer| !peer.lost)
        else {
            return Ok(false);
        };
        let before = self.seen.len();
        for _ in 0..TURN {
            let store = &mut self.store;
            match self.group.try_receive(peer.rank, MESSAGES, |len| store.take(len))? {
                Some(operation) => peer.arriving.push(operation),
                None => break,
            }
        }
        while let Some(ended) = peer.arriving.next_ended()? {
            peer.heartbeat.record_received(now);
            let (operation, body) = serialization::open(ended.into_message().unwrap_or_default())?;
            if self.log {
                log::info!("from {host}: {operation:?}, {} bytes", body.len());
            }
            match operation {
                MessageKind::Message => self.seen.push(Arrival::Message(host, body)),
                MessageKind::Heartbeat => {}
                MessageKind::RequestSharedData => {
                    peer.sending.request(SharedDataRequest::decode(&body)?)?;
                    self.store.give(body);
                }
                MessageKind::Cancel
                | MessageKind::ReadyToShutdown
                | MessageKind::Shutdown
                | MessageKind::ShutdownWithoutFinalize => {
                    peer.shutdown_message = Some(operation);
                    if operation == MessageKind::Cancel {
                        // To an engine that is still at work, this is its end.
                        self.seen.push(Arrival::Lost(host, DISMISSED.into()));
                    }
                }
            }
        }
        peer.sent.recycle_ended(&mut self.store)?;
        let seen = &mut self.seen;
        peer.sending.poll(&self.group, peer.rank, &mut |transfer| seen.push(Arrival::Sent(transfer)))?;
        let received = peer
            .receiving
            .poll(&self.group, peer.rank, &mut |transfer| seen.push(Arrival::Received(transfer)))?;
        // Behind large pieces, a word that the host is alive would come late.
        if received {
            peer.heartbeat.record_received(now);
        }
        Ok(seen.len() > before)
    }

    fn check_heartbeats(&mut self, now: Instant) {
        let Some(gap) = self.timer.check_due(now).filter(|_| !self.timeouts_disabled) else { return };
        let (timeout, interval) = (self.timer.timeout(), self.timer.interval());
        for (host, _) in self.living() {
            let Some(peer) = self.peer(host) else { continue };
            peer.heartbeat.discount(gap);
            if peer.heartbeat.silence(now) > timeout {
                self.lose(host, format!("nothing was heard from it for {} s", timeout.as_secs_f64()));
            } else if peer.heartbeat.send_idle_time(now) > interval {
                self.send_signal(host, MessageKind::Heartbeat);
            }
        }
    }

    /// Goes on with everything.
    fn progress(&mut self, now: Instant) {
        self.last_progress = now;
        for _ in 0..LOOKS {
            let mut some = false;
            for host in (0..self.peers.len() as u32).map(HostId::new) {
                match self.poll_host(host, now) {
                    Ok(arrived) => some |= arrived,
                    Err(loss) => self.lose(host, loss.to_string()),
                }
                self.request_data(host);
            }
            if some {
                break;
            }
        }
        self.check_heartbeats(now);
        self.abandoned.sweep();
    }

    /// Goes on, and is heard by the others, if the engine has not looked for long, since it writes to disk, say. What has
    /// arrived waits for it.
    pub(crate) fn keep_alive(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.last_progress) >= self.timer.interval() {
            self.progress(now);
        }
    }

    /// How long this host may be silent.
    pub(crate) fn interval(&self) -> Duration {
        self.timer.interval()
    }
}

impl Network for MpiNetwork {
    fn send(&mut self, to: HostId, message: Vec<u8>) {
        self.send_frame(to, MessageKind::Message, message);
    }

    fn send_memory(&mut self, to: HostId, transfer: Transfer, memory: Vec<Bytes>) {
        if self.log {
            log::info!("to {to}: transfer {}", transfer.0);
        }
        let Some(peer) = self.peer(to) else { return };
        match peer.sending.begin(transfer, memory) {
            Ok(true) => self.seen.push(Arrival::Sent(transfer)),
            Ok(false) => {}
            Err(error) => self.lose(to, error.to_string()),
        }
    }

    fn receive_memory(&mut self, from: HostId, transfer: Transfer, memory: Vec<Box<dyn WritableBuffer>>) {
        if self.log {
            log::info!("from {from}: transfer {}", transfer.0);
        }
        let Some(peer) = self.peer(from) else { return };
        match peer.receiving.begin(transfer, memory) {
            true => self.seen.push(Arrival::Received(transfer)),
            false => self.request_data(from),
        }
    }

    fn poll(&mut self, arrivals: &mut Vec<Arrival>) {
        self.progress(Instant::now());
        arrivals.append(&mut self.seen);
    }

    fn forget(&mut self, host: HostId) {
        self.lose(host, "the session has given it up".into());
    }

    fn is_busy(&self) -> bool {
        let living = self.peers.iter().flatten().filter(|peer| !peer.lost);
        !self.seen.is_empty()
            || living.into_iter().any(|peer| {
                let messages = peer.sent.is_empty() && peer.arriving.is_empty();
                !(messages && peer.sending.is_empty() && peer.receiving.is_empty())
            })
    }
}
