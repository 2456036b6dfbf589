//! What workers print: lines up to a length come out whole, as the book says.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::process::Command;
use unidist::config::CpuCount;
use unidist::prelude::*;

/// The longest text that `println!` writes in one part, with its line break.
const PRINTED: usize = 1023;
/// The longest line that a pipe takes in one part, without its line break.
const WRITTEN: usize = 4095;
const ROUNDS: usize = 50;
const LETTERS: [char; 4] = ['a', 'b', 'c', 'd'];

#[remote]
fn print_lines(letter: char) {
    let text = |length: usize| format!("{letter}").repeat(length);
    for round in 0..ROUNDS {
        println!("{}", text(PRINTED));
        println!("{}{}", text(round), text(PRINTED - 2 * round));
        let line = text(WRITTEN) + "\n";
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

/// Whether this is the line of one worker, and all of it.
fn is_whole(line: &[u8]) -> bool {
    let Some((b'\n', text)) = line.split_last() else { return false };
    text.iter().all(|byte| *byte == text[0])
}

#[test]
fn lines_of_several_workers_stay_whole() {
    let (mut output, writer) = std::io::pipe().unwrap();
    // In this mode a pipe keeps the boundaries of writes: a read gets what one write has written.
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::DIRECT).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "workers_print", "--ignored", "--nocapture"]);
    command.stdout(writer.try_clone().unwrap()).stderr(writer).env("UNIDIST_BACKEND", "pymp");
    let mut child = command.spawn().unwrap();
    drop(command); // and with it the last end of the pipe that this process has
    let (mut whole, mut others, mut buffer) = (0, Vec::new(), [0; 8192]);
    loop {
        match output.read(&mut buffer).unwrap() {
            0 => break,
            count if count > 20 && is_whole(&buffer[..count]) => whole += 1,
            count => others.extend_from_slice(&buffer[..count]),
        }
    }
    let others = String::from_utf8_lossy(&others);
    assert!(child.wait().unwrap().success(), "{others}");
    assert_eq!(whole, LETTERS.len() * ROUNDS * 4, "{others}");
}

#[test]
#[ignore = "`lines_of_several_workers_stay_whole` runs it"]
fn workers_print() {
    CpuCount::put(LETTERS.len()).unwrap();
    let _session = unidist::init().unwrap();
    get(LETTERS.map(|letter| print_lines.remote(letter))).unwrap();
}
