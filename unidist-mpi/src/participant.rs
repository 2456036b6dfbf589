//! A process that takes part in a session on several hosts: from the exchange of introductions until it leaves (`shutdown`).

use crate::heartbeat_thread::HeartbeatThread;
use crate::launch;
use crate::network::MpiNetwork;
use crate::shutdown::{self, ShutdownMode};
use crate::topology::{CommonSettings, Introduction, LogSettings, Topology};
use crate::worker;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use unidist_backend::{Program, WritableBuffer};
use unidist_common::{Error, Result};
use unidist_config::{CpuCount, HostName, Settings, Source};
use unidist_engine::host::{host_address, host_name};
use unidist_engine::logging;
use unidist_engine::network::{Arrival, HostId, Network, Transfer};
use unidist_mpi_comm::{Communicator, ExitAction, Library, Mpi, MpiError};

/// A process that takes part in a session on several hosts. The engine gets its [`Network`] from
/// [`network`](Self::network); when the engine has dropped that, [`leave`](Self::leave) shuts MPI down.
#[derive(Debug)]
#[must_use = "the other processes wait until this one leaves"]
pub struct Participant {
    mpi: Mpi,
    place: HostId,
    topology: Arc<Topology>,
    network: Arc<Mutex<MpiNetwork>>,
    heartbeats: HeartbeatThread,
    /// In SPMD mode, all processes of the job.
    world: Option<Arc<Mutex<Communicator>>>,
}

/// The network as the engine gets it; the heartbeat thread shares it.
#[derive(Debug)]
struct Handle(Arc<Mutex<MpiNetwork>>);

impl Participant {
    pub(crate) fn new(
        mpi: Mpi,
        topology: Topology,
        group: Communicator,
        world: Option<Communicator>,
        common: &CommonSettings,
    ) -> Self {
        let place = HostId::new(u32::try_from(group.rank()).unwrap_or_default());
        start_log(&common.log, place, group.rank());
        // Without a launcher, a program need not abort a job: MPI ends the processes that it has spawned.
        let is_launched = place == HostId::CONTROLLER && mpi.was_launched();
        mpi.set_exit_action(if is_launched { ExitAction::Abort } else { ExitAction::Skip });
        let network = Arc::new(Mutex::new(MpiNetwork::new(group, common.host_timeout, common.log.network)));
        let world = world.map(|world| Arc::new(Mutex::new(world)));
        let heartbeats = HeartbeatThread::start(&network);
        let participant =
            Participant { mpi, place, topology: Arc::new(topology), network, heartbeats, world };
        if place == HostId::CONTROLLER {
            mpi.set_exit_hook(Some(participant.exit_hook()));
        }
        participant
    }

    /// The number of this host.
    pub fn place(&self) -> HostId {
        self.place
    }

    /// Which process runs on which host.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The network between the hosts.
    pub fn network(&self) -> Box<dyn Network> {
        Box::new(Handle(self.network.clone()))
    }

    /// Leaves the session, after the engine on this host has shut down and dropped its network. Unless `in_order`, this host
    /// ends without the controller's request, and waits only briefly for the controller's answer.
    ///
    /// # Errors
    ///
    /// The controller is lost, or does not answer. MPI is then not finalised.
    pub fn leave(self, in_order: bool) -> Result<()> {
        let Participant { mpi, place, topology, network, heartbeats, world } = self;
        drop(heartbeats);
        mpi.set_exit_hook(None);
        let timeout = lock(&network).timeout();
        let mode = match place {
            HostId::CONTROLLER => {
                let (mut network, world) = (lock(&network), world.as_deref().map(lock));
                let mode =
                    shutdown::coordinate_shutdown(&mut network, &topology, world.as_deref(), 2 * timeout);
                print_lost_hosts(&network, &topology);
                mode
            }
            _ => shutdown::await_shutdown(&mut lock(&network), (!in_order).then_some(SHORT_WAIT))?,
        };
        // While the engine still has the network, MPI must not be finalised.
        let Some(mut network) = Arc::into_inner(network).map(into_inner) else { return Ok(()) };
        if mode == ShutdownMode::SkipFinalize && place == HostId::CONTROLLER {
            if launch::survives_process_death() {
                return Ok(()); // no monitor waits for the exit
            }
            mpi.set_exit_hook(Some(Box::new(move || {
                shutdown::notify_exit(&mut network);
                false
            })));
            return Ok(());
        }
        if mode == ShutdownMode::SkipFinalize {
            shutdown::wait_for_exit(&mut network);
            mpi.set_exit_action(ExitAction::Abort);
            return Ok(());
        }
        network.free();
        match world.and_then(Arc::into_inner).map(into_inner) {
            Some(mut world) => {
                world.free();
                mpi.finalize();
            }
            None => mpi.set_exit_action(ExitAction::Finalize),
        }
        Ok(())
    }

