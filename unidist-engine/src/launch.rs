//! How a worker process is started: a value, so that a front end can start something else than this executable.

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// The variable that tells a process that it was started as a worker. Its value is the number of its parent process.
pub(crate) const WORKER_VARIABLE: &str = "UNIDIST_WORKER";

/// The command that starts a worker. The process must call [`serve_if_worker`](crate::worker::serve_if_worker) before
/// it does anything else; its standard input is the link to the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchCommand {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to the environment, which is inherited otherwise.
    pub envs: Vec<(OsString, OsString)>,
    /// Variables whose names begin with one of these are not inherited.
    pub dropped_env_prefixes: Vec<String>,
    /// The working directory; inherited if there is none.
    pub dir: Option<PathBuf>,
    /// Sets of CPUs for the workers: each one of the pool gets the set that the fewest have, an actor may use all of them.
    /// Without any, workers inherit the parent's.
    pub affinities: Vec<Vec<usize>>,
}

impl LaunchCommand {
    /// This executable (the very file, even if it was replaced meanwhile) with this program's arguments.
    pub fn this_program() -> Self {
        let program = match PathBuf::from("/proc/self/exe") {
            path if path.exists() => path,
            _ => std::env::current_exe().unwrap_or_default(),
        };
        LaunchCommand { program, args: std::env::args_os().skip(1).collect(), ..LaunchCommand::default() }
    }
}
