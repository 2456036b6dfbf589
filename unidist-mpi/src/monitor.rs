//! How a process that MPI has started becomes the monitor of its host.

use crate::membership::{Membership, introduce};
use crate::topology::Topology;
use crate::worker;
use std::ffi::{OsStr, OsString};
use unidist_backend::Program;
use unidist_common::{Error, Result};
use unidist_config::Settings;
use unidist_mpi_comm::{Mpi, MpiError};

/// The first argument of a monitor. The arguments of the program follow.
pub const ARGUMENT: &str = "--unidist-monitor";

/// What each host may say of itself.
const OWN: [&str; 3] =
    ["UNIDIST_OBJECT_STORE_MEMORY", "UNIDIST_MPI_SHARED_OBJECT_STORE_MEMORY", "UNIDIST_RESOURCES"];

/// The arguments of the program, if this process was started as a monitor. It may be asked before `main`.
pub fn program_arguments() -> Option<Vec<OsString>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == OsStr::new(ARGUMENT)).then(|| arguments.collect())
}

/// Joins the session of whoever has started this process.
///
/// The monitor itself uses all CPUs of the host, whatever the launcher has bound it to: it moves data, and has no core
/// of its own.
///
/// # Errors
///
/// Nobody has started it by MPI. (Where those that were started do not go together, the controller says so, and this
/// ends its process quietly.)
pub fn join(program: Program) -> Result<Membership> {
    // Where this is refused, the monitor goes on with what it has.
    let _ = worker::bind(worker::unbound());
    let mpi = Mpi::init()?;
    let failed = |error: MpiError| Error::system("cannot join the controller", error);
    let parent = mpi.parent().map_err(failed)?.ok_or_else(|| Error::Launch {
        message: format!("{ARGUMENT} is for the use of unidist itself: MPI has not started this process"),
    })?;
    let mut group = parent.merge(true).map_err(failed)?;
    // Some MPIs bring the variables of the program along, which may have put other values since. Of what it alone decides,
    // nothing is read here.
    let (settings, refused) =
        match Settings::resolve_from(|name| OWN.contains(&name).then(|| std::env::var_os(name))?) {
            Ok(settings) => (settings, None),
            Err(error) => (Settings::resolve_from(|_| None)?, Some(error.to_string())),
        };
    let cpus = worker::unbound().len().max(1);
    let all = introduce(mpi, &group, program, &settings, &[], cpus, refused)?;
    let (Ok(topology), Some(controller)) = (Topology::of_spawned(&all), all.first()) else {
        // The controller draws the same conclusion, and says it.
        group.free();
        mpi.finalize();
        std::process::exit(0);
    };
    Ok(Membership::new(mpi, topology, group, None, &controller.terms))
}
