//! The engine's network over MPI: one process for each host, in one communicator.
//!
//! Messages to a host arrive in the order in which they were sent, each as one MPI message (`serialization`). Memory goes
//! beside them (`shared_store`). An MPI error, a malformed message, or too long a silence (`heartbeat`) loses the host that
//! caused it, and no other.

use crate::async_operations::{AbandonedOperations, OrderedOperations};
use crate::heartbeat::{Heartbeat, HeartbeatTimer};
use crate::local_store::BufferPool;
use crate::serialization::{self, Malformed, MessageKind, SharedDataRequest};
use crate::shared_store::{Receiver, Sender};
use bytes::Bytes;
use std::ffi::c_int;
use std::fmt;
use std::time::{Duration, Instant};
use unidist_backend::WritableBuffer;
use unidist_engine::network::{Arrival, HostId, Network, Transfer};
use unidist_mpi_comm::{Communicator, MpiError};

/// The tag of messages.
const MESSAGES: c_int = 1;
/// The number of messages received from one host before the next host is polled.
const MAX_RECEIVES: usize = 64;
/// Polls in one call that find nothing: Open MPI's probe looks first and makes progress afterwards, so that only the second
/// one sees what has arrived.
const POLLS: usize = 2;
/// Why an engine at work loses the controller when the program exits.
const PROGRAM_EXITED: &str = "the program has exited without ending the session";

/// The network between the hosts.
pub struct MpiNetwork {
    group: Communicator,
    /// The hosts by number; this host has no peer.
    peers: Vec<Option<Peer>>,
    timer: HeartbeatTimer,
    timeouts_disabled: bool,
    last_progress: Instant,
    buffers: BufferPool,
    abandoned: AbandonedOperations,
    /// What has arrived since the last poll of the engine.
    arrivals: Vec<Arrival>,
    /// Whether each message is logged.
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
    sends: OrderedOperations,
    receives: OrderedOperations,
    sender: Sender,
    receiver: Receiver,
    heartbeat: Heartbeat,
    /// The last message of the shutdown protocol that it sent.
    shutdown_message: Option<MessageKind>,
    is_lost: bool,
}

/// Why a host is lost.
enum LossReason {
    Mpi(MpiError),
    Malformed(Malformed),
}

impl From<MpiError> for LossReason {
    fn from(error: MpiError) -> Self {
        LossReason::Mpi(error)
    }
}

impl From<Malformed> for LossReason {
    fn from(error: Malformed) -> Self {
        LossReason::Malformed(error)
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LossReason::Mpi(error) => write!(f, "MPI cannot reach it: {error}"),
            LossReason::Malformed(error) => error.fmt(f),
        }
    }
}

impl MpiNetwork {
    /// The network of a communicator in which each rank is the host of that number.
    pub(crate) fn new(group: Communicator, timeout: Duration, log: bool) -> Self {
        let (own, now) = (group.rank(), Instant::now());
        let peer = |rank| Peer {
            rank,
            sends: OrderedOperations::default(),
            receives: OrderedOperations::default(),
            sender: Sender::default(),
            receiver: Receiver::default(),
            heartbeat: Heartbeat::new(now),
            shutdown_message: None,
            is_lost: false,
        };
        MpiNetwork {
            peers: (0..group.size()).map(|rank| (rank != own).then(|| peer(rank))).collect(),
            group,
            timer: HeartbeatTimer::new(timeout, now),
            timeouts_disabled: false,
            last_progress: now,
            buffers: BufferPool::default(),
            abandoned: AbandonedOperations::default(),
            arrivals: Vec::new(),
            log,
        }
    }

    /// The silence after which a host is lost.
    pub(crate) fn timeout(&self) -> Duration {
        self.timer.timeout()
    }

    /// The other hosts that are not lost, each with the last message of the shutdown protocol that it sent.
    pub(crate) fn living(&self) -> Vec<(HostId, Option<MessageKind>)> {
        let peers = (0..).zip(&self.peers).filter_map(|(place, peer)| Some((place, peer.as_ref()?)));
        peers
            .filter(|(_, peer)| !peer.is_lost)
            .map(|(place, peer)| (HostId::new(place), peer.shutdown_message))
            .collect()
    }

