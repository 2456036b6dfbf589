//! Where a program is put through faults: an MPI, a way to start it, this machine or virtual hosts.

use super::program::{Program, Told};
use crate::Result;
use crate::cluster::Cluster;
use crate::leftovers::Before;
use crate::mpi::Mode;
use crate::mpi::{Job, Kind, Mpi, Script};
use crate::mpi_test::MARK;
use crate::mpi_test::configuration::{ROOM, ranks};
use crate::process;
use std::fmt;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long what is about to end may take to do so.
const GRACE: Duration = Duration::from_secs(8);

/// How the program comes to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `mpiexec -n 1 PROGRAM`, and the program has MPI start the rest.
    Spawn,
    /// `PROGRAM`, without a launcher.
    Bare,
    /// `mpiexec -n N PROGRAM`.
    Spmd,
}

/// How often a program is started that MPI alone may fail to serve.
const STARTS_BY_ITSELF: u32 = 4;

impl Way {
    /// The ways of a mode.
    pub(crate) fn of(mode: Mode) -> &'static [Way] {
        match mode {
            Mode::Spawn => &[Way::Spawn, Way::Bare],
            Mode::Spmd => &[Way::Spmd],
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Spawn => "spawn",
            Way::Bare => "bare",
            Way::Spmd => "spmd",
        })
    }
}

/// An MPI, a way, and a place.
pub(crate) struct Stage<'a> {
    pub(crate) mpi: &'a Mpi,
    pub(crate) way: Way,
    /// None: this machine alone.
    pub(crate) cluster: Option<&'a Cluster>,
    pub(crate) executable: &'a Path,
}

/// A folder for a program's socket and output, removed with this value.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("unidist-faults-{}-{number}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Stage<'_> {
    /// Starts the program, with these settings, and waits until it has a session.
    pub(crate) fn start(&self, settings: &[(&'static str, &str)]) -> Result<Program> {
        let mut started = self.start_once(settings);
        for _ in 0..STARTS_BY_ITSELF - 1 {
            match &started {
                Err(why) if self.is_left_alone_by_mpi(&why.to_string()) => {
                    eprintln!(
                        "{}, {}: once more, as this MPI's daemons were in each other's way",
                        self.mpi, self.way
                    );
                    started = self.start_once(settings);
                }
                _ => break,
            }
        }
        started
    }

    /// Open MPI 4, without mpiexec, starts two daemons on each further host. About once in ten times one of them finds
    /// the other's folder where it wants to make its own; then nothing is started, and the program has said so.
    fn is_left_alone_by_mpi(&self, why: &str) -> bool {
        let both =
            ["unable to create the desired directory", "MPI_ERR_SPAWN"].iter().all(|text| why.contains(text));
        self.way == Way::Bare && self.cluster.is_some() && both
    }

    fn start_once(&self, settings: &[(&'static str, &str)]) -> Result<Program> {
        let mode = if self.way == Way::Spmd { Mode::Spmd } else { Mode::Spawn };
        let hosts = self.cluster.map_or(1, |cluster| cluster.hosts().len());
        let ranks = ranks(mode, hosts);
        let job = match self.cluster {
            Some(cluster) => Job::across(cluster, &ranks),
            None => Job::here(ranks.iter().sum()),
        };
        let job = if mode == Mode::Spawn { job.starting_with(1) } else { job };
        let mut all = vec![("UNIDIST_MPI_SPAWN", (mode == Mode::Spawn).to_string())];
        all.push(("UNIDIST_BACKEND", "mpi".into()));
        if let Some(cluster) = self.cluster.filter(|_| mode == Mode::Spawn) {
            let rooms = cluster.hosts().iter().map(|host| format!("{host}:{}", ROOM / 2));
            all.push(("UNIDIST_MPI_HOSTS", rooms.collect::<Vec<_>>().join(",")));
        }
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let script = Script::new(self.mpi, &job, &all)?;
        let folder = Folder::new()?;
        let first = if self.way == Way::Bare { self.executable } else { script.path() };
        let mut command = match self.cluster {
            None => Command::new(first),
            Some(cluster) => cluster.command(&cluster.hosts()[0], first),
        };
        if self.way == Way::Bare {
            command.envs(self.mpi.run_environment(&job)?).envs(all);
            if let Some(agent) = job.agent.as_ref().filter(|_| self.mpi.kind == Kind::Mpich) {
                // It starts its own mpiexec, which gets no arguments.
                command.envs([("HYDRA_LAUNCHER", "rsh"), ("HYDRA_IFACE", "eth0")]);
                command.env("HYDRA_LAUNCHER_EXEC", agent);
            }
            if let Some(variable) = self.mpi.temporary() {
                command.env(variable, &folder.0);
            }
        } else {
            command.arg(self.executable);
        }
        let socket = folder.0.join("socket");
        let output = folder.0.join("output");
        let file = File::create(&output)?;
        let mark = folder.0.file_name().unwrap_or_default().to_string_lossy().into_owned();
        command
            .arg(&socket)
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let before = self.before()?;
        Program::start(&mut command, folder, script, before, mark)
    }

    fn before(&self) -> Result<Before> {
        Ok(match self.cluster {
            None => Before::of(self.executable),
            Some(cluster) => Before::on_hosts(self.executable, cluster.shared_memory()?),
        })
    }
}

/// What there must not be any more once a program has ended.
pub(super) fn check_nothing_left(before: &Before, mark: &str) -> Result {
    before.check_processes(GRACE)?;
    let end = Instant::now() + GRACE;
    loop {
        let left = process::with_environment(MARK, mark);
        if left.is_empty() {
            return before.check_shared_memory_beside_mpi();
        }
        if Instant::now() > end {
            let names: Vec<_> = left.iter().map(|process| process::command_line(*process)).collect();
            left.into_iter().for_each(process::kill);
            return Err(format!("processes of the launcher left behind: {names:?}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether something is so within this time, of which no event tells.
pub(super) fn eventually(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// The processes of one host.
pub(crate) fn on_host<'a>(staff: &'a [Told], host: &str) -> Result<&'a Told> {
    staff.iter().find(|told| told.host == host).ok_or_else(|| format!("nobody works on {host}").into())
}
