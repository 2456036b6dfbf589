//! A session on a communicator of the program's own: the program has initialised MPI, and goes on with it afterwards.
//!
//! All ranks of the communicator begin it together. The root gets the session; the others serve it and come back when it
//! has ended: on each host one is the end of the network there, if the host is not the root's, and the rest sleep while
//! workers do the work. There is a worker for each rank but the root.

use crate::membership::{Membership, introduce};
use crate::session;
use crate::topology::Topology;
use crate::worker::{self, Awake};
use std::sync::Arc;
use unidist_backend::{Backend, Program};
use unidist_common::{Error, Result};
use unidist_config::Settings;
use unidist_engine::network::HostId;
use unidist_mpi_comm::{AnyCommunicator, Communicator, Mpi, MpiError};

/// Starts a session on a communicator, of which all ranks call this with the same root. It returns the session to the root
/// at once, and nothing to each other rank when the session has ended.
///
/// While there is a session, its threads call MPI on the root and on one rank of each other host. If the program calls MPI
/// meanwhile there, it has to initialise MPI at the level `MPI_THREAD_MULTIPLE`; else `MPI_THREAD_SERIALIZED` is enough.
///
/// A rank that cannot take part comes with the reason in place of its settings: then all ranks fail, and none waits.
///
/// # Errors
///
/// There is no such root, MPI was initialised at a lower level, a rank cannot take part, the ranks do not run the same
/// executable, or the engine cannot start. On a rank that serves: the root is lost, or ended its process in the midst of
/// the session.
pub fn start_on<C: AnyCommunicator>(
    communicator: &C,
    root: usize,
    settings: Result<Settings>,
    program: Program,
) -> Result<Option<Arc<dyn Backend>>> {
    let mpi = Mpi::init()?;
    let failed = |error: MpiError| Error::system("cannot begin a session on this communicator", error);
    let mut world = Communicator::with_root_first(communicator, root).map_err(failed)?.ok_or_else(|| {
        Error::InvalidArgument {
            call: "init_on".to_owned(),
            message: format!(
                "there is no rank {root} in this communicator to be the root: ranks count from 0"
            ),
        }
    })?;
    let settings = settings.and_then(|settings| session::check_store(&settings).map(|()| settings));
    let (settings, refused) = match settings {
        Ok(settings) => (settings, None),
        Err(error) => (Settings::resolve_from(|_| None)?, Some(error.to_string())),
    };
    // What one process was told holds for what it brings; the root's terms are those of all.
    let cpus = worker::unbound().len().max(1);
    let all = introduce(mpi, &world, program, &settings, &[], cpus, refused)?;
    let rank = world.rank();
    let (topology, terms) = match (Topology::of_guests(&all), all.first()) {
        (Ok(topology), Some(root)) => (topology, &root.terms),
        (Err(error), _) => {
            world.free();
            return Err(error);
        }
        (Ok(_), None) => return Err(Error::Launch { message: "nobody has introduced itself".into() }),
    };
    let place = topology.place_of_engine(rank);
    let Some(group) = world.split(place.map(|_| 0), 0).map_err(failed)? else {
        let beside = topology.host_of_sleeper(rank).map_or(0, |host| host.engine_pid);
        return match worker::sleep(&world, beside).map_err(failed)? {
            Awake::Shutdown => {
                world.free();
                Ok(None)
            }
            Awake::Leave => Err(lost("a host was lost in the session: MPI would wait for it")),
            Awake::Alone => Err(lost("the process that served the session on this host has ended")),
        };
    };
    let membership = Membership::new(mpi, topology, group, Some(world), terms);
    if membership.place() == HostId::CONTROLLER {
        return session::start_on(membership, &settings, program).map(Some);
    }
    session::serve(membership, program).map(|()| None)
}

fn lost(message: &str) -> Error {
    Error::Launch { message: message.to_owned() }
}