    /// Whether a host was lost.
    pub(crate) fn has_lost(&self) -> bool {
        self.peers.iter().flatten().any(|peer| peer.is_lost)
    }

    /// The hosts that were lost.
    pub(crate) fn lost(&self) -> Vec<HostId> {
        let peers = (0..).zip(&self.peers).filter_map(|(place, peer)| Some((place, peer.as_ref()?)));
        peers.filter(|(_, peer)| peer.is_lost).map(|(place, _)| HostId::new(place)).collect()
    }

    /// Sends a message without a body.
    pub(crate) fn send_signal(&mut self, to: HostId, kind: MessageKind) {
        self.send_frame(to, kind, Vec::new());
    }

    /// From now on no host is lost because of its silence.
    pub(crate) fn disable_timeouts(&mut self) {
        self.timeouts_disabled = true;
    }

    /// Frees the communicator. No operation may be pending in it, and none may follow.
    pub(crate) fn free(&mut self) {
        self.group.free();
    }

    fn peer(&mut self, host: HostId) -> Option<&mut Peer> {
        self.peers.get_mut(host.place())?.as_mut().filter(|peer| !peer.is_lost)
    }

    fn send_frame(&mut self, to: HostId, kind: MessageKind, body: Vec<u8>) {
        let log = self.log;
        let Some(peer) = self.peers.get_mut(to.place()).and_then(Option::as_mut).filter(|peer| !peer.is_lost)
        else {
            return;
        };
        if log {
            log::info!("to {to}: {kind:?}, {} bytes", body.len());
        }
        peer.heartbeat.record_sent(Instant::now());
        let frame = serialization::frame(kind, body);
        match self.group.send(peer.rank, MESSAGES, frame) {
            Ok(operation) => peer.sends.push(operation),
            Err(error) => self.declare_lost(to, LossReason::Mpi(error).to_string()),
        }
    }

    fn declare_lost(&mut self, host: HostId, why: String) {
        let Some(peer) = self.peers.get_mut(host.place()).and_then(Option::as_mut) else { return };
        if std::mem::replace(&mut peer.is_lost, true) {
            return;
        }
        let sends = std::mem::take(&mut peer.sends).into_iter();
        let receives = std::mem::take(&mut peer.receives).into_iter();
        // Only the sender can end a receive that has begun.
        self.arrivals.extend(peer.receiver.active_transfers().map(Arrival::Stuck));
        let transfers = peer.sender.abandon().chain(peer.receiver.abandon());
        self.abandoned.extend(sends.chain(receives).chain(transfers));
        log::warn!("{host} is lost: {why}");
        self.arrivals.push(Arrival::Lost(host, why));
    }

    /// Requests the data of queued transfers from a host.
    fn request_data(&mut self, from: HostId) {
        while let Some(request) = self.peer(from).and_then(|peer| peer.receiver.next_request()) {
            self.send_frame(from, MessageKind::RequestSharedData, request.encode());
        }
    }

