//! Finds an MPI, or installs it.

use super::{Kind, Mpi, Name};
use crate::venv::Venv;
use crate::workspace::Workspace;
use crate::{Result, apt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's packages of the system's MPI.
const DEBIAN: [&str; 2] = ["libopenmpi-dev", "openmpi-bin"];

/// The packages on PyPI.
fn packages(name: Name) -> &'static [&'static str] {
    match name {
        Name::System => &[],
        Name::Mpich => &["mpich"],
        Name::Openmpi => &["openmpi"],
        Name::Intel => &["impi-rt", "impi-devel"],
    }
}

/// Finds or installs an MPI: the system's with apt-get where permitted, the others with pip in a virtual environment in
/// the target directory.
pub(crate) fn find(workspace: &Workspace, name: Name) -> Result<Mpi> {
    let folder = workspace.target().join("mpi").join(name.to_string());
    let target = folder.join("build");
    let bin = match name {
        Name::System => system()?,
        _ => from_pypi(&folder.join("venv"), packages(name))?,
    };
    let (kind, version) = identify(&bin)?;
    let prefix = bin.parent().unwrap_or(&bin);
    let lib = match name {
        Name::System => libraries(&bin.join("mpicc")).unwrap_or_else(|| prefix.join("lib")),
        _ => prefix.join("lib"),
    };
    Ok(Mpi { name, kind, version, bin, lib, target })
}

/// The folder of the system's MPI.
fn system() -> Result<PathBuf> {
    let found = || apt::folder_of("mpicc").filter(|_| apt::folder_of("mpiexec").is_some());
    if let Some(bin) = found() {
        return Ok(bin);
    }
    apt::install(&DEBIAN, "no MPI found (mpicc and mpiexec must be on the PATH)")?;
    found().ok_or_else(|| "MPI was installed, but mpicc and mpiexec are not on the PATH".into())
}

fn from_pypi(folder: &Path, packages: &[&str]) -> Result<PathBuf> {
    let venv = Venv::make(folder, Path::new("python3"), apt::is_root())?;
    if venv.versions(packages).is_none() {
        venv.install(packages, false)?;
    }
    Ok(folder.canonicalize()?.join("bin"))
}

/// The implementation and version, from `mpiexec --version`.
fn identify(bin: &Path) -> Result<(Kind, String)> {
    let mpiexec = bin.join("mpiexec");
    let output = Command::new(&mpiexec).arg("--version").output();
    let output = output.map_err(|error| format!("{}: {error}", mpiexec.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).ok_or_else(|| {
        let first = text.lines().next().unwrap_or_default();
        format!("{} is not a known MPI: {first:?}", mpiexec.display()).into()
    })
}

/// The kind and the version, from what `mpiexec --version` prints.
pub(super) fn parse_version(text: &str) -> Option<(Kind, String)> {
    let number = |line: &str| {
        let is_number =
            |word: &&str| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.');
        line.split([' ', ',']).find(is_number).map(str::to_owned)
    };
    let first = text.lines().next()?;
    if text.starts_with("Intel(R) MPI") {
        return Some((Kind::Intel, number(first)?));
    }
    if text.starts_with("HYDRA") {
        return Some((Kind::Mpich, text.lines().find(|line| line.contains("Version:")).and_then(number)?));
    }
    if first.contains("Open MPI") || first.contains("OpenRTE") {
        let version = number(first)?;
        let major: u32 = version.split('.').next()?.parse().ok()?;
        return Some((if major >= 5 { Kind::OpenMpi5 } else { Kind::OpenMpi4 }, version));
    }
    None
}

/// The first library folder that mpicc passes to the linker.
fn libraries(mpicc: &Path) -> Option<PathBuf> {
    let output = Command::new(mpicc).arg("-show").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let folder = text.split_whitespace().find_map(|word| word.strip_prefix("-L"))?;
    Some(PathBuf::from(folder.trim_matches('"')))
}
