//! The monitor: the controller's long arm on another host.
//!
//! It has the host's memory, starts its processes and sees them end, and passes on what they and the controller's
//! scheduler say to each other, as bytes. It decides nothing. [`serve`] is its life:
//!
//! 1. It waits for the controller's greeting, makes the memory and says that it is ready, or why it cannot be.
//! 2. It does what it is told and tells what happens (`work`), and sleeps while there is nothing (`Monitor::rest`).
//! 3. When it is told to end, or the controller is lost, it kills what is left of its processes.

mod forward;
mod handlers;
#[cfg(test)]
mod tests;

use crate::host::supervisor::{ProcessEvent, Supervisor, SupervisorConfig};
use crate::host::{HostMemory, allow_open_files};
use crate::network::{Arrival, HostId, Network, Transfer};
use crate::protocol::handshake::{self, Welcome};
use crate::protocol::monitor::{FromMonitor, Greeting, GreetingReply, MessageBatch};
use crate::store::segment::Segment;
use crate::store::spill::{SpillFile, SpillSpace};
use forward::Forwarder;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use unidist_common::{Error, ProcessId, Result};
use unidist_sync::{PollBackoff, PreciseTimers, Sleeper, spin_briefly};

/// What was said last has so long to leave this host.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The longest nap before the greeting has come.
const FIRST_BACKOFF: Duration = Duration::from_millis(1);

/// Serves the controller of a session on this host, until it ends the session. All worker processes of this host end
/// before this returns, and at the latest with this process; they are children of a thread of this process.
///
/// `host` is this host's place in the session, `build_id` names the build of this executable, as
/// [`Program::build_id`](unidist_backend::Program::build_id) does. The network is only used from the calling thread, and
/// can be finished when this returns.
///
/// # Errors
///
/// The controller is lost, says what cannot be understood, or is of another build; or the system refuses what the
/// session needs. The controller has been told as far as possible.
pub fn serve(network: &mut dyn Network, host: HostId, build_id: &str) -> Result<()> {
    let _sharp = PreciseTimers::new();
    let mut poll_backoff = PollBackoff::new(FIRST_BACKOFF, Instant::now());
    let (words, early) = await_greeting(network, &mut poll_backoff)?;
    if words.is_empty() {
        return Ok(()); // the session could not start, and this host is not to blame
    }
    let greeting = handshake::decode::<Greeting>(&words).map_err(|why| {
        lost(&format!("its greeting cannot be understood ({why}); start the same executable on all hosts"))
    });
    let answer = greeting.and_then(|greeting| Monitor::start(network, host, build_id, greeting));
    match answer {
        Ok((monitor, ready)) => monitor.serve(&ready, early),
        Err(error) => {
            if let Ok(words) = handshake::encode(&GreetingReply::Refused(error.clone())) {
                network.send(HostId::CONTROLLER, words);
                say_last_words(network);
            }
            Err(error)
        }
    }
}

fn lost(why: &str) -> Error {
    Error::system("serving the controller of a session", why)
}

/// The first message of the controller, and what came with it.
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
                _ => {} // the other hosts have nothing to say to this one
            }
        }
        std::thread::sleep(poll_backoff.next_sleep(network.is_busy(), Instant::now()));
    }
}

/// Sees to it that what was sent leaves this host, if it can.
fn say_last_words(network: &mut dyn Network) {
    let deadline = Instant::now() + LAST_WORDS;
    let mut ignored = Vec::new();
    network.poll(&mut ignored);
    while network.is_busy() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(50));
        network.poll(&mut ignored);
        if ignored.drain(..).any(|arrival| matches!(arrival, Arrival::Lost(HostId::CONTROLLER, _))) {
            return;
        }
    }
}

/// A monitor at work.
struct Monitor<'a> {
    network: &'a mut dyn Network,
    segment: Arc<Segment>,
    spill: Option<(SpillSpace, Arc<SpillFile>)>,
    supervisor: Supervisor,
    notices: Receiver<ProcessEvent>,
    /// The processes that have joined.
    forwarders: BTreeMap<ProcessId, Forwarder>,
    /// What is to be sent to the controller.
    batch: MessageBatch,
    /// What this host receives, and from where.
    receiving: FxHashMap<Transfer, HostId>,
    /// Hosts that cannot be reached from here.
    lost: BTreeSet<HostId>,
    poll_backoff: PollBackoff,
    cores: usize,
    /// The session has ended, well or not.
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
            return Err(lost(&format!("it takes {host} for {}", greeting.host)));
        }
        allow_open_files();
        let HostMemory { segment, spill } = HostMemory::create(
            greeting.object_store_memory,
            greeting.spill_dir.as_ref(),
            greeting.spill_limit,
        )?;
        let (sender, notices) = channel();
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
            notify: Box::new(move |notice| {
                // It fails only when the monitor has ended, and nobody wants to know.
                let _ = sender.send(notice);
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
            notices,
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
        early.into_iter().for_each(|arrival| self.arrived(arrival));
        // After a nap, the look before the next one is enough.
        let mut has_napped = false;
        loop {
            let happened = !has_napped && self.turn();
            if let Some(result) = self.ended.take() {
                self.supervisor.end();
                if result.is_ok() {
                    self.tell(&FromMonitor::Ended);
                    self.flush();
                    say_last_words(self.network);
                }
                return result;
            }
            has_napped = !happened && self.rest();
        }
    }

    /// There is nothing to do: looks for a moment longer, then sleeps until it is rung or the network wants a look.
    /// True if it slept.
    fn rest(&mut self) -> bool {
        let awake =
            1 + self.forwarders.values().filter(|forwarder| forwarder.is_awake()).take(self.cores).count();
        self.segment.spin_limit().set_beside_network(awake, self.cores);
        if !self.poll_backoff.spin_time_left(Instant::now()).is_zero() {
            spin_briefly();
            return false;
        }
        let segment = self.segment.clone();
        let announced = segment.bell().announce(Sleeper::Driver);
        let happened = self.turn() || self.ended.is_some();
        if !happened {
            let nap = self.poll_backoff.next_sleep(self.network.is_busy(), Instant::now());
            segment.bell().sleep(announced, nap);
        }
        segment.bell().withdraw();
        !happened
    }
}
