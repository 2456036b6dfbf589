//! One rank fails while the others are in a collective call: the job must end.

use super::last;
use ndarray::array;
use rustix::process::{Signal, getpid, kill_process};
use std::process::ExitCode;
use std::time::Duration;
use unidist_spmd::{Communicator, Lock, SharedArray, exception_guard_within};

pub(super) fn run(fault: &str, world: &Communicator) -> ExitCode {
    match fault {
        "panic" => during_collective_calls(world, || panic!("this is the message")),
        "kill" => during_collective_calls(world, || signal(Signal::KILL)),
        "terminate" => during_collective_calls(world, || signal(Signal::TERM)),
        "interrupt" => during_collective_calls(world, || signal(Signal::INT)),
        "exit" => during_collective_calls(world, || std::process::exit(7)),
        "guard" => holds_the_lock(world),
        _ => ExitCode::FAILURE,
    }
}

/// The signal has its default action.
fn signal(signal: Signal) {
    let _ = kill_process(getpid(), signal);
}

/// All ranks set an array repeatedly, and one of them fails.
fn during_collective_calls(world: &Communicator, fail: impl Fn()) -> ExitCode {
    let mut array = SharedArray::<u64, _>::new(1_000, world).unwrap();
    let _lock = Lock::new(world).unwrap();
    for round in 0_u64.. {
        if world.rank() == last(world) && round == 100 {
            fail();
        }
        if let Err(error) = array.set(Some(array![round].view()), 3, 0) {
            eprintln!("rank {}: {error}", world.rank());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// One rank fails in a guard while the others wait for a lock that it never releases.
fn holds_the_lock(world: &Communicator) -> ExitCode {
    let mut lock = Lock::new(world).unwrap();
    let outcome = exception_guard_within(Duration::from_secs(1), world, || {
        if world.rank() == 0 {
            std::mem::forget(lock.lock().map_err(|error| error.to_string())?);
        }
        world.barrier().map_err(|error| error.to_string())?;
        if world.rank() == 0 {
            return Err("this is the message".to_owned());
        }
        drop(lock.lock().map_err(|error| error.to_string())?);
        Ok(())
    });
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
