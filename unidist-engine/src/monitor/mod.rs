//! The monitor: the controller's agent on a remote host.
//!
//! It has the host's memory, starts its processes and sees them end, and forwards bytes between them and the
//! controller's scheduler. It makes no decisions. [`serve`] runs it:
//!
//! 1. It waits for the controller's greeting, allocates the memory, and reports that it is ready, or why it cannot be.
//! 2. It handles orders and reports events (`handlers`), and sleeps while there are none (`Monitor::idle`).
//! 3. When it is told to end, or the controller is lost, it kills the processes that are left.

mod forward;
mod handlers;
#[cfg(test)]
mod tests;

use crate::host::HostMemory;
use crate::host::supervisor::{ProcessEvent, Supervisor, SupervisorConfig};
use crate::network::{Arrival, HostId, Network, Transfer};
use crate::protocol::handshake::{self, Welcome};
use crate::protocol::monitor::{FromMonitor, Greeting, GreetingReply, MessageBatch};
use crate::store::segment::Segment;
use crate::store::spill::{SpillFile, SpillSpace};
use crossbeam_channel::{Receiver, unbounded};
use forward::Forwarder;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use unidist_common::{Error, ProcessId, Result};
use unidist_sync::{PollBackoff, PreciseTimers, spin_briefly};

/// How long the last message may take to leave this host.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the network is polled meanwhile.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_micros(50);
/// The longest sleep before the greeting has arrived.
const GREETING_BACKOFF: Duration = Duration::from_millis(1);

/// Serves the controller of a session on this host, until the session ends. All worker processes of this host end
/// before this returns, and at the latest with this process; they are children of a thread of this process.
///
/// `host` is this host's id in the session, `build_id` the build of this executable, as
/// [`Program::build_id`](unidist_backend::Program::build_id) returns it. The network is only used by the calling
/// thread, and can be finished when this returns.
///
/// # Errors
///
/// The controller is lost, sends an invalid message, or is of another build; or the system refuses what the session
/// needs. The controller has been told as far as possible.
pub fn serve(network: &mut dyn Network, host: HostId, build_id: &str) -> Result<()> {
    let _sharp = PreciseTimers::new();
    let mut poll_backoff = PollBackoff::new(GREETING_BACKOFF, Instant::now());
    let (words, early) = await_greeting(network, &mut poll_backoff)?;
    if words.is_empty() {
        return Ok(()); // the session could not start, and this host is not to blame
    }
    let greeting = handshake::decode::<Greeting>(&words).map_err(|why| {
        lost(&format!("the controller's greeting is invalid ({why}): start the same executable on all hosts"))
    });
    let answer = greeting.and_then(|greeting| Monitor::start(network, host, build_id, greeting));
    match answer {
        Ok((monitor, ready)) => monitor.serve(&ready, early),
        Err(error) => {
            if let Ok(words) = handshake::encode(&GreetingReply::Refused(error.clone())) {
                network.send(HostId::CONTROLLER, words);
                drain_network(network);
            }
            Err(error)
        }
    }
}

fn lost(why: &str) -> Error {
    Error::system("the monitor cannot serve the session", why)
}

/// The first message of the controller, and what arrived after it.
fn await_greeting(
    network: &mut dyn Network,
    poll_backoff: &mut PollBackoff,
) -> Result<(Vec<u8>, Vec<Arrival>)> {
    let mut arrivals = Vec::new();
    loop {
        network.poll(&mut arrivals);
        let mut early = std::mem::take(&mut arrivals).into_iter();
        while let Some(arrival) = early.next() {
            match arrival {
                Arrival::Message(HostId::CONTROLLER, words) => return Ok((words, early.collect())),
                Arrival::Lost(HostId::CONTROLLER, why) => return Err(lost(&why)),
                _ => {} // other hosts send nothing before the greeting
            }
        }
        std::thread::sleep(poll_backoff.next_sleep(network.is_busy(), Instant::now()));
    }
}

/// Polls until what was sent has left this host, up to a time-out.
fn drain_network(network: &mut dyn Network) {
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    let mut ignored = Vec::new();
    network.poll(&mut ignored);
    while network.is_busy() && Instant::now() < deadline {
        std::thread::sleep(DRAIN_POLL_INTERVAL);
        network.poll(&mut ignored);
        if ignored.drain(..).any(|arrival| matches!(arrival, Arrival::Lost(HostId::CONTROLLER, _))) {
            return;
        }
    }
}

