//! Runs all parts several times, alternately, so that other load on the machine affects all of them.

use crate::environment::Environment;
use crate::launchers::Launchers;
use crate::measures::pymp_name;
use crate::parts::{Samples, Scale};
use crate::peers::Peers;
use crate::{Options, Result, parts, procfs, subprocess};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The time limit of a part.
const LIMIT: Duration = Duration::from_secs(120);
/// How long the processes of a job may run after its launcher.
const GRACE: Duration = Duration::from_secs(5);

/// The samples and failures of all rounds.
#[derive(Debug, Default)]
pub(crate) struct BenchResults {
    /// The samples of each round.
    pub(crate) rounds: Vec<Samples>,
    /// The parts that failed, with the errors.
    pub(crate) failures: Vec<String>,
}

/// A job that runs once per round and adds samples.
pub(crate) struct Job<'a> {
    pub(crate) name: String,
    pub(crate) run: Box<dyn Fn(&mut Samples) -> Result + 'a>,
}

/// Runs the benchmarks.
pub(crate) fn run(options: &Options, peers: Option<&Peers>) -> BenchResults {
    let scale = options.scale();
    let mut jobs = jobs(scale, &options.launchers);
    jobs.retain(|job| peers.is_some() || job.name != parts::SAME_WORK);
    jobs.extend(peers.into_iter().flat_map(Peers::installed).map(|peer| Job {
        name: peer.name.to_owned(),
        run: Box::new(move |samples| peer.run(scale, &options.launchers, samples)),
    }));
    jobs.retain(|job| options.only.as_ref().is_none_or(|word| job.name.contains(word)));
    let add_fastest = |samples: &mut Samples| {
        peers.inspect(|peers| peers.add_fastest(samples));
    };
    run_rounds(jobs, options.rounds.unwrap_or(scale.of(3, 7)), add_fastest)
}

/// Runs all jobs `count` times, alternately, and calls `complete` on the samples of each round. A job that fails is not
/// run again; its samples before the failure count.
pub(crate) fn run_rounds(
    mut jobs: Vec<Job<'_>>,
    count: usize,
    complete: impl Fn(&mut Samples),
) -> BenchResults {
    let mut results = BenchResults::default();
    for round in 1..=count {
        let mut samples = Samples::default();
        jobs.retain(|job| {
            let start = Instant::now();
            let outcome = (job.run)(&mut samples);
            eprintln!("round {round} of {count}: {}, {:.1} s", job.name, start.elapsed().as_secs_f64());
            if let Err(error) = &outcome {
                eprintln!("  failed: {error}");
                results.failures.push(format!("{}: {error}", job.name));
            }
            outcome.is_ok()
        });
        complete(&mut samples);
        results.rounds.push(samples);
    }
    results
}

/// All parts; with `mpi`, also MPI itself, and some of the parts on `pymp`.
fn jobs(scale: Scale, launchers: &Launchers) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    if scale.environment.is_mpi() {
        jobs.push(Job {
            name: if scale.environment.hosts() > 1 { "other-host-raw" } else { "raw" }.to_owned(),
            run: Box::new(move |samples| run_ranks(scale, launchers, samples)),
        });
    }
    for part in parts::all(scale) {
        let name = part.name.clone();
        if part.is_compared && scale.environment.is_mpi() {
            let name = name.clone();
            let run = move |samples: &mut Samples| {
                let mut own = Samples::default();
                run_part(&name, Command::new(std::env::current_exe()?), scale.on_pymp(), &mut own)?;
                samples.add_named(own, pymp_name);
                Ok(())
            };
            jobs.push(Job { name: pymp_name(&part.name), run: Box::new(run) });
        }
        let run = move |samples: &mut Samples| match scale.environment {
            Environment::Pymp => run_part(&name, Command::new(std::env::current_exe()?), scale, samples),
            _ => run_part(&name, launched(launchers.for_session(part.workers)?)?, scale, samples),
        };
        jobs.push(Job { name: part.name, run: Box::new(run) });
    }
    jobs
}

/// A command for this program, started by a launcher.
fn launched(launcher: &Path) -> Result<Command> {
    let mut command = Command::new(launcher);
    command.arg(std::env::current_exe()?);
    Ok(command)
}

/// Runs a part in the process that this command starts. Its workers end with it.
fn run_part(name: &str, mut command: Command, scale: Scale, samples: &mut Samples) -> Result {
    command.args(["part", name]).args(scale.part_arguments());
    if scale.environment == Environment::Pymp {
        command.env("UNIDIST_BACKEND", "pymp");
    }
    let output = run_job(command, scale.environment.is_mpi())?;
    samples.read(&output)
}

/// Measures MPI itself between two ranks.
fn run_ranks(scale: Scale, launchers: &Launchers, samples: &mut Samples) -> Result {
    let mut command = launched(launchers.for_ranks()?)?;
    command.arg("ranks").args(scale.arguments());
    samples.read(&run_job(command, scale.environment.is_mpi())?)
}

/// Runs a job to its end. With MPI, processes may outlive a launcher that was killed.
pub(crate) fn run_job(mut command: Command, with_mpi: bool) -> Result<String> {
    let mut left = Ok(());
    let afterwards = || {
        if with_mpi {
            left = procfs::end_leftovers(GRACE);
        }
    };
    let (output, end) = subprocess::output(&mut command, LIMIT, afterwards)?;
    end?;
    left?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn jobs_run_rounds_until_they_fail() {
        let order = RefCell::new(Vec::new());
        let job = |name: &'static str, lives: usize| {
            let order = &order;
            let run = move |samples: &mut Samples| {
                samples.add(name, 1.0);
                order.borrow_mut().push(name);
                let times = order.borrow().iter().filter(|other| **other == name).count();
                if times > lives { Err("too often".into()) } else { Ok(()) }
            };
            Job { name: name.to_owned(), run: Box::new(run) }
        };
        let results = run_rounds(vec![job("a", 9), job("b", 1)], 3, |samples| samples.add("c", 2.0));
        assert_eq!(*order.borrow(), ["a", "b", "a", "b", "a"]);
        assert_eq!(results.failures, ["b: too often"]);
        let medians = |name: &str| results.rounds.iter().map(|round| round.median(name)).collect::<Vec<_>>();
        assert_eq!(medians("b"), [Some(1.0), Some(1.0), None]);
        assert_eq!(medians("c"), [Some(2.0); 3]);
    }
}
