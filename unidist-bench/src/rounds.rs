//! Runs all parts several times, in turns: whatever else the machine does meets all of them.

use crate::launchers::Launchers;
use crate::parts::{Samples, Scale};
use crate::peers::Peers;
use crate::place::Place;
use crate::plans::of_pymp;
use crate::{Options, Result, children, parts, processes};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a part may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How long the processes of a job may take to end after its launcher.
const GRACE: Duration = Duration::from_secs(5);

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The samples of each round.
    pub(crate) rounds: Vec<Samples>,
    /// Which parts failed, and why.
    pub(crate) failures: Vec<String>,
}

/// Something that is run once a round: it adds samples.
pub(crate) struct Job<'a> {
    pub(crate) name: String,
    pub(crate) run: Box<dyn Fn(&mut Samples) -> Result + 'a>,
}

/// Runs the benchmarks.
pub(crate) fn run(options: &Options, peers: Option<&Peers>) -> Gathered {
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
    take_turns(jobs, options.rounds.unwrap_or(scale.of(3, 7)), add_fastest)
}

/// Runs all jobs so many times, in turns, and completes what each round has said. What fails is not tried again; what
/// it said before it failed counts.
pub(crate) fn take_turns(mut jobs: Vec<Job<'_>>, count: usize, complete: impl Fn(&mut Samples)) -> Gathered {
    let mut gathered = Gathered::default();
    for round in 1..=count {
        let mut samples = Samples::default();
        jobs.retain(|job| {
            let start = Instant::now();
            let outcome = (job.run)(&mut samples);
            eprintln!("round {round} of {count}: {}, {:.1} s", job.name, start.elapsed().as_secs_f64());
            if let Err(error) = &outcome {
                eprintln!("  failed: {error}");
                gathered.failures.push(format!("{}: {error}", job.name));
            }
            outcome.is_ok()
        });
        complete(&mut samples);
        gathered.rounds.push(samples);
    }
    gathered
}

/// All parts; with `mpi`, next to some of them the same on `pymp`, and what MPI does alone.
fn jobs(scale: Scale, launchers: &Launchers) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    if scale.place.is_mpi() {
        jobs.push(Job {
            name: if scale.place.hosts() > 1 { "other-host-raw" } else { "raw" }.to_owned(),
            run: Box::new(move |samples| run_ranks(scale, launchers, samples)),
        });
    }
    for part in parts::all(scale) {
        let name = part.name.clone();
        if part.is_compared && scale.place.is_mpi() {
            let name = name.clone();
            let run = move |samples: &mut Samples| {
                let mut own = Samples::default();
                run_part(&name, Command::new(std::env::current_exe()?), scale.on_pymp(), &mut own)?;
                samples.add_named(own, of_pymp);
                Ok(())
            };
            jobs.push(Job { name: of_pymp(&part.name), run: Box::new(run) });
        }
        let run = move |samples: &mut Samples| match scale.place {
            Place::Pymp => run_part(&name, Command::new(std::env::current_exe()?), scale, samples),
            _ => run_part(&name, launched(launchers.of_session(part.workers)?)?, scale, samples),
        };
        jobs.push(Job { name: part.name, run: Box::new(run) });
    }
    jobs
}

/// This program, started by a launcher.
fn launched(launcher: &Path) -> Result<Command> {
    let mut command = Command::new(launcher);
    command.arg(std::env::current_exe()?);
    Ok(command)
}

/// Runs a part in a process of its own, which this command starts. Its workers end with it.
fn run_part(name: &str, mut command: Command, scale: Scale, samples: &mut Samples) -> Result {
    command.args(["part", name]).args(scale.words_of_part());
    if scale.place == Place::Pymp {
        command.env("UNIDIST_BACKEND", "pymp");
    }
    let said = run_job(command, scale.place.is_mpi())?;
    samples.read(&said)
}

/// What MPI does alone, between two ranks.
fn run_ranks(scale: Scale, launchers: &Launchers, samples: &mut Samples) -> Result {
    let mut command = launched(launchers.of_ranks()?)?;
    command.arg("ranks").args(scale.words());
    samples.read(&run_job(command, scale.place.is_mpi())?)
}

/// Runs a job to its end. With MPI, what the launcher has started may outlive it when that was ended.
pub(crate) fn run_job(mut command: Command, with_mpi: bool) -> Result<String> {
    let mut left = Ok(());
    let afterwards = || {
        if with_mpi {
            left = processes::end_leftovers(GRACE);
        }
    };
    let (said, end) = children::output(&mut command, LIMIT, afterwards)?;
    end?;
    left?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn jobs_take_turns_until_they_fail() {
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
        let gathered = take_turns(vec![job("a", 9), job("b", 1)], 3, |samples| samples.add("c", 2.0));
        assert_eq!(*order.borrow(), ["a", "b", "a", "b", "a"]);
        assert_eq!(gathered.failures, ["b: too often"]);
        let said = |name: &str| gathered.rounds.iter().map(|round| round.median(name)).collect::<Vec<_>>();
        assert_eq!(said("b"), [Some(1.0), Some(1.0), None]);
        assert_eq!(said("c"), [Some(2.0); 3]);
    }
}
