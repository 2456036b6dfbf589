//! The patterns on the ranks of an MPI job: `mpiexec -n 4 TEST`, on any number of hosts. Without a launcher, the program
//! starts itself with `mpiexec`.
//!
//! Every rank runs the same list of tests. With the name of a fault as an argument, one rank fails in that way instead.
#![allow(clippy::unwrap_used, reason = "a test")]

mod arrays;
mod batches;
mod communicators;
mod faults;
mod guards;
mod locks;
#[path = "../../../unidist-mpi/tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;
use unidist_spmd::{Communicator, Error, Result};

/// A test that every rank runs.
type Test = (&'static str, fn(&Communicator));

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.is_empty()).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    if !unidist_mpi_comm::launcher::under_launcher() {
        return support::start_myself(&[1, 4], &[]);
    }
    let world = Communicator::world().unwrap();
    if let Some(fault) = arguments.first() {
        return faults::run(fault, &world);
    }
    let suites = [communicators::TESTS, arrays::TESTS, locks::TESTS, batches::TESTS, guards::TESTS];
    let tests = suites.into_iter().flatten();
    for (name, test) in tests {
        let start = Instant::now();
        test(&world);
        world.barrier().unwrap();
        if world.rank() == 0 {
            println!("ok {name} ({:.2} s)", start.elapsed().as_secs_f64());
        }
    }
    ExitCode::SUCCESS
}

/// Checks that all ranks get the same error, and that it contains `word`.
fn same_error<T: std::fmt::Debug>(world: &Communicator, outcome: Result<T>, word: &str) -> Error {
    let error = outcome.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(word), "rank {}: {text}", world.rank());
    let mut short = [0_u8; 192];
    let len = text.len().min(192);
    short[..len].copy_from_slice(&text.as_bytes()[..len]);
    let all = world.all_gather(short).unwrap();
    assert!(all.iter().all(|other| *other == short), "{all:?}");
    error
}

/// The last rank; not rank 0 if there are several.
fn last(world: &Communicator) -> usize {
    world.size() - 1
}

/// A file name that is equal on all ranks of this job, and differs from that of other jobs.
fn common_path(world: &Communicator, name: &str) -> std::path::PathBuf {
    let process = world.all_gather(std::process::id()).unwrap()[0];
    std::env::temp_dir().join(format!("unidist-spmd-{name}-{process}"))
}