/// A monitor that serves a session.
struct Monitor<'a> {
    network: &'a mut dyn Network,
    segment: Arc<Segment>,
    spill: Option<(SpillSpace, Arc<SpillFile>)>,
    supervisor: Supervisor,
    process_events: Receiver<ProcessEvent>,
    /// The processes that have joined.
    forwarders: BTreeMap<ProcessId, Forwarder>,
    /// Messages to the controller.
    batch: MessageBatch,
    /// Transfers to this host, with their sources.
    receiving: FxHashMap<Transfer, HostId>,
    /// Hosts that cannot be reached from this one.
    lost: BTreeSet<HostId>,
    poll_backoff: PollBackoff,
    cores: usize,
    /// Set once the session has ended, with the result.
    ended: Option<Result<()>>,
}

impl<'a> Monitor<'a> {
    fn start(
        network: &'a mut dyn Network,
        host: HostId,
        build_id: &str,
        greeting: Greeting,
    ) -> Result<(Self, GreetingReply)> {
        handshake::check_build(&greeting.build_id, build_id).map_err(|message| Error::Launch { message })?;
        if greeting.host != host {
            return Err(lost(&format!("the controller addresses {host} as {}", greeting.host)));
        }
        let HostMemory { segment, spill } = HostMemory::create(
            greeting.object_store_memory,
            greeting.spill_dir.as_ref(),
            greeting.spill_limit,
        )?;
        let (sender, process_events) = unbounded();
        let bell = segment.clone();
        let config = SupervisorConfig {
            command: greeting.launch,
            segment: segment.clone(),
            spill: spill.as_ref().map(|(_, file)| file.clone()),
            welcome: Welcome {
                build_id: build_id.to_owned(),
                process: ProcessId::CONTROLLER,
                actor: false,
                log_dir: greeting.log_dir,
                host: Some(crate::host::host_name()),
                inline_limit: greeting.inline_limit,
            },
            notify: Box::new(move |event| {
                // It fails only after the monitor has ended.
                let _ = sender.send(event);
                bell.bell().ring();
            }),
        };
        let ready = GreetingReply::Ready {
            build_id: build_id.to_owned(),
            segment: segment.len(),
            spill_limit: spill.as_ref().map_or(0, |(space, _)| space.limit()),
        };
        let monitor = Monitor {
            network,
            segment,
            spill,
            supervisor: Supervisor::start(config)?,
            process_events,
            forwarders: BTreeMap::new(),
            batch: MessageBatch::default(),
            receiving: FxHashMap::default(),
            lost: BTreeSet::new(),
            poll_backoff: PollBackoff::new(greeting.backoff, Instant::now()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            ended: None,
        };
        Ok((monitor, ready))
    }

    fn serve(mut self, ready: &GreetingReply, early: Vec<Arrival>) -> Result<()> {
        let ready = handshake::encode(ready).map_err(|why| lost(&why))?;
        self.network.send(HostId::CONTROLLER, ready);
        early.into_iter().for_each(|arrival| self.on_arrival(arrival));
        // `idle` has polled before it slept.
        let mut has_slept = false;
        loop {
            let progressed = !has_slept && self.poll();
            if let Some(result) = self.ended.take() {
                self.supervisor.end();
                if result.is_ok() {
                    self.report(&FromMonitor::Ended);
                    self.flush();
                    drain_network(self.network);
                }
                return result;
            }
            has_slept = !progressed && self.idle();
        }
    }

    /// Nothing to do: spins for a while, then sleeps until the bell rings or the network has to be polled. True if it
    /// slept.
    fn idle(&mut self) -> bool {
        let awake =
            1 + self.forwarders.values().filter(|forwarder| forwarder.is_awake()).take(self.cores).count();
        self.segment.spin_limit().set_beside_network(awake, self.cores);
        if !self.poll_backoff.spin_time_left(Instant::now()).is_zero() {
            spin_briefly();
            return false;
        }
        let segment = self.segment.clone();
        segment.bell().sleep_as_driver(|| {
            let progressed = self.poll() || self.ended.is_some();
            (!progressed).then(|| self.poll_backoff.next_sleep(self.network.is_busy(), Instant::now()))
        })
    }
}
