//! The environment and the working directory of workers.

use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use unidist_backend::LaunchCommand;

/// What every process of a session finds, whenever it starts: the environment and the working directory that the program
/// had when the session began.
#[derive(Debug)]
pub(super) struct Surroundings {
    variables: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    /// The folder itself, which may get another name or none.
    _open_folder: Option<OwnedFd>,
}

impl Surroundings {
    /// Those of this process, changed as the command says.
    pub(super) fn of(command: &LaunchCommand) -> Self {
        let is_dropped = |name: &OsString| {
            let bytes = name.as_encoded_bytes();
            command.dropped_env_prefixes.iter().any(|prefix| bytes.starts_with(prefix.as_bytes()))
        };
        let inherited = std::env::vars_os().filter(|(name, _)| !is_dropped(name));
        let variables = inherited.chain(command.envs.iter().cloned()).collect();
        if let Some(folder) = &command.dir {
            return Surroundings { variables, folder: Some(folder.clone()), _open_folder: None };
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(".", flags, Mode::empty()).ok();
        let by_number =
            open.as_ref().map(|open| PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())));
        let folder = by_number.filter(|path| path.exists()).or_else(|| std::env::current_dir().ok());
        Surroundings { variables, folder, _open_folder: open }
    }

    /// Prepares the start of a process.
    pub(super) fn apply(&self, start: &mut Command) {
        start.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            start.current_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_variables_are_not_inherited_and_added_ones_are() {
        let command = LaunchCommand {
            envs: vec![("UNIDIST_TEST_ADDED".into(), "1".into())],
            dropped_env_prefixes: vec!["PA".into()],
            ..LaunchCommand::default()
        };
        let surroundings = Surroundings::of(&command);
        let mut start = Command::new("/usr/bin/env");
        surroundings.apply(&mut start);
        let output = String::from_utf8(start.output().unwrap().stdout).unwrap();
        assert!(output.contains("UNIDIST_TEST_ADDED=1\n"), "{output}");
        assert!(!output.lines().any(|line| line.starts_with("PATH=")), "{output}");
    }
}
