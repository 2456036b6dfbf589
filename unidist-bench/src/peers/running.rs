//! Runs the program of a peer so that nothing of it stays: no process, no file.
//!
//! Some of them start servers that leave their process group, and files in places of their own choice. So all of them
//! get an environment variable by which their processes are known, and folders that are removed afterwards.

use crate::Result;
use crate::children;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(150);
/// How long what it has started may take to end by itself.
const GRACE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 5_000 });
/// The variable by which processes are known.
const MARK: &str = "BENCH_PEERS_OF";
const FOLDER: &str = "bench-peers-";

/// Runs the program: what it has printed, and how it ended. The error says the last that it complained about.
pub(crate) fn run(mut command: Command) -> Result<(String, Result)> {
    let files = Folder::new(&std::env::temp_dir())?;
    let memory = Folder::new(Path::new("/dev/shm")).ok();
    let complaints = files.0.join("stderr");
    for (name, _) in std::env::vars_os() {
        // Python's unidist reads variables of the same names as ours.
        if name.to_string_lossy().starts_with("UNIDIST_") {
            command.env_remove(name);
        }
    }
    command.env(MARK, std::process::id().to_string());
    command.env("HOME", &files.0).env("TMPDIR", &files.0).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("RAY_USAGE_STATS_ENABLED", "0").env("RAY_AUTH_MODE", "disabled");
    // For Open MPI: it refuses root and more processes than cores unless told otherwise.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    if let Some(memory) = &memory {
        command.env("OMPI_MCA_btl_sm_backing_directory", &memory.0);
    }
    command.current_dir(&files.0).stderr(Stdio::from(std::fs::File::create(&complaints)?));
    let (said, end) = children::output(&mut command, LIMIT, || end_all(&mark()))?;
    let end = end.map_err(|error| {
        let text = std::fs::read_to_string(&complaints).unwrap_or_default();
        let tells = |line: &&str| line.contains("Error") || line.contains("Exception");
        let last = text.lines().rev().find(tells).unwrap_or_default();
        format!("{error} {last}").trim().to_owned().into()
    });
    Ok((said, end))
}

/// What is among the variables of everything that this process runs.
fn mark() -> String {
    format!("{MARK}={}", std::process::id())
}

/// Waits for the processes with this mark, but not for long.
fn end_all(mark: &str) {
    let deadline = Instant::now() + GRACE;
    loop {
        let left = marked(mark);
        if left.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            // One that is gone by now is no matter; those that they start meanwhile are found the next time.
            for process in left {
                let _ = kill_process(process, Signal::KILL);
            }
        }
        if Instant::now() > deadline + GRACE {
            let _ = writeln!(std::io::stderr(), "some processes with {mark} do not end");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that have this among their variables, without zombies and this one.
fn marked(mark: &str) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has_mark = |process: &i32| {
        std::fs::read(format!("/proc/{process}/environ"))
            .is_ok_and(|variables| variables.split(|&byte| byte == 0).any(|one| one == mark.as_bytes()))
    };
    processes.filter(has_mark).filter_map(Pid::from_raw).collect()
}

/// A folder that is removed on drop.
struct Folder(PathBuf);

impl Folder {
    /// Makes one with this process's number, and removes those of processes that are no more.
    fn new(place: &Path) -> Result<Folder> {
        for entry in std::fs::read_dir(place)?.flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.parse::<u32>().ok());
            if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
                // If it is another user's, it stays.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let folder = Folder(place.join(format!("{FOLDER}{}", std::process::id())));
        let made = std::fs::create_dir_all(&folder.0);
        made.map_err(|error| format!("{}: {error}", folder.0.display()))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_has_started_ends_with_it() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 >/dev/null 2>&1 & echo $!; echo SomeError: why >&2; exit 1"]);
        let (said, end) = run(shell).unwrap();
        assert_eq!(end.unwrap_err().to_string(), "exit status: 1 SomeError: why");
        assert!(said.trim().parse::<u32>().is_ok());
        assert_eq!(marked(&mark()), []);
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        assert!(!folder.exists());
    }
}
