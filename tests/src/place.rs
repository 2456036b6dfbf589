//! Where trials run: by themselves on this machine, or started by another program, perhaps on several hosts.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The command that starts a program, one word a line.
pub(crate) const LAUNCHER: &str = "UNIDIST_CONFORMANCE_LAUNCHER";
/// Set where the launcher starts the processes that serve the program.
const SPMD: &str = "UNIDIST_CONFORMANCE_SPMD";
/// Set where starting a program takes long.
const SERIES: &str = "UNIDIST_CONFORMANCE_SERIES";
/// The folders of the hosts' shared memory, separated as in a `PATH`.
pub(crate) const SHARED_MEMORY: &str = "UNIDIST_CONFORMANCE_SHARED_MEMORY";

/// A place for trials.
pub(crate) struct Place {
    /// The words before the program; none if it is started directly.
    pub(crate) launcher: Vec<String>,
    /// What of each host's shared memory is seen from here.
    pub(crate) shared_memory: Vec<PathBuf>,
}

impl Place {
    /// This machine, by itself.
    pub(crate) fn here() -> Self {
        Place { launcher: Vec::new(), shared_memory: vec![PathBuf::from("/dev/shm")] }
    }

    /// The one that the environment gives.
    pub(crate) fn given() -> Self {
        let mut place = Place::here();
        if let Ok(words) = std::env::var(LAUNCHER) {
            place.launcher = words.lines().map(str::to_owned).collect();
        }
        if let Some(folders) = std::env::var_os(SHARED_MEMORY) {
            place.shared_memory = std::env::split_paths(&folders).collect();
        }
        place
    }

    /// Whether programs are started by a launcher, which has processes of its own.
    pub(crate) fn has_launcher(&self) -> bool {
        !self.launcher.is_empty()
    }

    /// How many hosts there are.
    pub(crate) fn hosts(&self) -> u32 {
        self.shared_memory.len() as u32
    }

    /// Whether there are several hosts.
    pub(crate) fn has_several_hosts(&self) -> bool {
        self.hosts() > 1
    }

    /// Whether the launcher starts the processes that serve a program, for one session.
    pub(crate) fn is_spmd(&self) -> bool {
        std::env::var_os(SPMD).is_some()
    }

    /// Whether cases that can share a session do.
    pub(crate) fn has_series(&self) -> bool {
        std::env::var_os(SERIES).is_some()
    }

    /// A command for this executable, as programs are started here.
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

    /// What is in shared memory that has to do with unidist, on all hosts.
    pub(crate) fn entries(&self) -> Vec<PathBuf> {
        let entries = |folder: &PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = self.shared_memory.iter().flat_map(entries).map(|entry| entry.path());
        paths.filter(|path| is_ours(path)).collect()
    }
}

fn is_ours(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("unidist"))
}
