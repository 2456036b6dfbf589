//! `chaos`: kills processes of a running program, then the program itself; with MPI also on several hosts.

use crate::Result;
use crate::artifact;
use crate::cluster::Cluster;
use crate::leak_check::LeakCheck;
use crate::mpi::{self, Mode};
use crate::mpi_test::faults::{self, FaultEnvironment, StartMethod};
use crate::process::{self, End};
use crate::workspace::Workspace;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The interval between kills.
const KILL_INTERVAL: Duration = Duration::from_millis(100);
/// Time limit for the last graph after the killing stops.
const GRACE: Duration = Duration::from_secs(120);
/// Time limit for the program's processes to end after the program.
const EXIT_LIMIT: Duration = Duration::from_secs(1);

/// The arguments of `chaos`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kill workers and actors for this long.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Nodes in a graph.
    #[arg(long, default_value_t = 10_000)]
    tasks: u64,
    /// How many times to kill the program itself after that, each time in a new run.
    #[arg(long, default_value_t = 10)]
    controllers: u32,
    /// Seed of the first graph and of the choice of victims; timing still varies from run to run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Build without optimizations, like the tests.
    #[arg(long)]
    dev: bool,
    /// The backend, as in UNIDIST_BACKEND. With mpi, graphs are smaller and a worker is killed every 200 ms.
    #[arg(long, value_name = "NAME", default_value = "pymp")]
    backend: String,
    /// Which MPI.
    #[arg(long, value_enum, value_name = "NAME", default_value = "system")]
    mpi: mpi::Name,
    /// How workers are started with MPI; may be repeated. Default: both.
    #[arg(long = "mode", value_enum, value_name = "MODE")]
    modes: Vec<Mode>,
    /// Number of hosts with MPI; more than one are virtual hosts, which need root.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    hosts: u8,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    if arguments.backend == "mpi" {
        return with_mpi(arguments);
    }
    let chaos = Chaos::build(arguments)?;
    let mut rng = fastrand::Rng::with_seed(arguments.seed);
    chaos.kill_workers(&mut rng)?;
    chaos.kill_controllers(&mut rng)
}

/// The same with MPI: kills workers of the [`faults`] program on all hosts, then the program.
fn with_mpi(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    mpi::need_libclang()?;
    let mpi = mpi::find(&workspace, arguments.mpi)?;
    let executable = faults::build(&workspace, &mpi, false)?;
    let cluster = (arguments.hosts > 1).then(|| Cluster::up(arguments.hosts.into())).transpose()?;
    let time = Duration::try_from_secs_f64(arguments.minutes * 60.0)?;
    let modes: &[Mode] =
        if arguments.modes.is_empty() { &[Mode::Spawn, Mode::Spmd] } else { &arguments.modes };
    for method in modes.iter().map(|mode| StartMethod::of(*mode)[0]) {
        let environment =
            FaultEnvironment { mpi: &mpi, method, cluster: cluster.as_ref(), executable: &executable.0 };
        let what = format!("{mpi}, {method}, {} hosts", arguments.hosts);
        if let Some(reason) = method.limit(&mpi, arguments.hosts.into()) {
            println!("{what}: skipped: {reason}");
            continue;
        }
        println!(
            "{what}: {}, nothing left behind",
            faults::kill_workers(&environment, time, arguments.seed)?
        );
        for _ in 0..arguments.controllers {
            faults::kill_program(&environment)?;
        }
        println!("{what}: the program killed {} times, nothing left behind", arguments.controllers);
    }
    Ok(())
}

struct Chaos<'a> {
    arguments: &'a Arguments,
    executable: PathBuf,
    leak_check: LeakCheck,
}

impl<'a> Chaos<'a> {
    fn build(arguments: &'a Arguments) -> Result<Self> {
        let workspace = Workspace::load()?;
        let mut cargo = vec!["build", "--package", "unidist-tests", "--bin", "chaos"];
        cargo.extend((!arguments.dev).then_some("--release"));
        let executable = artifact::build(&workspace, &cargo, "chaos")?;
        Ok(Chaos { arguments, leak_check: LeakCheck::new(&executable), executable })
    }

    /// Kills a worker or an actor every 100 ms while the program checks its results.
    fn kill_workers(&self, rng: &mut fastrand::Rng) -> Result {
        let time = Duration::try_from_secs_f64(self.arguments.minutes * 60.0)?;
        let bar = progress(time);
        let mut program = self.start(time.as_secs())?;
        let start = Instant::now();
        let mut killed = 0_u64;
        let end = loop {
            if let Some(status) = program.try_wait()? {
                break End::Exited(status);
            }
            if start.elapsed() > time + GRACE {
                break process::wait(&mut program, Duration::ZERO)?;
            }
            let workers = process::children_named(program.id(), "unidist-");
            if let Some(victim) = rng.choice(&workers) {
                process::kill(*victim);
                killed += 1;
            }
            bar.set_position(start.elapsed().as_secs());
            std::thread::sleep(KILL_INTERVAL);
        };
        bar.finish_and_clear();
        end.check("the program whose workers are killed")?;
        self.check_for_leaks()?;
        println!("{killed} processes killed, every result right, nothing left behind");
        Ok(())
    }

    /// Kills the busy program, several times: none of its processes may be alive a second later.
    fn kill_controllers(&self, rng: &mut fastrand::Rng) -> Result {
        for _ in 0..self.arguments.controllers {
            let mut program = self.start(3600)?;
            let busy = Instant::now() + GRACE;
            while process::children_named(program.id(), "unidist-").is_empty() {
                if Instant::now() > busy || program.try_wait()?.is_some() {
                    program.kill()?;
                    program.wait()?;
                    return Err("the program does not start workers".into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(rng.u64(0..1000)));
            program.kill()?;
            program.wait()?;
            self.check_for_leaks()?;
        }
        let runs = self.arguments.controllers;
        println!("the program killed {runs} times, nothing of it alive {} s later", EXIT_LIMIT.as_secs());
        Ok(())
    }

    fn start(&self, seconds: u64) -> Result<Child> {
        let Arguments { tasks, seed, backend, .. } = self.arguments;
        let mut command = Command::new(&self.executable);
        command.args([tasks, &seconds, seed].map(u64::to_string)).env("UNIDIST_BACKEND", backend);
        let mut program = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = program.stdout.take().ok_or("the program has no output")?;
        // Ends with the program, which has the only other end.
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(|l| l.ok()).for_each(|l| println!("{l}"))
        });
        Ok(program)
    }

    fn check_for_leaks(&self) -> Result {
        self.leak_check.check_processes(EXIT_LIMIT)?;
        self.leak_check.check_shared_memory()
    }
}

fn progress(time: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("killing {wide_bar} {pos}/{len} s");
    ProgressBar::new(time.as_secs()).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
