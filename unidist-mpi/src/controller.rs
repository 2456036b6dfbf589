//! How the user's program starts a session.

use crate::launch;
use crate::participant::{Participant, introduce, own_cpus};
use crate::topology::Topology;
use crate::worker::{self, WakeReason};
use std::time::Duration;
use unidist_backend::Program;
use unidist_common::{Error, Result};
use unidist_config::{HostName, Settings};
use unidist_engine::host::outlive_signals;
use unidist_mpi_comm::{ExitAction, Library, Mpi, MpiError};

/// How long the program has to report why the session cannot start.
const TIME_TO_REPORT: Duration = Duration::from_secs(1);

/// The processes besides the program.
#[derive(Debug)]
pub enum Joined {
    /// None, and MPI was not called. The engine runs alone, with these CPU slots if the list of hosts gives them.
    Alone(Option<usize>),
    /// Other hosts, or (in SPMD mode) other ranks of this one.
    Session(Participant),
}

/// Starts a session: spawns the monitors of further hosts or, in SPMD mode, assigns roles to the ranks of the job. In SPMD mode
/// it returns on the first rank and on the monitors of further hosts, which [`Participant::place`] tells apart. On other ranks
/// it does not return: they sleep until the session has ended, then exit.
///
/// # Errors
///
/// MPI cannot start the processes, or they do not fit together. In SPMD mode only rank 0 returns the error, and all others exit
/// with code 1.
pub fn join(settings: &Settings, program: Program) -> Result<Joined> {
    if !settings.mpi.spawn || launch::job_size().is_some_and(|size| size > 1) {
        return join_ranks(settings, program).map(Joined::Session);
    }
    let hosts = launch::hosts(&settings.mpi.hosts)?;
    if hosts.further.is_empty() {
        return Ok(Joined::Alone(hosts.own_slots));
    }
    spawn(settings, program, &hosts).map(Joined::Session)
}

fn spawn(settings: &Settings, program: Program, hosts: &launch::Hosts) -> Result<Participant> {
    launch::check_before_init(hosts)?;
    let launched = launch::under_launcher(); // before MPI_Init, which sets the variables of a launcher in some MPIs
    let mpi = Mpi::init()?;
    let monitors = launch::start_monitors(mpi, hosts, launched)?;
    let _watch = launch::warn_when_slow(format!(
        "MPI has started the monitors on {}, but they do not answer yet; the hosts need: {}",
        hosts.names(),
        launch::network_advice(Library::loaded())
    ));
    let failed = |error: MpiError| Error::system("cannot join the monitors", error);
    let mut group = monitors.merge(false).map_err(failed)?;
    let all = introduce(mpi, &group, program, settings, &hosts.all, own_cpus(settings, launched), None)?;
    match (Topology::of_spawned(&all), all.first()) {
        (Ok(topology), Some(own)) => Ok(Participant::new(mpi, topology, group, None, &own.common)),
        (Err(error), _) => {
            group.free();
            Err(error)
        }
        (Ok(_), None) => {
            Err(Error::Launch { message: "MPI returned no introduction of the processes".into() })
        }
    }
}

fn join_ranks(settings: &Settings, program: Program) -> Result<Participant> {
    let mpi = Mpi::init()?;
    let failed = |error: MpiError| Error::system("cannot join the ranks of the job", error);
    let mut world = mpi.world().map_err(failed)?;
    let rank = world.rank();
    if let Some(started) = launch::job_size().filter(|started| *started > 1 && world.size() == 1) {
        world.free();
        mpi.finalize();
        return Err(Error::Launch { message: launch::alone_advice(Library::loaded(), started) });
    }
    let watch = (rank == 0).then(|| {
        launch::warn_when_slow(format!(
            "the {} processes of this job are not connected yet; the hosts need: {}",
            world.size(),
            launch::network_advice(Library::loaded())
        ))
    });
    let all = introduce(mpi, &world, program, settings, &settings.mpi.hosts, own_cpus(settings, true), None)?;
    drop(watch);
    // All processes compute the same topology, so that what follows needs no agreement.
    let topology = Topology::of_ranks(&all);
    let (topology, common) = match (topology, all.first()) {
        (Ok(topology), Some(first)) => (topology, &first.common),
        (Err(error), _) if rank == 0 => {
            world.free();
            mpi.finalize();
            return Err(error);
        }
        _ => {
            let on_host =
                all.first().is_some_and(|first| all.get(rank).is_some_and(|own| own.host == first.host));
            let program = all.first().filter(|_| on_host).map(|first| first.pid);
            world.free();
            mpi.finalize();
            // A launcher kills the job when a process fails: the program must report the error before.
            worker::wait_for_process_end(program, TIME_TO_REPORT);
            std::process::exit(1);
        }
    };
    let place = topology.place_of_engine(rank);
    let group = world.split(place.map(|_| 0), 0).map_err(failed)?;
    let Some(group) = group else {
        let engine = topology.host_of_sleeper(rank).map_or(0, |host| host.engine_pid);
        outlive_signals();
        let reason = worker::sleep(&world, engine);
        // A launcher whose job survives the death of a process waits for processes that neither finalise MPI nor abort.
        let (action, code) = match reason {
            Ok(WakeReason::Shutdown) => {
                world.free();
                (ExitAction::Finalize, 0)
            }
            Ok(WakeReason::ShutdownWithoutFinalize) => {
                worker::wait_for_program_exit(engine);
                (ExitAction::Abort, 0)
            }
            Ok(WakeReason::EngineLost) if launch::survives_process_death() => (ExitAction::Abort, 0),
            Ok(WakeReason::EngineLost) | Err(_) => (ExitAction::Skip, 1),
        };
        mpi.set_exit_action(action);
        std::process::exit(code);
    };
    Ok(Participant::new(mpi, topology, group, Some(world), common))
}

/// The CPU slots that a list of hosts gives to this host.
pub(crate) fn own_slots(hosts: &[HostName], is_own: impl Fn(&str) -> bool) -> Option<usize> {
    hosts.iter().find(|host| is_own(&host.name)).and_then(|host| host.cpus).map(usize::from)
}
