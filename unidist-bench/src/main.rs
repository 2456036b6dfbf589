//! unidist's benchmarks: `cargo xtask bench`.
//!
//! Times mean little on a shared machine. So most measures have a baseline, measured alternately with them: a limit of
//! the machine (a bare round trip, a `memcpy`), or another way to do the work (rayon). Compare the ratios. For calls,
//! the table also shows the CPU time that all processes of the session spend on one call.
//!
//! - [`environment`]: the backend and the hosts on which sessions run; [`launchers`]: what starts them with MPI.
//! - [`parts`]: the benchmarks. Each part runs in a process of its own, with a time limit.
//! - [`peers`]: other systems that do the same work, if they are installed.
//! - [`spmd`]: the patterns for MPI programs, compared with pshmem.
//! - [`rounds`]: runs all parts several times, alternately, and collects the samples.
//! - [`measures`]: baselines and targets of the measures; [`report`]: the table and the JSON file.
//! - [`procfs`]: memory and CPU time from `/proc`; [`subprocess`]: running other programs with a time limit.
//!
//! `benches` has micro-benchmarks of parts of the engine: `cargo bench -p unidist-bench`.

mod environment;
mod launchers;
mod measures;
mod parts;
mod peers;
mod procfs;
#[cfg(feature = "mpi")]
mod raw_mpi;
mod report;
mod rounds;
mod spmd;
mod subprocess;

use environment::Environment;
use launchers::Launchers;
use parts::{Samples, Scale};
use peers::Peers;
use std::path::PathBuf;
use std::process::ExitCode;
use unidist_engine::bench::{Waiting, echo};

/// The result of a benchmark; the error describes why it failed.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["part", name, rest @ ..] => Options::parse(rest).and_then(|options| part(name, options.scale())),
        ["spmd", rest @ ..] => Options::parse(rest).and_then(|options| spmd::run(&options)),
        ["spmd-rank", part, rest @ ..] => {
            Options::parse(rest).and_then(|options| spmd::measure_in_rank(part, options.scale()))
        }
        ["ranks", rest @ ..] => Options::parse(rest).and_then(|options| between_ranks(options.scale())),
        ["echo", parent, "spinning"] => echo(parent, Waiting::Spinning).map_err(Into::into),
        ["echo", parent, "as-workers"] => echo(parent, Waiting::AsWorkers).map_err(Into::into),
        ["nothing"] => Ok(()),
        ["--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        options => Options::parse(options).and_then(|options| all(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command-line options.
#[derive(Debug, Default, PartialEq)]
struct Options {
    quick: bool,
    /// Where to write the results as JSON.
    json: Option<PathBuf>,
    /// The Python virtual environment with the peers.
    peers: Option<PathBuf>,
    /// Where to write the comparison with the peers as Markdown.
    markdown: Option<PathBuf>,
    rounds: Option<usize>,
    /// The number of workers in the comparison with the peers; by default the number of cores, at most 4.
    workers: Option<usize>,
    /// Run only parts and peers whose names contain this.
    only: Option<String>,
    /// The backend, and where its sessions are.
    environment: Environment,
    launchers: Launchers,
    /// The name of the program's own host, if there are several.
    home: Option<String>,
}

const USAGE: &str = "[--quick] [--rounds N] [--only WORD] [--json FILE] [--peers FOLDER [--markdown FILE] [--workers \
                     N]]; see --help";

const HELP: &str = "\
Measures unidist: start it with `cargo xtask bench`, which builds it and starts MPI if needed.

Usage: unidist-bench [OPTIONS]

Options:
  --quick            Measure less, in about a minute
  --rounds N         Run every part N times, alternately
  --only WORD        Run only parts and peers whose names contain WORD
  --json FILE        Also write the results to FILE as JSON: values in base units, and the CPU time per call
  --peers FOLDER     Compare with the systems in this Python virtual environment (`cargo xtask peers` makes it)
  --markdown FILE    Write the comparison with the peers to FILE
  --workers N        The number of workers in that comparison
  --help             Print this

`cargo xtask bench --backend mpi` adds --environment, --home and the launchers that start jobs with MPI.";

impl Options {
    fn parse(mut words: &[&str]) -> Result<Options> {
        let mut options = Options::default();
        loop {
            words = match words {
                [] => return Ok(options),
                ["--quick", rest @ ..] => {
                    options.quick = true;
                    rest
                }
                [option, value, rest @ ..] => {
                    options.set(option, value)?;
                    rest
                }
                [other] => return Err(format!("unexpected argument `{other}`: expected {USAGE}").into()),
            };
        }
    }

    fn set(&mut self, option: &str, value: &str) -> Result {
        match option {
            "--json" => self.json = Some(value.into()),
            "--peers" => self.peers = Some(value.into()),
            "--markdown" => self.markdown = Some(value.into()),
            "--only" => self.only = Some(value.into()),
            "--rounds" => self.rounds = Some(number(option, value)?),
            "--workers" => self.workers = Some(number(option, value)?),
            "--environment" => self.environment = value.parse()?,
            "--home" => self.home = Some(value.to_owned()),
            launcher if self.launchers.set(launcher, value)? => {}
            other => return Err(format!("unexpected argument `{other}`: expected {USAGE}").into()),
        }
        Ok(())
    }

    fn scale(&self) -> Scale {
        Scale {
            quick: self.quick,
            workers: self.workers.unwrap_or_else(|| parts::cores().min(4)),
            environment: self.environment,
            is_home: self.home.as_ref().is_none_or(|home| *home == procfs::host()),
        }
    }
}

/// A number above zero.
fn number(option: &str, value: &str) -> Result<usize> {
    let number = value.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| format!("{option} {value}: expected a number above 0").into())
}

