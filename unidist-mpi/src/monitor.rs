//! How a process that MPI has spawned becomes the monitor of its host.

use crate::participant::{Participant, introduce};
use crate::topology::Topology;
use crate::worker;
use std::ffi::{OsStr, OsString};
use unidist_backend::Program;
use unidist_common::{Error, Result};
use unidist_config::Settings;
use unidist_mpi_comm::{Mpi, MpiError};

/// The first argument of a monitor, before the arguments of the program.
pub const ARGUMENT: &str = "--unidist-monitor";

/// The settings that each host reads from its own environment.
const HOST_SETTINGS: [&str; 3] =
    ["UNIDIST_OBJECT_STORE_MEMORY", "UNIDIST_MPI_SHARED_OBJECT_STORE_MEMORY", "UNIDIST_RESOURCES"];

/// The arguments of the program, if this process was started as a monitor. It may be called before `main`.
pub fn program_arguments() -> Option<Vec<OsString>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == OsStr::new(ARGUMENT)).then(|| arguments.collect())
}

/// Joins the session of the controller that has spawned this process.
///
/// The monitor removes the CPU binding of the launcher: it moves data, and has no core of its own.
///
/// # Errors
///
/// MPI has not spawned this process. (If the processes do not fit together, the controller reports it, and this process exits
/// silently.)
pub fn join(program: Program) -> Result<Participant> {
    // If this fails, the monitor keeps its binding.
    let _ = worker::bind_cpus(worker::unbound_cpus());
    let mpi = Mpi::init()?;
    let failed = |error: MpiError| Error::system("cannot join the controller", error);
    let parent = mpi.parent().map_err(failed)?.ok_or_else(|| Error::Launch {
        message: format!("{ARGUMENT} is reserved for processes that unidist spawns by MPI, and MPI has not spawned this one: start the program without it"),
    })?;
    let mut group = parent.merge(true).map_err(failed)?;
    // Some MPIs pass the environment of the program, whose code may have set other values since. Settings of the session come
    // from the controller.
    let (settings, error) =
        match Settings::resolve_from(|name| HOST_SETTINGS.contains(&name).then(|| std::env::var_os(name))?) {
            Ok(settings) => (settings, None),
            Err(error) => (Settings::resolve_from(|_| None)?, Some(error.to_string())),
        };
    let cpus = worker::unbound_cpus().len().max(1);
    let all = introduce(mpi, &group, program, &settings, &[], cpus, error)?;
    let (Ok(topology), Some(controller)) = (Topology::of_spawned(&all), all.first()) else {
        // The controller finds the same error, and reports it.
        group.free();
        mpi.finalize();
        std::process::exit(0);
    };
    Ok(Participant::new(mpi, topology, group, None, &controller.common))
}
