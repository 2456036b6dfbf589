//! The program that `cargo xtask mpi-test` and `cargo xtask chaos` see through faults: it does what it is told over a
//! socket, and says what it is at, so that a test acts on what has happened and not on time.
//!
//! `faults SOCKET` connects to the socket and reads one command a line; [`command`] lists them. Each answer is one line
//! that begins with the name of its command. When the socket ends, so does the program.

#[path = "../chaos/graph.rs"]
mod graph;
mod load;
#[path = "../chaos/remote.rs"]
mod remote;
mod staff;

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

/// The exit code that was asked for.
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
    Err("nobody says what to do any more".into())
}

/// Does what is wanted:
///
/// - `staff`: says for each host its name, the process of the engine there, and that of one worker;
/// - `load tasks`, `load graph`: begins to run calls all the time, those that need nothing of each other, or all kinds;
/// - `rest`: ends that, and says how many were right;
/// - `large MIB`: has each host make an object of this size and hand it to the program, and the other way round;
/// - `exit CODE`, `abort`, `panic`, `end CODE`: the program's end, of which only the last ends the session properly.
fn command(name: &str, argument: &str, load: &mut Option<Load>) -> Result<String> {
    match name {
        "staff" => staff::find(),
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
