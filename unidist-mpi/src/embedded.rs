//! A session on a communicator of the program, which has initialised MPI and continues to use it afterwards.
//!
//! All ranks of the communicator start it together. The root gets the session. The other ranks serve it, and return when it
//! has ended: on each host other than the root's, one rank runs the monitor; the rest sleep while workers do the work. There
//! is one worker for each rank but the root.

use crate::participant::{Participant, introduce};
use crate::session;
use crate::topology::Topology;
use crate::worker::{self, WakeReason};
use std::sync::Arc;
use unidist_backend::{Backend, Program};
use unidist_common::{Error, Result};
use unidist_config::Settings;
use unidist_engine::network::HostId;
use unidist_mpi_comm::{AnyCommunicator, Communicator, Mpi, MpiError};

/// Starts a session on a communicator. Collective, with the same root on all ranks. It returns the session to the root at once,
/// and `None` to each other rank when the session has ended.
///
/// During the session, its threads call MPI on the root and on one rank of each other host. If the program calls MPI there
/// meanwhile, it must initialise MPI at the level `MPI_THREAD_MULTIPLE`; else `MPI_THREAD_SERIALIZED` is enough.
///
/// A rank that cannot take part passes the error in place of its settings: then all ranks fail, and none waits.
///
/// # Errors
///
/// There is no such root, MPI was initialised at a lower level, a rank cannot take part, the ranks run different executables,
/// or the engine cannot start. On a rank that serves: the root is lost, or its process ended during the session.
pub fn start_on<C: AnyCommunicator>(
    communicator: &C,
    root: usize,
    settings: Result<Settings>,
    program: Program,
) -> Result<Option<Arc<dyn Backend>>> {
    let mpi = Mpi::init()?;
    let failed = |error: MpiError| Error::system("cannot start a session on this communicator", error);
    let mut world = Communicator::with_root_first(communicator, root).map_err(failed)?.ok_or_else(|| {
        Error::InvalidArgument {
            call: "init_on".to_owned(),
            message: format!("this communicator has no rank {root} for the root: ranks start at 0"),
        }
    })?;
    let settings = settings.and_then(|settings| session::check_store(&settings).map(|()| settings));
    let (settings, error) = match settings {
        Ok(settings) => (settings, None),
        Err(error) => (Settings::resolve_from(|_| None)?, Some(error.to_string())),
    };
    // Each process brings its own resources; the settings of the root hold for all.
    let cpus = worker::unbound_cpus().len().max(1);
    let all = introduce(mpi, &world, program, &settings, &[], cpus, error)?;
    let rank = world.rank();
    let (topology, common) = match (Topology::of_communicator(&all), all.first()) {
        (Ok(topology), Some(root)) => (topology, &root.common),
        (Err(error), _) => {
            world.free();
            return Err(error);
        }
        (Ok(_), None) => {
            return Err(Error::Launch { message: "MPI returned no introduction of the ranks".into() });
        }
    };
    let place = topology.place_of_engine(rank);
    let Some(group) = world.split(place.map(|_| 0), 0).map_err(failed)? else {
        let engine = topology.host_of_sleeper(rank).map_or(0, |host| host.engine_pid);
        return match worker::sleep(&world, engine).map_err(failed)? {
            WakeReason::Shutdown => {
                world.free();
                Ok(None)
            }
            WakeReason::ShutdownWithoutFinalize => Err(launch_error(
                "a host was lost during the session, so MPI cannot be finalised: end the program",
            )),
            WakeReason::EngineLost => {
                Err(launch_error("the process that served the session on this host has ended"))
            }
        };
    };
    let participant = Participant::new(mpi, topology, group, Some(world), common);
    if participant.place() == HostId::CONTROLLER {
        return session::start_on(participant, &settings, program).map(Some);
    }
    session::serve(participant, program).map(|()| None)
}

fn launch_error(message: &str) -> Error {
    Error::Launch { message: message.to_owned() }
}
