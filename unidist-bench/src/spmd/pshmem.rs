//! pshmem, if it is installed, and how its program is run.

use super::{Hosts, Part};
use crate::Result;
use crate::parts::{Samples, Scale};
use crate::peers::{self, Versions};
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "with_pshmem.py";
const NAME: &str = "pshmem";

/// The name of pshmem's samples.
pub(super) fn of(name: &str) -> String {
    peers::of(NAME, name)
}

/// pshmem in a Python virtual environment.
#[derive(Debug)]
pub(super) struct Pshmem {
    python: PathBuf,
    versions: Versions,
    /// The library of the MPI that this program is linked with.
    library: PathBuf,
}

impl Pshmem {
    /// Finds it in a virtual environment.
    ///
    /// # Errors
    ///
    /// There is no Python, it lacks a package, or this program is not linked with an MPI.
    pub(super) fn find(environment: &Path) -> Result<Pshmem> {
        let python = environment.join("bin/python");
        let packages = [NAME, "mpi4py", "numpy"];
        let versions = peers::versions(&python, &[&["python"], &packages[..]].concat())?;
        if let Some(package) = packages.iter().find(|package| !versions.contains_key(**package)) {
            let folder = environment.display();
            return Err(
                format!("{package} is not installed in {folder}: `cargo xtask peers` installs it").into()
            );
        }
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        let library =
            library(&maps).ok_or("this benchmark was built without MPI: use `cargo xtask bench spmd`")?;
        Ok(Pshmem { python, versions, library })
    }

    /// Whether it supports this part. Its lock works only if MPI's one-sided operations complete at once, as in shared
    /// memory.
    pub(super) fn can(part: Part, hosts: Hosts) -> bool {
        (part, hosts) != (Part::Lock, Hosts::Two)
    }

    /// The installed versions.
    pub(super) fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Runs a part of its program as a job of this launcher, and adds its samples under new names, also those before a
    /// failure.
    pub(super) fn run(
        &self,
        part: Part,
        scale: Scale,
        launcher: &Path,
        samples: &mut Samples,
        name: impl Fn(&str) -> String,
    ) -> Result {
        let (said, end) = peers::run(self.command(part, scale, launcher))?;
        peers::read(&said, samples, name)?;
        end
    }

    fn command(&self, part: Part, scale: Scale, launcher: &Path) -> Command {
        let mut command = Command::new(launcher);
        // As an argument, since not every MPI passes environment variables to ranks on other hosts.
        command.arg(format!("MPI4PY_LIBMPI={}", self.library.display()));
        // With mpi4py's runner, an exception in one rank ends the job.
        command.arg(&self.python).args(["-B", "-m", "mpi4py"]);
        command.arg(peers::scripts().join(PROGRAM)).args(["--part", part.name()]).args(scale.arguments());
        command
    }
}

/// The path of MPI's library among the mapped files of a process: see proc_pid_maps(5).
fn library(maps: &str) -> Option<PathBuf> {
    let mut files = maps.lines().filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])));
    let is_mpi = |file: &&Path| {
        file.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("libmpi.so"))
    };
    files.find(is_mpi).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spmd::measures::measures;

    #[test]
    fn program_has_every_part_and_measure() {
        let program = std::fs::read_to_string(peers::scripts().join(PROGRAM)).unwrap();
        for part in Part::ALL {
            assert!(program.contains(&format!("\"{}\": ", part.name())), "{part:?}");
        }
        for measure in measures(&[Hosts::One], true) {
            let (name, _) = measure.baseline.unwrap();
            let name = name.strip_prefix("pshmem: ").unwrap();
            assert!(program.contains(&format!("\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn library_is_found_in_maps() {
        let maps = "7f01-7f02 rw-p 0000 00:00 0\n\
                    7f02-7f03 r--p 0000 fe:01 13   /opt/m p/lib/libmpi_cxx.so.40\n\
                    7f03-7f04 r--p 0000 fe:01 14   /opt/m p/lib/libmpi.so.40.30.4\n";
        assert_eq!(library(maps), Some("/opt/m p/lib/libmpi.so.40.30.4".into()));
        assert_eq!(library("7f01-7f02 rw-p 0000 00:00 0\n"), None);
    }

    #[test]
    fn missing_python_is_reported() {
        let error = Pshmem::find(Path::new("no-such-folder-anywhere")).unwrap_err().to_string();
        assert!(error.contains("cargo xtask peers"), "{error}");
    }
}
