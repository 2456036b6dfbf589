//! unidist's multi-process backend: worker processes on one machine, no MPI.
//!
//! The engine runs with its controller in the program and its workers as child processes. [`start`] starts a session; a
//! process that may have been started as a worker first calls [`serve_if_worker`].

use std::sync::Arc;
use unidist_backend::{Backend, LaunchCommand, Program};
use unidist_common::Result;
use unidist_config::Settings;
use unidist_engine::controller::{self, ControllerSettings};
pub use unidist_engine::host::host_address;

/// The value of `UNIDIST_BACKEND` that selects this backend.
pub const NAME: &str = "pymp";

/// Starts a session: `settings.cpus` workers, each a process of this executable.
///
/// # Errors
///
/// The system refuses memory or processes, or no worker joins.
pub fn start(settings: &Settings, program: Program) -> Result<Arc<dyn Backend>> {
    controller::start(
        ControllerSettings {
            backend: NAME,
            cpus: settings.cpus.get(),
            resources: settings.host_resources(),
            object_store_memory: settings.object_store_memory,
            spill_dir: settings.spill_dir.clone(),
            spill_limit: settings.spill_limit,
            max_pending_tasks: settings.max_pending_tasks.map(usize::from),
            max_processes: settings.max_processes.map(usize::from),
            log_dir: settings.log_dir.clone(),
            inline_limit: ControllerSettings::INLINE_LIMIT,
            cancel_grace: settings.cancel_grace,
            ip: host_address(),
            launch: LaunchCommand::this_program(),
        },
        program,
    )
}

/// In a process that was started as a worker: serves until the session ends, then ends the process. In any other
/// process: returns at once.
pub fn serve_if_worker(program: Program, install: fn(Arc<dyn Backend>)) {
    unidist_engine::worker::serve_if_worker(program, install);
}
