//! Where a fault scenario runs: an MPI, a start method, this machine or virtual hosts.

use super::program::{HostProcesses, Program};
use crate::Result;
use crate::cluster::Cluster;
use crate::leak_check::LeakCheck;
use crate::mpi::Mode;
use crate::mpi::{Job, Kind, Mpi, Script};
use crate::mpi_test::MARK;
use crate::mpi_test::configuration::{SLOTS, ranks};
use crate::process;
use std::fmt;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time limit for processes to end.
const GRACE: Duration = Duration::from_secs(8);

/// How the program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartMethod {
    /// `mpiexec -n 1 PROGRAM`, and the program has MPI start the rest.
    Spawn,
    /// `PROGRAM`, without a launcher.
    Direct,
    /// `mpiexec -n N PROGRAM`.
    Spmd,
}

/// How often a start is tried that may fail by MPI's fault.
const MAX_STARTS: u32 = 4;

impl StartMethod {
    /// The start methods of a mode.
    pub(crate) fn of(mode: Mode) -> &'static [StartMethod] {
        match mode {
            Mode::Spawn => &[StartMethod::Spawn, StartMethod::Direct],
            Mode::Spmd => &[StartMethod::Spmd],
        }
    }

    /// The mode of a session that is started so.
    fn mode(self) -> Mode {
        match self {
            StartMethod::Spawn | StartMethod::Direct => Mode::Spawn,
            StartMethod::Spmd => Mode::Spmd,
        }
    }

    /// Why there is nothing to test on this many hosts.
    pub(crate) fn limit(self, mpi: &Mpi, hosts: usize) -> Option<&'static str> {
        if self == StartMethod::Direct && hosts == 1 {
            return Some("without a launcher, a session on one host does not use MPI");
        }
        mpi.limit(self.mode(), hosts)
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StartMethod::Spawn => "spawn",
            StartMethod::Direct => "direct",
            StartMethod::Spmd => "spmd",
        })
    }
}

/// An MPI, a start method, and hosts.
pub(crate) struct FaultEnvironment<'a> {
    pub(crate) mpi: &'a Mpi,
    pub(crate) method: StartMethod,
    /// None for this machine.
    pub(crate) cluster: Option<&'a Cluster>,
    pub(crate) executable: &'a Path,
}

impl FaultEnvironment<'_> {
    /// Starts the program, with these settings, and waits until it has a session.
    pub(crate) fn start(&self, settings: &[(&'static str, &str)]) -> Result<Program> {
        let mut started = self.start_once(settings);
        for _ in 0..MAX_STARTS - 1 {
            match &started {
                Err(why) if self.failed_in_mpi(&why.to_string()) => {
                    eprintln!(
                        "{}, {}: trying again, since this MPI's daemons collided",
                        self.mpi, self.method
                    );
                    started = self.start_once(settings);
                }
                _ => break,
            }
        }
        started
    }

    /// Open MPI 4, without mpiexec, starts two daemons on each further host. About once in ten times they collide when
    /// creating their folders; then nothing is started, and the program reports that.
    fn failed_in_mpi(&self, why: &str) -> bool {
        let both =
            ["unable to create the desired directory", "MPI_ERR_SPAWN"].iter().all(|text| why.contains(text));
        self.method == StartMethod::Direct && self.cluster.is_some() && both
    }

    fn start_once(&self, settings: &[(&'static str, &str)]) -> Result<Program> {
        let mode = self.method.mode();
        let hosts = self.cluster.map_or(1, |cluster| cluster.hosts().len());
        let ranks = ranks(mode, hosts);
        let job = match self.cluster {
            Some(cluster) => Job::on_cluster(cluster, &ranks),
            None => Job::local(ranks.iter().sum()),
        };
        let job = if mode == Mode::Spawn { job.with_initial_ranks(1) } else { job };
        let mut all = vec![("UNIDIST_MPI_SPAWN", (mode == Mode::Spawn).to_string())];
        all.push(("UNIDIST_BACKEND", "mpi".into()));
        if let Some(cluster) = self.cluster.filter(|_| mode == Mode::Spawn) {
            let slots = cluster.hosts().iter().map(|host| format!("{host}:{}", SLOTS / 2));
            all.push(("UNIDIST_MPI_HOSTS", slots.collect::<Vec<_>>().join(",")));
        }
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let script = Script::new(self.mpi, &job, &all)?;
        let folder = tempfile::tempdir()?;
        let first = if self.method == StartMethod::Direct { self.executable } else { script.path() };
        let mut command = match self.cluster {
            None => Command::new(first),
            Some(cluster) => cluster.command(&cluster.hosts()[0], first),
        };
        if self.method == StartMethod::Direct {
            command.envs(self.mpi.run_environment(&job)?).envs(all);
            if let Some(agent) = job.agent.as_ref().filter(|_| self.mpi.kind == Kind::Mpich) {
                // It runs its own mpiexec without arguments.
                command.envs([("HYDRA_LAUNCHER", "rsh"), ("HYDRA_IFACE", "eth0")]);
                command.env("HYDRA_LAUNCHER_EXEC", agent);
            }
            if let Some(variable) = self.mpi.temporary_folder_variable() {
                command.env(variable, folder.path());
            }
        } else {
            command.arg(self.executable);
        }
        let socket = folder.path().join("socket");
        let output = folder.path().join("output");
        let file = File::create(&output)?;
        let mark = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        command
            .arg(&socket)
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let leak_check = self.leak_check()?;
        Program::start(&mut command, folder, script, leak_check, mark)
    }

    fn leak_check(&self) -> Result<LeakCheck> {
        Ok(match self.cluster {
            None => LeakCheck::new(self.executable),
            Some(cluster) => LeakCheck::on_hosts(self.executable, cluster.shared_memory()?),
        })
    }
}

/// Fails if processes or files of an ended program are left.
pub(super) fn check_for_leaks(leak_check: &LeakCheck, mark: &str) -> Result {
    leak_check.check_processes(GRACE)?;
    let end = Instant::now() + GRACE;
    loop {
        let left = process::with_environment(MARK, mark);
        if left.is_empty() {
            return leak_check.check_shared_memory();
        }
        if Instant::now() > end {
            let names: Vec<_> = left.iter().map(|process| process::command_line(*process)).collect();
            left.into_iter().for_each(process::kill);
            return Err(format!("processes of the launcher left behind: {names:?}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Polls until the condition holds; false at the time limit.
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
pub(crate) fn on_host<'a>(processes: &'a [HostProcesses], host: &str) -> Result<&'a HostProcesses> {
    processes
        .iter()
        .find(|processes| processes.host == host)
        .ok_or_else(|| format!("no processes on {host}").into())
}