    /// The shutdown protocol of a controller whose process exits in the middle of the session.
    fn exit_hook(&self) -> Box<dyn FnOnce() -> bool + Send> {
        let (topology, network, world) = (self.topology.clone(), self.network.clone(), self.world.clone());
        Box::new(move || {
            // The engine's threads still run, but hold the lock only briefly.
            let mut network = lock(&network);
            let mut world = world.as_deref().map(lock);
            let limit = network.timeout().min(LIMIT_AT_EXIT);
            let mode = shutdown::coordinate_shutdown(&mut network, &topology, world.as_deref(), limit);
            print_lost_hosts(&network, &topology);
            if mode == ShutdownMode::Finalize {
                network.free();
                world.as_deref_mut().into_iter().for_each(Communicator::free);
            }
            std::mem::forget((network, world)); // keeps other threads from calling MPI
            mode == ShutdownMode::Finalize
        })
    }
}

/// Names the lost hosts, because a launcher's error that may follow names another host.
fn print_lost_hosts(network: &MpiNetwork, topology: &Topology) {
    let name = |host: HostId| topology.hosts.get(host.place()).map(|host| host.name.as_str());
    let names: Vec<_> = network.lost().into_iter().filter_map(name).collect();
    if !names.is_empty() {
        eprintln!(
            "unidist: hosts lost during the session: {}. MPI cannot be finalised, because that would wait for them: when the program \
             exits, the job is aborted with its exit code.{}",
            names.join(", "),
            advice(Library::loaded())
        );
    }
}

/// What to do about a launcher that waits for lost hosts.
fn advice(library: Library) -> &'static str {
    match library {
        Library::OpenMpi(..5) => {
            " If a host is cut off, mpiexec waits for it for minutes, unless it detects that first: set \
             OMPI_MCA_oob_tcp_keepalive_time, _intvl and _probes to less than UNIDIST_HOST_TIMEOUT together"
        }
        Library::OpenMpi(_) => {
            " If a host is cut off, mpiexec waits for it for minutes, unless it detects that first: set \
             PRTE_MCA_oob_tcp_keepalive_time, _intvl and _probes to less than UNIDIST_HOST_TIMEOUT together"
        }
        _ => "",
    }
}

/// How long a monitor that has failed waits for the controller.
const SHORT_WAIT: Duration = Duration::from_secs(5);
/// How long the other hosts may take to answer when the program exits in the middle of a session.
const LIMIT_AT_EXIT: Duration = Duration::from_secs(5);

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Starts the log of a monitor. The program has its own logger, except if messages between hosts are logged.
fn start_log(log: &LogSettings, place: HostId, rank: usize) {
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

/// The CPU slots of this host, as its process sees them.
pub(crate) fn own_cpus(settings: &Settings, bound_by_launcher: bool) -> usize {
    match CpuCount::source() {
        Source::Default if bound_by_launcher => worker::unbound_cpus().len().max(1),
        _ => settings.cpus.get(),
    }
}

/// Exchanges the introductions of all processes, by rank. Collective.
pub(crate) fn introduce(
    mpi: Mpi,
    group: &Communicator,
    program: Program,
    settings: &Settings,
    hosts: &[HostName],
    cpus: usize,
    error: Option<String>,
) -> Result<Vec<Introduction>> {
    let failed = |error: MpiError| Error::system("cannot exchange the hosts of the processes", error);
    let mut on_host = group.split_by_host().map_err(failed)?;
    let rank = u32::try_from(group.rank()).unwrap_or(u32::MAX);
    let ranks = on_host.all_gather(&rank.to_le_bytes()).map_err(failed)?;
    on_host.free();
    let ranks = ranks.into_iter().filter_map(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)));
    let name = host_name();
    let own = Introduction {
        version: env!("CARGO_PKG_VERSION").into(),
        build_id: (program.build_id)(),
        host: if name.is_empty() { mpi.processor_name() } else { name },
        ip: host_address(),
        first_on_host: ranks.min().unwrap_or(rank),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        resources: settings.host_resources(),
        object_store_memory: settings.mpi.object_store_memory.unwrap_or(settings.object_store_memory),
        binding: worker::bound_cpus(),
        pid: std::process::id(),
        error,
        common: CommonSettings {
            spawn: settings.mpi.spawn,
            host_timeout: settings.host_timeout,
            log: LogSettings {
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
