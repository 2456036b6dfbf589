//! How the user's program comes into a session.

use crate::launch;
use crate::membership::{Membership, introduce, own_cpus};
use crate::topology::Topology;
use crate::worker::{self, Awake};
use std::time::Duration;
use unidist_backend::Program;
use unidist_common::{Error, Result};
use unidist_config::{HostName, Settings};
use unidist_mpi_comm::{ExitAction, Library, Mpi, MpiError};

/// How long the program has to write why there is no session.
const TIME_TO_SAY_WHY: Duration = Duration::from_secs(1);

/// What there is besides the program.
#[derive(Debug)]
pub enum Joined {
    /// Nothing: no MPI was called. The engine runs alone, with this many CPU slots if the list of hosts says so.
    Alone(Option<usize>),
    /// Other hosts, or (in SPMD mode) other ranks of this one.
    Session(Membership),
}

/// Begins a session: has MPI start the monitors of further hosts, or finds out who the ranks of this job are. In SPMD
/// mode this returns on the first rank and on the monitors of further hosts, as [`Membership::place`] says; on other
/// ranks it never does: they sleep until the session has ended, and then end their process.
///
/// # Errors
///
/// MPI cannot start what is needed, or those that were started do not go together; in SPMD mode only rank 0 says so, and
/// all others end their process with exit code 1.
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

fn spawn(settings: &Settings, program: Program, hosts: &launch::Hosts) -> Result<Membership> {
    launch::check_before_init(hosts)?;
    let launched = launch::under_launcher(); // some MPIs, when they are initialised, set what a launcher sets
    let mpi = Mpi::init()?;
    let monitors = launch::start_monitors(mpi, hosts, launched)?;
    let _watch = launch::warn_when_slow(format!(
        "MPI has started the monitors on {}, but they are not heard yet; what it takes: {}",
        hosts.names(),
        launch::network_advice(Library::loaded())
    ));
    let failed = |error: MpiError| Error::system("cannot join the monitors", error);
    let mut group = monitors.merge(false).map_err(failed)?;
    let all = introduce(mpi, &group, program, settings, &hosts.all, own_cpus(settings, launched), None)?;
    match (Topology::of_spawned(&all), all.first()) {
        (Ok(topology), Some(own)) => Ok(Membership::new(mpi, topology, group, None, &own.terms)),
        (Err(error), _) => {
            group.free();
            Err(error)
        }
        (Ok(_), None) => Err(Error::Launch { message: "nobody has introduced itself".into() }),
    }
}

fn join_ranks(settings: &Settings, program: Program) -> Result<Membership> {
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
            "the {} processes of this job do not hear each other yet; what it takes: {}",
            world.size(),
            launch::network_advice(Library::loaded())
        ))
    });
    let all = introduce(mpi, &world, program, settings, &settings.mpi.hosts, own_cpus(settings, true), None)?;
    drop(watch);
    // All draw the same conclusion, so that what follows needs no agreement.
    let topology = Topology::of_ranks(&all);
    let (topology, terms) = match (topology, all.first()) {
        (Ok(topology), Some(first)) => (topology, &first.terms),
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
            // A launcher ends a job when a process of it fails: the program is to say first what is wrong.
            worker::wait_for_end(program, TIME_TO_SAY_WHY);
            std::process::exit(1);
        }
    };
    let place = topology.place_of_engine(rank);
    let group = world.split(place.map(|_| 0), 0).map_err(failed)?;
    let Some(group) = group else {
        let beside = topology.host_of_sleeper(rank).map_or(0, |host| host.engine_pid);
        let awake = worker::sleep(&world, beside);
        // A launcher that lets a job go on counts those alone as ended that have finalised MPI or aborted.
        let (end, code) = match awake {
            Ok(Awake::Shutdown) => {
                world.free();
                (ExitAction::Finalize, 0)
            }
            Ok(Awake::Leave) => {
                worker::outlast_session(beside);
                (ExitAction::Abort, 0)
            }
            Ok(Awake::Alone) if launch::survives_process_death() => (ExitAction::Abort, 0),
            Ok(Awake::Alone) | Err(_) => (ExitAction::Skip, 1),
        };
        mpi.set_exit_action(end);
        std::process::exit(code);
    };
    Ok(Membership::new(mpi, topology, group, Some(world), terms))
}

/// The CPU slots that a list of hosts gives to the first one.
pub(crate) fn own_slots(hosts: &[HostName], is_own: impl Fn(&str) -> bool) -> Option<usize> {
    hosts.iter().find(|host| is_own(&host.name)).and_then(|host| host.cpus).map(usize::from)
}
