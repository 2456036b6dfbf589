//! unidist's benchmarks: `cargo xtask bench`.
//!
//! Times mean little on a machine that others use too, so every measurement that can have one has a companion, which
//! is measured next to it, turn and turn about: the limit that the machine sets (a bare round trip, a `memcpy`), or
//! another way to do the work (rayon). Compare the ratios.
//!
//! - [`place`]: the backend that is measured, and where; [`launchers`]: what starts it, where that is MPI's part.
//! - [`parts`]: what is measured. Each part runs in a process of its own, with a limit of time.
//! - [`peers`]: other systems that do the same work, if they are installed.
//! - [`spmd`]: the patterns for programs that are MPI programs themselves, beside pshmem.
//! - [`rounds`]: runs all of that several times, in turns, and gathers what it says.
//! - [`plans`]: which measurement stands beside which, and the targets; [`report`]: the table and the file.
//! - [`processes`]: what `/proc` tells of memory and CPU time; [`children`]: other programs, bounded in time.
//!
//! `benches` has micro-benchmarks of parts of the engine: `cargo bench -p unidist-bench`.

mod children;
mod launchers;
mod parts;
mod peers;
mod place;
mod plans;
mod processes;
#[cfg(feature = "mpi")]
mod ranks;
mod report;
mod rounds;
mod spmd;

use launchers::Launchers;
use parts::{Samples, Scale};
use peers::Peers;
use place::Place;
use std::path::PathBuf;
use std::process::ExitCode;
use unidist_engine::bench::{Waiting, echo};

/// Why a measurement could not be made, in words.
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

/// What the person who runs it chooses.
#[derive(Debug, Default, PartialEq)]
struct Options {
    quick: bool,
    /// Where to write what was measured, for programs.
    json: Option<PathBuf>,
    /// The virtual environment with the peers.
    peers: Option<PathBuf>,
    /// Where to write the comparison with the peers, for a document.
    markdown: Option<PathBuf>,
    rounds: Option<usize>,
    /// How many workers the peers have, and we beside them; as many as cores unless it is said.
    workers: Option<usize>,
    /// Only the parts and peers that have this in their names.
    only: Option<String>,
    /// The backend, and where its sessions are.
    place: Place,
    launchers: Launchers,
    /// The name of the program's own host, where there are several.
    home: Option<String>,
}

const USAGE: &str = "[--quick] [--rounds N] [--only WORD] [--json FILE] [--peers FOLDER [--markdown FILE] [--workers \
                     N]]; for MPI, what `cargo xtask bench --backend mpi` adds";

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
                [other] => return Err(format!("`{other}`? Expected {USAGE}").into()),
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
            "--place" => self.place = value.parse()?,
            "--home" => self.home = Some(value.to_owned()),
            launcher if self.launchers.set(launcher, value)? => {}
            other => return Err(format!("`{other}`? Expected {USAGE}").into()),
        }
        Ok(())
    }

    fn scale(&self) -> Scale {
        Scale {
            quick: self.quick,
            workers: self.workers.unwrap_or_else(|| parts::cores().min(4)),
            place: self.place,
            is_home: self.home.as_ref().is_none_or(|home| *home == processes::host()),
        }
    }
}

/// A number that is not zero.
fn number(option: &str, value: &str) -> Result<usize> {
    let number = value.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| format!("{option} {value}? Expected a number").into())
}

/// Everything, in turns; then the table.
fn all(options: &Options) -> Result {
    let scale = options.scale();
    let peers = options.peers.as_deref().map(|folder| Peers::find(folder, options.place)).transpose()?;
    for (peer, lacks) in peers.iter().flat_map(Peers::left_out) {
        eprintln!("left out: {peer}, since {lacks} is not installed; `cargo xtask peers` may help");
    }
    let mut gathered = rounds::run(options, peers.as_ref());
    let mut rows = report::rows(plans::plans(scale), &gathered.rounds);
    if options.only.is_some() {
        rows.retain(report::Row::is_measured);
    }
    print!("{}", report::table(&rows));
    let mut json = report::json(&rows, &gathered, scale.quick, &scale.place.to_string());
    let mut missing: Vec<_> = rows.iter().filter_map(report::Row::missing).map(str::to_owned).collect();
    if let Some(peers) = &peers {
        print!("\n{}", peers::table(options.place, &gathered.rounds));
        json["peers"] = peers::json(peers, &gathered.rounds, scale);
        missing.extend(peers::missing(peers, &gathered.rounds));
        if let Some(file) = &options.markdown {
            report::write(file, &peers::markdown(peers, &gathered.rounds, scale))?;
        }
    }
    if let Some(file) = &options.json {
        report::write_json(file, &json)?;
    }
    let missing = missing.into_iter().filter(|_| options.only.is_none());
    gathered.failures.extend(missing.map(|name| format!("{name}: no samples")));
    conclude(&gathered.failures)
}

/// An error if something failed.
fn conclude(failures: &[String]) -> Result {
    match failures {
        [] => Ok(()),
        failures => Err(format!("not everything could be measured:\n  {}", failures.join("\n  ")).into()),
    }
}

/// In a process of its own: measures one part, once, and prints a line for each sample.
fn part(name: &str, scale: Scale) -> Result {
    let part = parts::all(scale).into_iter().find(|part| part.name == name);
    let part = part.ok_or_else(|| format!("there is no part `{name}`"))?;
    let mut samples = Samples::default();
    (part.measure)(scale, &mut samples)?;
    print!("{samples}");
    Ok(())
}

/// In a rank of two: what MPI does alone.
#[cfg(feature = "mpi")]
fn between_ranks(scale: Scale) -> Result {
    ranks::measure(scale)
}

#[cfg(not(feature = "mpi"))]
fn between_ranks(_: Scale) -> Result {
    Err("this was built without MPI: see `cargo xtask bench --backend mpi`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_or_refused() {
        let parsed = Options::parse(&["--json", "a", "--quick"]).unwrap();
        assert_eq!(parsed, Options { quick: true, json: Some("a".into()), ..Options::default() });
        let parsed = Options::parse(&["--rounds", "2", "--only", "store", "--peers", "p"]).unwrap();
        assert_eq!((parsed.rounds, parsed.only.as_deref()), (Some(2), Some("store")));
        assert_eq!(Options::parse(&[]).unwrap(), Options::default());
        let parsed = Options::parse(&["--place", "spmd:2", "--launcher", "2=a", "--home", "b"]).unwrap();
        assert_eq!((parsed.place, parsed.home.as_deref()), (Place::Spmd(2), Some("b")));
        assert!(parsed.launchers.of_session(2).is_ok() && !parsed.scale().is_home);
        for wrong in [&["--json"][..], &["--fast"], &["a"], &["a", "b"], &["--rounds", "0"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