    /// Makes progress with one host; true if something has arrived.
    fn poll_host(&mut self, host: HostId, now: Instant) -> Result<bool, LossReason> {
        let Some(peer) =
            self.peers.get_mut(host.place()).and_then(Option::as_mut).filter(|peer| !peer.is_lost)
        else {
            return Ok(false);
        };
        let before = self.arrivals.len();
        for _ in 0..MAX_RECEIVES {
            let buffers = &mut self.buffers;
            match self.group.try_receive(peer.rank, MESSAGES, |len| buffers.take(len))? {
                Some(operation) => peer.receives.push(operation),
                None => break,
            }
        }
        while let Some(received) = peer.receives.next_completed()? {
            peer.heartbeat.record_received(now);
            let (kind, body) = serialization::unframe(received.into_message().unwrap_or_default())?;
            if self.log {
                log::info!("from {host}: {kind:?}, {} bytes", body.len());
            }
            match kind {
                MessageKind::Message => self.arrivals.push(Arrival::Message(host, body)),
                MessageKind::Heartbeat => {}
                MessageKind::RequestSharedData => {
                    peer.sender.request(SharedDataRequest::decode(&body)?)?;
                    self.buffers.put(body);
                }
                MessageKind::Cancel
                | MessageKind::ReadyToShutdown
                | MessageKind::Shutdown
                | MessageKind::ShutdownWithoutFinalize => {
                    peer.shutdown_message = Some(kind);
                    if kind == MessageKind::Cancel {
                        // An engine that is still at work ends.
                        self.arrivals.push(Arrival::Lost(host, PROGRAM_EXITED.into()));
                    }
                }
            }
        }
        peer.sends.recycle_completed(&mut self.buffers)?;
        let arrivals = &mut self.arrivals;
        peer.sender.poll(&self.group, peer.rank, &mut |transfer| arrivals.push(Arrival::Sent(transfer)))?;
        let received = peer
            .receiver
            .poll(&self.group, peer.rank, &mut |transfer| arrivals.push(Arrival::Received(transfer)))?;
        // A heartbeat would be queued behind the chunks of a transfer.
        if received {
            peer.heartbeat.record_received(now);
        }
        Ok(arrivals.len() > before)
    }

    fn check_heartbeats(&mut self, now: Instant) {
        let Some(gap) = self.timer.check_due(now).filter(|_| !self.timeouts_disabled) else { return };
        let (timeout, interval) = (self.timer.timeout(), self.timer.interval());
        for (host, _) in self.living() {
            let Some(peer) = self.peer(host) else { continue };
            peer.heartbeat.discount(gap);
            if peer.heartbeat.silence(now) > timeout {
                self.declare_lost(host, format!("nothing was heard from it for {} s", timeout.as_secs_f64()));
            } else if peer.heartbeat.send_idle_time(now) > interval {
                self.send_signal(host, MessageKind::Heartbeat);
            }
        }
    }

    /// Makes progress with all hosts.
    fn progress(&mut self, now: Instant) {
        self.last_progress = now;
        for _ in 0..POLLS {
            let mut has_arrivals = false;
            for host in (0..self.peers.len() as u32).map(HostId::new) {
                match self.poll_host(host, now) {
                    Ok(arrived) => has_arrivals |= arrived,
                    Err(reason) => self.declare_lost(host, reason.to_string()),
                }
                self.request_data(host);
            }
            if has_arrivals {
                break;
            }
        }
        self.check_heartbeats(now);
        self.abandoned.free_completed();
    }

    /// Makes progress if the engine has not polled for a heartbeat interval, for example while it writes to disk. Arrivals are
    /// kept for it.
    pub(crate) fn keep_alive(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.last_progress) >= self.timer.interval() {
            self.progress(now);
        }
    }

    /// The time between two heartbeats of this host.
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
        match peer.sender.start(transfer, memory) {
            Ok(true) => self.arrivals.push(Arrival::Sent(transfer)),
            Ok(false) => {}
            Err(error) => self.declare_lost(to, error.to_string()),
        }
    }

    fn receive_memory(&mut self, from: HostId, transfer: Transfer, memory: Vec<Box<dyn WritableBuffer>>) {
        if self.log {
            log::info!("from {from}: transfer {}", transfer.0);
        }
        let Some(peer) = self.peer(from) else { return };
        match peer.receiver.start(transfer, memory) {
            true => self.arrivals.push(Arrival::Received(transfer)),
            false => self.request_data(from),
        }
    }

    fn poll(&mut self, arrivals: &mut Vec<Arrival>) {
        self.progress(Instant::now());
        arrivals.append(&mut self.arrivals);
    }

    fn forget(&mut self, host: HostId) {
        self.declare_lost(host, "the session has expelled it".into());
    }

    fn is_busy(&self) -> bool {
        let living = self.peers.iter().flatten().filter(|peer| !peer.is_lost);
        !self.arrivals.is_empty()
            || living.into_iter().any(|peer| {
                let messages = peer.sends.is_empty() && peer.receives.is_empty();
                !(messages && peer.sender.is_idle() && peer.receiver.is_empty())
            })
    }
}
