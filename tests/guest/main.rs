//! Sessions on communicators of a program that is an MPI program itself: `mpiexec -n 4 TEST`, or alone as one rank.
#![allow(clippy::unwrap_used, reason = "a test")]

use mpi::Threading;
use mpi::traits::{Communicator, CommunicatorCollectives};
use std::process::ExitCode;
use unidist::mpi::{AnyCommunicator, CommExecutor, init_on};
use unidist::prelude::*;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let (universe, _) = mpi::initialize_with_threading(Threading::Multiple).unwrap();
    let world = universe.world();
    let (rank, size) = (world.rank(), world.size());
    for root in [0, size as usize - 1] {
        session_on_root(&world, rank, root, size);
        executor_on_root(&world, root);
    }
    invalid_root_is_an_error(&world, size);
    refusing_rank_is_an_error(&world, rank, size);
    halves_have_own_sessions(&world, rank);
    // MPI belongs to the program, and is still usable.
    world.barrier();
    if rank == 0 {
        println!("ok sessions on communicators of {size} ranks");
    }
    ExitCode::SUCCESS
}

/// Only the root gets the session, with a worker for each other rank; all ranks continue afterwards.
fn session_on_root(world: &impl AnyCommunicator, rank: i32, root: usize, size: i32) {
    let session = init_on(world, root).unwrap();
    assert_eq!(session.is_some(), rank as usize == root);
    if let Some(session) = session {
        assert_eq!(unidist::num_cpus().unwrap(), (size as usize - 1).max(1));
        let own = std::process::id();
        let elsewhere = get(&map(|x: u64| (x * x, std::process::id()), 0..100)).unwrap();
        assert!(elsewhere.iter().zip(0..).all(|((square, process), x)| *square == x * x && *process != own));
        drop(session);
    }
    assert!(!unidist::is_initialized());
}

/// A rank that cannot take part is an error on all ranks, and no rank waits.
fn refusing_rank_is_an_error(world: &impl AnyCommunicator, rank: i32, size: i32) {
    let refuses = rank == size - 1;
    unidist::config::Backend::put(unidist::config::BackendName::Pyseq).unwrap();
    let session = refuses.then(|| unidist::init().unwrap());
    let error = init_on(world, 0).unwrap_err().to_string();
    assert!(error.contains("already"), "{error}");
    drop(session);
}

/// The same as an executor.
fn executor_on_root(world: &impl AnyCommunicator, root: usize) {
    if let Some(executor) = CommExecutor::new(world, root).unwrap() {
        let squares: Vec<i64> = executor.map(|x: i64| x * x, 0..1_000).unwrap().map(Result::unwrap).collect();
        assert_eq!(squares[999], 998_001);
    }
}

/// An invalid root is an error on every rank, and no rank waits.
fn invalid_root_is_an_error(world: &impl AnyCommunicator, size: i32) {
    let error = init_on(world, size as usize).unwrap_err().to_string();
    assert!(error.contains(&format!("no rank {size}")), "{error}");
}

/// Two halves of the ranks have separate sessions at the same time.
fn halves_have_own_sessions(world: &impl Communicator, rank: i32) {
    let half = world.split_by_color(mpi::topology::Color::with_value(rank % 2)).unwrap();
    if let Some(_session) = init_on(&half, 0).unwrap() {
        assert_eq!(unidist::num_cpus().unwrap(), (half.size() as usize - 1).max(1));
        assert_eq!(get((|x: i32| x + 1).remote(rank)).unwrap(), rank + 1);
    }
}
