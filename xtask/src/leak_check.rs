//! Finds processes and shared-memory files that a program leaves behind, on any host.

use crate::{Result, process};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Prefixes of the shared-memory files of MPI implementations, which remain when their processes are killed.
const OF_MPI: [&str; 5] = ["mpich_shm_", "vader_segment", "sm_segment", "psm_", "Intel_MPI_"];

/// The state before an executable is run, to compare with afterwards.
#[derive(Debug)]
pub(crate) struct LeakCheck {
    executable: PathBuf,
    /// The folders that are the hosts' shared memory.
    folders: Vec<PathBuf>,
    shared_memory: BTreeSet<PathBuf>,
}

impl LeakCheck {
    /// On this machine.
    pub(crate) fn new(executable: &Path) -> Self {
        LeakCheck::on_hosts(executable, vec![PathBuf::from("/dev/shm")])
    }

    /// On hosts that have their shared memory in these folders.
    pub(crate) fn on_hosts(executable: &Path, folders: Vec<PathBuf>) -> Self {
        let shared_memory = entries(&folders);
        LeakCheck { executable: executable.to_owned(), folders, shared_memory }
    }

    /// Fails if a process of the executable is still alive after this time, and kills it.
    pub(crate) fn check_processes(&self, grace: Duration) -> Result {
        let end = Instant::now() + grace;
        loop {
            let alive = process::processes_of(&self.executable);
            if alive.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                alive.iter().copied().for_each(process::kill);
                return Err(format!("processes left behind: {alive:?}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Removes new files of MPI that no process uses; a file in use belongs to another job. Returns their number.
    pub(crate) fn remove_mpi_files(&self) -> Result<usize> {
        let of_mpi: Vec<PathBuf> = self.new_entries().into_iter().filter(|path| is_of_mpi(path)).collect();
        if of_mpi.is_empty() {
            return Ok(0);
        }
        let used = in_use();
        let mut removed = 0;
        for path in of_mpi {
            let Ok(file) = path.metadata() else { continue };
            if !used.contains(&file.ino()) {
                fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Fails if shared memory has a new file, except files of MPI: unused ones are removed, others belong to other jobs.
    pub(crate) fn check_shared_memory(&self) -> Result {
        self.remove_mpi_files()?;
        let new: Vec<PathBuf> = self.new_entries().into_iter().filter(|path| !is_of_mpi(path)).collect();
        match new.is_empty() {
            true => Ok(()),
            false => Err(format!("left behind in shared memory: {new:?}").into()),
        }
    }

    fn new_entries(&self) -> Vec<PathBuf> {
        entries(&self.folders).difference(&self.shared_memory).cloned().collect()
    }
}

/// The entries of these folders.
fn entries(folders: &[PathBuf]) -> BTreeSet<PathBuf> {
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    entries.map(|entry| entry.path()).collect()
}

fn is_of_mpi(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    OF_MPI.iter().any(|start| name.starts_with(start))
}

/// The inodes of the files that processes have mapped, see proc_pid_maps(5), or open.
fn in_use() -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for process in process::processes() {
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
        found.extend(maps.lines().filter_map(|line| line.split_whitespace().nth(4)?.parse::<u64>().ok()));
        let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        found.extend(open.filter_map(|entry| Some(fs::metadata(entry.path()).ok()?.ino())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{self, Cluster};

    #[test]
    fn remaining_processes_are_found() {
        let sleep = Path::new("/bin/sleep").canonicalize().unwrap();
        // A copy, so that no unrelated process counts.
        let copy = std::env::temp_dir().join(format!("unidist-leftover-{}", std::process::id()));
        fs::copy(sleep, &copy).unwrap();
        let leak_check = LeakCheck::new(&copy);
        let mut child = std::process::Command::new(&copy).arg("1000").spawn().unwrap();
        let found = leak_check.check_processes(Duration::ZERO);
        child.wait().unwrap();
        fs::remove_file(&copy).unwrap();
        assert!(found.is_err());
        assert!(leak_check.check_processes(Duration::ZERO).is_ok());
    }

    #[test]
    fn planted_files_are_found() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(one.path().join("old"), "").unwrap();
        let leak_check =
            LeakCheck::on_hosts(Path::new("none"), vec![one.path().to_owned(), two.path().to_owned()]);
        assert!(leak_check.check_shared_memory().is_ok());
        fs::write(two.path().join("planted"), "").unwrap();
        let error = leak_check.check_shared_memory().unwrap_err().to_string();
        assert!(error.contains("planted") && !error.contains("old"), "{error}");
    }

    #[test]
    fn unused_mpi_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let leak_check = LeakCheck::on_hosts(Path::new("none"), vec![folder.path().to_owned()]);
        let used = fs::File::create(folder.path().join("vader_segment.host.0.1")).unwrap();
        for name in ["mpich_shm_1", "sm_segment.host.1", "psm_abc"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(leak_check.remove_mpi_files().unwrap(), 3);
        assert!(leak_check.check_shared_memory().is_ok());
        assert_eq!(leak_check.new_entries().len(), 1);
        drop(used);
        assert!(leak_check.check_shared_memory().is_ok());
        assert!(leak_check.new_entries().is_empty());
    }

    #[test]
    fn files_on_virtual_hosts_are_found() {
        if let Err(error) = cluster::check_available() {
            eprintln!("skipped: {error}");
            return;
        }
        let cluster = Cluster::up(2).unwrap();
        let leak_check = LeakCheck::on_hosts(Path::new("none"), cluster.shared_memory().unwrap());
        let plant = |name| {
            let file = format!("/dev/shm/{name}");
            assert!(cluster.command(&cluster.hosts()[1], "touch").arg(file).status().unwrap().success());
        };
        plant("mpich_shm_planted");
        assert!(leak_check.check_shared_memory().is_ok());
        plant("unidist-planted");
        assert!(leak_check.check_shared_memory().is_err());
        assert!(!Path::new("/dev/shm/unidist-planted").exists());
    }
}
