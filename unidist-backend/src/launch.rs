//! How a worker process is started. The command is a value, so a front end can start a program other than this
//! executable.

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// The command that starts a worker. The process must call the backend's `serve_if_worker` before
/// it does anything else; its standard input is the link to the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchCommand {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to the inherited environment.
    pub envs: Vec<(OsString, OsString)>,
    /// Variables whose names begin with one of these are not inherited.
    pub dropped_env_prefixes: Vec<String>,
    /// The working directory; inherited if `None`.
    pub dir: Option<PathBuf>,
    /// Sets of CPUs for the workers: a pool worker is bound to the set with the fewest workers, an actor may use all
    /// sets. Empty: workers inherit the parent's.
    pub affinities: Vec<Vec<usize>>,
}

/// The path by which this process was started, for systems without `/proc`.
fn path_at_start() -> PathBuf {
    #[cfg(target_os = "linux")]
    return <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(
        rustix::param::linux_execfn().to_bytes(),
    )
    .into();
    #[cfg(not(target_os = "linux"))]
    std::env::args_os().next().unwrap_or_default().into()
}

impl LaunchCommand {
    /// This executable (the same file, even if it has been replaced since) with this program's arguments.
    pub fn this_program() -> Self {
        let program = match PathBuf::from("/proc/self/exe") {
            path if path.exists() => path,
            _ => std::env::current_exe().unwrap_or_else(|_| path_at_start()),
        };
        LaunchCommand { program, args: std::env::args_os().skip(1).collect(), ..LaunchCommand::default() }
    }
}
