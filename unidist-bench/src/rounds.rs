//! Runs all parts several times, in turns: whatever else the machine does meets all of them.

use crate::parts::{Samples, Scale};
use crate::peers::Peers;
use crate::{Options, Result, children, parts};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a part may take.
const LIMIT: Duration = Duration::from_secs(120);

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The samples of each round.
    pub(crate) rounds: Vec<Samples>,
    /// Which parts failed, and why.
    pub(crate) failures: Vec<String>,
}

/// Something that is run once a round: it adds samples.
struct Job<'a> {
    name: String,
    run: Box<dyn Fn(&mut Samples) -> Result + 'a>,
}

/// Runs the benchmarks. What fails is not tried again; what it said before it failed counts.
pub(crate) fn run(options: &Options, peers: Option<&Peers>) -> Gathered {
    let scale = options.scale();
    let mut gathered = Gathered::default();
    let mut jobs: Vec<Job<'_>> = parts::all(scale)
        .into_iter()
        .filter(|part| peers.is_some() || part.name != parts::SAME_WORK)
        .map(|part| Job {
            name: part.name.clone(),
            run: Box::new(move |samples| run_part(&part.name, scale, samples)),
        })
        .collect();
    jobs.extend(peers.into_iter().flat_map(Peers::installed).map(|peer| Job {
        name: peer.name.to_owned(),
        run: Box::new(move |samples| peer.run(scale, samples)),
    }));
    jobs.retain(|job| options.only.as_ref().is_none_or(|word| job.name.contains(word)));
    let count = options.rounds.unwrap_or(scale.of(3, 7));
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
        peers.inspect(|peers| peers.add_fastest(&mut samples));
        gathered.rounds.push(samples);
    }
    gathered
}

/// Runs a part in a process of its own. Its workers end with it.
fn run_part(name: &str, scale: Scale, samples: &mut Samples) -> Result {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["part", name]).args(scale.words());
    let (said, end) = children::output(&mut command, LIMIT, || ())?;
    end?;
    samples.read(&said)
}
