//! A process's part in a session on several hosts, from when all know each other until it leaves.
//!
//! The end: when the controller's engine has ended everything on all hosts, it sends CANCEL to each of them. A monitor
//! sees that nothing of its own is under way any more and answers READY_TO_SHUTDOWN. When all have, the controller
//! sends SHUTDOWN, also to the ranks that sleep. Then everyone frees its group, with nothing under way in it, and
//! leaves MPI. A host that is lost is waited for by nobody; MPI is then left alone, since to finalise it would wait.

use crate::communication::{Communicator, Mpi, MpiError};
use crate::network::MpiNetwork;
use crate::serialization::Operation;
use crate::topology::{Introduction, Log, Terms, Topology};
use crate::worker::{self, SLEEPERS};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use unidist_common::{Error, Result};
use unidist_config::{CpuCount, HostName, Settings, Source};
use unidist_core::{Program, WritableBuffer};
use unidist_engine::host::{host_address, host_name};
use unidist_engine::logging;
use unidist_engine::network::{Arrival, HostId, Network, Transfer};

/// A process's part in a session on several hosts. The engine's [`Network`] comes from [`network`](Self::network); when
/// it has done with that, [`leave`](Self::leave) ends the session's use of MPI.
#[derive(Debug)]
#[must_use = "the others wait until this process leaves"]
pub struct Membership {
    mpi: Mpi,
    place: HostId,
    topology: Topology,
    network: Arc<Mutex<MpiNetwork>>,
    /// In SPMD mode, all processes of the job.
    world: Option<Communicator>,
}

/// The engine's handle of the network.
#[derive(Debug)]
struct Handle(Arc<Mutex<MpiNetwork>>);

impl Membership {
    pub(crate) fn new(
        mpi: Mpi,
        topology: Topology,
        group: Communicator,
        world: Option<Communicator>,
        terms: &Terms,
    ) -> Self {
        mpi.finalize_at_exit(false);
        let place = HostId::new(u32::try_from(group.rank()).unwrap_or_default());
        start_log(&terms.log, place, group.rank());
        let network = MpiNetwork::new(group, terms.host_timeout, terms.log.network);
        Membership { mpi, place, topology, network: Arc::new(Mutex::new(network)), world }
    }

    /// This host's place.
    pub fn place(&self) -> HostId {
        self.place
    }

    /// Who is where.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The network between the hosts.
    pub fn network(&self) -> Box<dyn Network> {
        Box::new(Handle(self.network.clone()))
    }

    /// Leaves the session, when its engine has ended on this host and takes no part in the network any more.
    ///
    /// # Errors
    ///
    /// A host is lost, so that MPI was left as it is.
    pub fn leave(self) -> Result<()> {
        let agreed = match self.place {
            HostId::CONTROLLER => self.dismiss(),
            _ => self.take_leave(),
        };
        let Membership { mpi, network, world, .. } = self;
        let freed = match (agreed, Arc::try_unwrap(network)) {
            (Ok(()), Ok(network)) => {
                network.into_inner().unwrap_or_else(PoisonError::into_inner).free();
                true
            }
            (Ok(()), Err(_)) => false, // the engine still has it; MPI must not be ended under it
            (Err(error), _) => return Err(error),
        };
        match world {
            Some(world) if freed => {
                world.free();
                mpi.finalize();
            }
            _ => mpi.finalize_at_exit(freed),
        }
        Ok(())
    }

    /// The controller's side of the end.
    fn dismiss(&self) -> Result<()> {
        let everyone = living(&self.network);
        everyone.iter().for_each(|(host, _)| lock(&self.network).tell(*host, Operation::Cancel));
        self.wait("the end of the other hosts", |network| {
            network.living().iter().all(|(_, said)| *said == Some(Operation::ReadyToShutdown))
        })?;
        let everyone = living(&self.network);
        everyone.iter().for_each(|(host, _)| lock(&self.network).tell(*host, Operation::Shutdown));
        self.wait("the last messages", |network| !network.is_busy())?;
        self.wake_sleepers()
    }

    fn wake_sleepers(&self) -> Result<()> {
        let Some(world) = &self.world else { return Ok(()) };
        let failed = |error: MpiError| Error::system("cannot end the ranks that sleep", error);
        let words: Result<Vec<_>, _> =
            self.topology.sleepers().into_iter().map(|rank| world.send(rank, SLEEPERS, Vec::new())).collect();
        for mut word in words.map_err(failed)? {
            // Words without bytes: no MPI waits for their receivers.
            while !word.test().map_err(failed)? {
                std::thread::sleep(NAP);
            }
        }
        Ok(())
    }

    /// A monitor's side of the end.
    fn take_leave(&self) -> Result<()> {
        let controller = |network: &MpiNetwork| {
            let living = network.living();
            living.iter().find(|(host, _)| *host == HostId::CONTROLLER).map(|(_, said)| *said)
        };
        // It may take long: the engine of another host may still be at work.
        self.wait_for_ever("the controller", |network| {
            controller(network).is_none_or(|said| said.is_some())
        })?;
        lock(&self.network).tell(HostId::CONTROLLER, Operation::ReadyToShutdown);
        self.wait("the controller's last word", |network| {
            controller(network).is_none_or(|said| said == Some(Operation::Shutdown)) && !network.is_busy()
        })
    }

