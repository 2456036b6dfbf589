//! unidist's benchmarks: `cargo xtask bench`.
//!
//! Times mean little on a machine that others use too, so every measurement that can have one has a companion, which
//! is measured next to it, turn and turn about: the limit that the machine sets (a bare round trip, a `memcpy`), or
//! another way to do the work (rayon). Compare the ratios.
//!
//! - [`parts`]: what is measured. Each part runs in a process of its own, with a limit of time.
//! - [`rounds`]: runs all parts several times, in turns, and gathers what they say.
//! - [`report`]: which measurement stands beside which, the targets, the table and the file.
//! - [`processes`]: what `/proc` tells of memory and CPU time.

mod parts;
mod processes;
mod report;
mod rounds;

use parts::{Samples, Scale};
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a measurement could not be made, in words.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["part", name, rest @ ..] => part(name, Scale { quick: rest.contains(&"--quick") }),
        ["echo", parent] => unidist_engine::bench::echo(parent).map_err(Into::into),
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
    json: Option<PathBuf>,
}

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
                ["--json", file, rest @ ..] => {
                    options.json = Some(PathBuf::from(file));
                    rest
                }
                [other, ..] => return Err(format!("`{other}`? Expected [--quick] [--json FILE]").into()),
            };
        }
    }
}

/// Everything, in turns; then the table.
fn all(options: &Options) -> Result {
    let scale = Scale { quick: options.quick };
    let mut gathered = rounds::run(scale)?;
    let rows = report::rows(scale, &gathered.rounds);
    print!("{}", report::table(&rows));
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report::json(&rows, &gathered, scale))?;
        std::fs::write(file, text + "\n").map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let missing = rows.iter().filter_map(report::Row::missing);
    gathered.failures.extend(missing.map(|name| format!("{name}: no samples")));
    match gathered.failures.as_slice() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_or_refused() {
        let parsed = Options::parse(&["--json", "a", "--quick"]).unwrap();
        assert_eq!(parsed, Options { quick: true, json: Some("a".into()) });
        assert_eq!(Options::parse(&[]).unwrap(), Options::default());
        for wrong in [&["--json"][..], &["--fast"], &["a"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