/// Runs all parts and prints the table.
fn all(options: &Options) -> Result {
    let scale = options.scale();
    let peers =
        options.peers.as_deref().map(|folder| Peers::find(folder, options.environment)).transpose()?;
    for (peer, lacks) in peers.iter().flat_map(Peers::left_out) {
        eprintln!("skipped: {peer}, because {lacks} is not installed; `cargo xtask peers` installs it");
    }
    let mut results = rounds::run(options, peers.as_ref());
    let mut rows = report::rows(measures::measures(scale), &results.rounds);
    if options.only.is_some() {
        rows.retain(report::Row::is_measured);
    }
    print!("{}", report::table(&rows));
    let mut json = report::json(&rows, &results, scale.quick, &scale.environment.to_string());
    let mut missing: Vec<_> = rows.iter().filter_map(report::Row::missing).map(str::to_owned).collect();
    if let Some(peers) = &peers {
        print!("\n{}", peers::table(options.environment, &results.rounds));
        json["peers"] = peers::json(peers, &results.rounds, scale);
        missing.extend(peers::missing(peers, &results.rounds));
        if let Some(file) = &options.markdown {
            report::write(file, &peers::markdown(peers, &results.rounds, scale))?;
        }
    }
    if let Some(file) = &options.json {
        report::write_json(file, &json)?;
    }
    let missing = missing.into_iter().filter(|_| options.only.is_none());
    results.failures.extend(missing.map(|name| format!("{name}: no samples")));
    check_failures(&results.failures)
}

/// Fails if anything failed.
fn check_failures(failures: &[String]) -> Result {
    match failures {
        [] => Ok(()),
        failures => Err(format!("some measurements failed:\n  {}", failures.join("\n  ")).into()),
    }
}

/// Runs one part once, in its own process, and prints a line for each sample.
fn part(name: &str, scale: Scale) -> Result {
    let part = parts::all(scale).into_iter().find(|part| part.name == name);
    let part = part.ok_or_else(|| format!("there is no part `{name}`"))?;
    let mut samples = Samples::default();
    (part.measure)(scale, &mut samples)?;
    print!("{samples}");
    Ok(())
}

/// Measures MPI itself, in one of two ranks.
#[cfg(feature = "mpi")]
fn between_ranks(scale: Scale) -> Result {
    raw_mpi::measure(scale)
}

#[cfg(not(feature = "mpi"))]
fn between_ranks(_: Scale) -> Result {
    Err("this benchmark was built without MPI: use `cargo xtask bench --backend mpi`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_or_refused() {
        let parsed = Options::parse(&["--json", "a", "--quick"]).unwrap();
        assert_eq!(parsed, Options { quick: true, json: Some("a".into()), ..Options::default() });
        let parsed = Options::parse(&["--rounds", "2", "--only", "store", "--peers", "p"]).unwrap();
        assert_eq!((parsed.rounds, parsed.only.as_deref()), (Some(2), Some("store")));
        assert_eq!(Options::parse(&[]).unwrap(), Options::default());
        let parsed =
            Options::parse(&["--environment", "spmd:2", "--launcher", "2=a", "--home", "b"]).unwrap();
        assert_eq!((parsed.environment, parsed.home.as_deref()), (Environment::Spmd(2), Some("b")));
        assert!(parsed.launchers.for_session(2).is_ok() && !parsed.scale().is_home);
        for wrong in [&["--json"][..], &["--fast"], &["a"], &["a", "b"], &["--rounds", "0"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
