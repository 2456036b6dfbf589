//! The program that `cargo xtask mpi-test` and `cargo xtask chaos` expose to faults: it executes commands from a
//! socket and reports its state, so that tests react to events and not to time.
//!
//! `faults SOCKET` connects to the socket and reads one command a line; [`command`] lists them. Each answer is one line
//! that begins with the name of its command. When the socket ends, so does the program.

#[path = "../chaos/graph.rs"]
mod graph;
mod load;
#[path = "../chaos/remote.rs"]
mod remote;
mod workers;

use load::Load;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Executes commands, and returns the requested exit code.
fn run() -> Result<u8> {
    let socket = std::env::args_os().nth(1).ok_or("usage: faults SOCKET")?;
    let session = unidist::init()?;
    let mut answers = UnixStream::connect(socket)?;
    let commands = BufReader::new(answers.try_clone()?);
    writeln!(answers, "program {}", std::process::id())?;
    let mut load = None;
    for line in commands.lines() {
        let line = line?;
        let (name, argument) = line.split_once(' ').unwrap_or((&line, ""));
        if name == "end" {
            drop(session);
            return Ok(argument.parse()?);
        }
        match command(name, argument, &mut load) {
            Ok(answer) => writeln!(answers, "{name} {answer}")?,
            Err(error) => writeln!(answers, "failed {name}: {error}")?,
        }
    }
    Err("the socket was closed".into())
}

/// Executes a command:
///
/// - `workers`: prints for each host its name, the process of its engine, and the process of one worker;
/// - `load tasks`, `load graph`: starts a continuous load of independent calls, or of calls of all kinds;
/// - `rest`: stops the load, and prints the number of correct calls;
/// - `large MIB`: sends an object of this size from each host to the program, and back;
/// - `exit CODE`, `abort`, `panic`, `end CODE`: ends the program; only the last one ends the session properly.
fn command(name: &str, argument: &str, load: &mut Option<Load>) -> Result<String> {
    match name {
        "workers" => workers::find(),
        "load" => {
            *load = Some(Load::begin(argument)?);
            Ok(argument.to_owned())
        }
        "rest" => load.take().ok_or("there is no load")?.end(),
        "large" => load::large(argument.parse()?),
        "exit" => std::process::exit(argument.parse()?),
        "abort" => std::process::abort(),
        "panic" => panic!("as it was told to"),
        other => Err(format!("there is no command {other}").into()),
    }
}