    fn wait(&self, what: &str, done: impl Fn(&MpiNetwork) -> bool) -> Result<()> {
        let timeout = lock(&self.network).timeout();
        let end = Instant::now() + 2 * timeout;
        self.wait_until(what, Some(end), done)
    }

    fn wait_for_ever(&self, what: &str, done: impl Fn(&MpiNetwork) -> bool) -> Result<()> {
        self.wait_until(what, None, done)
    }

    /// Goes on with the network until it is `done`. Whatever else arrives is for nobody any more.
    fn wait_until(&self, what: &str, end: Option<Instant>, done: impl Fn(&MpiNetwork) -> bool) -> Result<()> {
        let mut arrivals = Vec::new();
        loop {
            let mut network = lock(&self.network);
            network.poll(&mut arrivals);
            arrivals.clear();
            if network.has_lost() {
                return Err(Error::Launch { message: "a host of the session was lost".into() });
            }
            if done(&network) {
                return Ok(());
            }
            drop(network);
            if end.is_some_and(|end| Instant::now() > end) {
                return Err(Error::Launch { message: format!("waited too long for {what}") });
            }
            std::thread::sleep(NAP);
        }
    }
}

const NAP: Duration = Duration::from_micros(200);

fn lock(network: &Mutex<MpiNetwork>) -> MutexGuard<'_, MpiNetwork> {
    network.lock().unwrap_or_else(PoisonError::into_inner)
}

fn living(network: &Mutex<MpiNetwork>) -> Vec<(HostId, Option<Operation>)> {
    lock(network).living()
}

impl Network for Handle {
    fn send(&mut self, to: HostId, message: Vec<u8>) {
        lock(&self.0).send(to, message);
    }

    fn send_memory(&mut self, to: HostId, transfer: Transfer, memory: Vec<Bytes>) {
        lock(&self.0).send_memory(to, transfer, memory);
    }

    fn receive_memory(&mut self, from: HostId, transfer: Transfer, memory: Vec<Box<dyn WritableBuffer>>) {
        lock(&self.0).receive_memory(from, transfer, memory);
    }

    fn poll(&mut self, arrivals: &mut Vec<Arrival>) {
        lock(&self.0).poll(arrivals);
    }

    fn forget(&mut self, host: HostId) {
        lock(&self.0).forget(host);
    }

    fn is_busy(&self) -> bool {
        lock(&self.0).is_busy()
    }
}

fn slots(host: &HostName) -> Option<(String, u32)> {
    Some((host.name.clone(), u32::try_from(host.cpus?.get()).ok()?))
}

/// Starts the log of a monitor; that of the program is its own, unless it is to show what goes over the network.
fn start_log(log: &Log, place: HostId, rank: usize) {
    let network = if log.network { "unidist_mpi=info" } else { "" };
    let filters = [log.filter.as_str(), network].into_iter().filter(|filter| !filter.is_empty());
    let filters = filters.collect::<Vec<_>>().join(",");
    match place {
        HostId::CONTROLLER if !log.network => {}
        HostId::CONTROLLER => {
            logging::start(
                &format!("program on {}, rank {rank}", host_name()),
                log.folder.as_deref(),
                &filters,
            );
        }
        _ => logging::start(
            &format!("monitor on {}, rank {rank}", host_name()),
            log.folder.as_deref(),
            &filters,
        ),
    }
}

/// What this process says of itself to the group, and what all of it have said, by rank.
pub(crate) fn introduce(
    mpi: Mpi,
    group: &Communicator,
    program: Program,
    settings: &Settings,
    hosts: &[HostName],
    bound_by_launcher: bool,
) -> Result<Vec<Introduction>> {
    let failed = |error: MpiError| Error::system("cannot exchange who is where", error);
    let on_host = group.split_by_host().map_err(failed)?;
    let rank = u32::try_from(group.rank()).unwrap_or(u32::MAX);
    let ranks = on_host.all_gather(&rank.to_le_bytes()).map_err(failed)?;
    on_host.free();
    let ranks = ranks.into_iter().filter_map(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)));
    let cpus = match CpuCount::source() {
        Source::Default if bound_by_launcher => worker::unbound().len().max(1),
        _ => settings.cpus.get(),
    };
    let name = host_name();
    let own = Introduction {
        version: env!("CARGO_PKG_VERSION").into(),
        build_id: (program.build_id)(),
        host: if name.is_empty() { mpi.processor_name() } else { name },
        ip: host_address(),
        first_on_host: ranks.min().unwrap_or(rank),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        resources: settings.resources.clone(),
        object_store_memory: settings.mpi.object_store_memory.unwrap_or(settings.object_store_memory),
        binding: worker::binding(),
        pid: std::process::id(),
        terms: Terms {
            spawn: settings.mpi.spawn,
            host_timeout: settings.host_timeout,
            log: Log {
                network: settings.mpi.log,
                filter: std::env::var("RUST_LOG").unwrap_or_default(),
                folder: settings.log_dir.clone(),
            },
            slots: hosts.iter().filter_map(slots).collect(),
        },
    };
    let said = group.all_gather(&own.encode()?).map_err(failed)?;
    Introduction::decode_all(&said)
}
