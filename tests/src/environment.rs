//! The environment of trials: started directly on this machine, or by a launcher, possibly on several hosts.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The launcher command, one word per line.
pub(crate) const LAUNCHER: &str = "UNIDIST_CONFORMANCE_LAUNCHER";
/// Set if the launcher starts the processes of the session.
const SPMD: &str = "UNIDIST_CONFORMANCE_SPMD";
/// Set if starting a program is slow.
const SERIES: &str = "UNIDIST_CONFORMANCE_SERIES";
/// The folders of the hosts' shared memory, separated as in a `PATH`.
pub(crate) const SHARED_MEMORY: &str = "UNIDIST_CONFORMANCE_SHARED_MEMORY";

/// The variables that a case needs, too, since it may start programs, and may depend on its environment.
pub(crate) const OF_CASES: [&str; 3] = [LAUNCHER, SHARED_MEMORY, SPMD];

/// The environment of trials.
pub(crate) struct Environment {
    /// The launcher command; empty if programs are started directly.
    pub(crate) launcher: Vec<String>,
    /// The folders of the hosts' shared memory, as visible from here.
    pub(crate) shared_memory: Vec<PathBuf>,
}

impl Environment {
    /// This machine, without a launcher.
    pub(crate) fn here() -> Self {
        Environment { launcher: Vec::new(), shared_memory: vec![PathBuf::from("/dev/shm")] }
    }

    /// The environment given by variables.
    pub(crate) fn from_variables() -> Self {
        let mut environment = Environment::here();
        if let Ok(words) = std::env::var(LAUNCHER) {
            environment.launcher = words.lines().map(str::to_owned).collect();
        }
        if let Some(folders) = std::env::var_os(SHARED_MEMORY) {
            environment.shared_memory = std::env::split_paths(&folders).collect();
        }
        environment
    }

    /// Whether programs are started by a launcher, which has its own processes.
    pub(crate) fn has_launcher(&self) -> bool {
        !self.launcher.is_empty()
    }

    /// The number of hosts.
    pub(crate) fn hosts(&self) -> u32 {
        self.shared_memory.len() as u32
    }

    /// Whether there are several hosts.
    pub(crate) fn has_several_hosts(&self) -> bool {
        self.hosts() > 1
    }

    /// Whether the launcher starts the processes of the session, so that a program has only one session.
    pub(crate) fn is_spmd(&self) -> bool {
        std::env::var_os(SPMD).is_some()
    }

    /// Whether cases share sessions where they can.
    pub(crate) fn has_series(&self) -> bool {
        std::env::var_os(SERIES).is_some()
    }

    /// A command that starts this executable in this environment.
    pub(crate) fn program(&self) -> std::io::Result<Command> {
        let executable = std::env::current_exe()?;
        Ok(match self.launcher.split_first() {
            None => Command::new(executable),
            Some((launcher, words)) => {
                let mut command = Command::new(launcher);
                command.args(words).arg(executable);
                command
            }
        })
    }

    /// unidist's entries in shared memory, on all hosts.
    pub(crate) fn entries(&self) -> Vec<PathBuf> {
        let entries = |folder: &PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = self.shared_memory.iter().flat_map(entries).map(|entry| entry.path());
        paths.filter(|path| is_ours(path)).collect()
    }
}

fn is_ours(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("unidist"))
}
