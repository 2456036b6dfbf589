//! Runs all parts several times, in turns: whatever else the machine does meets all of them.

use crate::Result;
use crate::parts::{self, Samples, Scale};
use std::io::Read;
use std::process::{Child, Command, Stdio};
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

/// Runs the benchmarks. A part that fails is not tried again.
pub(crate) fn run(scale: Scale) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    let mut parts: Vec<String> = parts::all(scale).into_iter().map(|part| part.name).collect();
    let count = scale.of(3, 7);
    for round in 1..=count {
        let mut samples = Samples::default();
        parts.retain(|part| {
            let start = Instant::now();
            let outcome = run_part(part, scale).and_then(|said| samples.read(&said));
            eprintln!("round {round} of {count}: {part}, {:.1} s", start.elapsed().as_secs_f64());
            if let Err(error) = &outcome {
                gathered.failures.push(format!("{part}: {error}"));
            }
            outcome.is_ok()
        });
        gathered.rounds.push(samples);
    }
    Ok(gathered)
}

/// Runs a part in a process of its own and returns what it says.
fn run_part(name: &str, scale: Scale) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["part", name]).args(scale.quick.then_some("--quick"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take();
    // What it says may be more than a pipe holds, so it is read while it runs.
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        output.map(|mut output| output.read_to_string(&mut said)).transpose().map(|_| said)
    });
    wait(&mut child)?;
    Ok(reader.join().map_err(|_| "its output could not be read")??)
}

/// Waits for its end, which is brought about when its time is over. Its workers end with it.
fn wait(child: &mut Child) -> Result {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(()) } else { Err(status.to_string().into()) };
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(format!("not done after {} s", LIMIT.as_secs()).into());
        }
        // Often enough for a part's end, seldom enough to leave the CPUs to it.
        std::thread::sleep(Duration::from_millis(20));
    }
}
