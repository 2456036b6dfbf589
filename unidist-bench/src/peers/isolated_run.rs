//! Runs the program of a peer so that it leaves no process and no file.
//!
//! Some peers start servers outside of their process group, and write files in various folders. So each program gets an
//! environment variable that marks its processes, and folders that are removed afterwards.

use crate::Result;
use crate::subprocess;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The time limit of a program.
const LIMIT: Duration = Duration::from_secs(150);
/// How long processes that it has started may take to end.
const GRACE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 5_000 });
/// The variable that marks processes.
const MARK: &str = "BENCH_PEERS_OF";
const FOLDER: &str = "bench-peers-";

/// Runs the program. Returns its output and how it ended; the error contains the last exception that it printed.
pub(crate) fn run(mut command: Command) -> Result<(String, Result)> {
    let files = Folder::new(&std::env::temp_dir())?;
    let memory = Folder::new(Path::new("/dev/shm")).ok();
    let stderr = files.0.join("stderr");
    for (name, _) in std::env::vars_os() {
        // Python's unidist reads variables with the same names as ours.
        if name.to_string_lossy().starts_with("UNIDIST_") {
            command.env_remove(name);
        }
    }
    command.env(MARK, std::process::id().to_string());
    command.env("HOME", &files.0).env("TMPDIR", &files.0).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("RAY_USAGE_STATS_ENABLED", "0").env("RAY_AUTH_MODE", "disabled");
    // Open MPI refuses root and more processes than cores by default.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    if let Some(memory) = &memory {
        command.env("OMPI_MCA_btl_sm_backing_directory", &memory.0);
    }
    command.current_dir(&files.0).stderr(Stdio::from(std::fs::File::create(&stderr)?));
    let (said, end) = subprocess::output(&mut command, LIMIT, || end_all(&mark()))?;
    let end = end.map_err(|error| {
        let text = std::fs::read_to_string(&stderr).unwrap_or_default();
        let is_error = |line: &&str| line.contains("Error") || line.contains("Exception");
        let last = text.lines().rev().find(is_error).unwrap_or_default();
        format!("{error} {last}").trim().to_owned().into()
    });
    Ok((said, end))
}

/// The mark of all programs that this process runs.
fn mark() -> String {
    format!("{MARK}={}", std::process::id())
}

/// Waits for the processes with this mark, and kills them after the grace period.
fn end_all(mark: &str) {
    let deadline = Instant::now() + GRACE;
    loop {
        let left = marked(mark);
        if left.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            // A process may have ended meanwhile; new ones are found in the next iteration.
            for process in left {
                let _ = kill_process(process, Signal::KILL);
            }
        }
        if Instant::now() > deadline + GRACE {
            let _ = writeln!(std::io::stderr(), "error: processes with {mark} do not end");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes with this mark in their environment, except zombies and this process.
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
    /// Makes a folder named after this process, and removes those of processes that have ended.
    fn new(place: &Path) -> Result<Folder> {
        for entry in std::fs::read_dir(place)?.flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.parse::<u32>().ok());
            if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
                // This fails for another user's folder, which stays.
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
        // If this fails, the next run removes it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn started_processes_end_with_the_program() {
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
