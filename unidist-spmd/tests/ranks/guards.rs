//! Ranks that fail in an exception guard.

use super::{Test, last, same_error};
use ndarray::array;
use unidist_spmd::{Batch, Communicator, Error, Lock, Result, SharedArray, exception_guard};

pub(super) const TESTS: &[Test] = &[
    ("guard returns the values", guard_returns_values),
    ("one rank returns an error", one_returns_an_error),
    ("one rank panics during collective calls", one_panics),
    ("several ranks fail", several_fail),
    ("one rank fails that has a lock", one_fails_that_has_a_lock),
    ("one rank fails that has a batch", one_fails_that_has_a_batch),
    ("one rank fails outside an inner guard", one_fails_outside),
];

fn guard_returns_values(world: &Communicator) {
    let sum = exception_guard(world, || {
        let ranks = world.all_gather(world.rank())?;
        Ok::<_, Error>(ranks.iter().sum::<usize>())
    });
    assert_eq!(sum, Ok((0..world.size()).sum()));
}

fn one_returns_an_error(world: &Communicator) {
    let outcome = exception_guard(world, || match world.rank() == last(world) {
        true => Err("no input"),
        false => Ok(()),
    });
    let error = same_error(world, outcome, "has failed: no input");
    assert!(matches!(error, Error::Failed { rank, .. } if rank == last(world)), "{error:?}");
}

/// The others are in collective functions, wait for that rank, or drop their objects.
fn one_panics(world: &Communicator) {
    let outcome = exception_guard(world, || -> Result<()> {
        let mut lock = Lock::new(world)?;
        let mut array = SharedArray::<u32, _>::new(3, world)?;
        for round in 0_u32.. {
            assert!(world.rank() != last(world) || round < 3, "in round {round}");
            drop(lock.lock()?);
            array.set(Some(array![round].view()), 1, 0)?;
        }
        Ok(())
    });
    let error = same_error(world, outcome, "it panicked: in round 3");
    assert!(matches!(error, Error::Failed { rank, .. } if rank == last(world)), "{error:?}");
    world.barrier().unwrap();
}

/// It drops its objects while it unwinds.
fn one_fails_that_has_a_lock(world: &Communicator) {
    let outcome = exception_guard(world, || {
        let mut lock = Lock::new(world)?;
        let mut array = SharedArray::<u32, _>::new(3, world)?;
        drop(lock.lock()?);
        if world.rank() == last(world) {
            return Err(Error::Argument { call: "input".into(), message: "there is none".into() });
        }
        array.set(Some(array![1].view()), 1, 0)
    });
    same_error(world, outcome, &format!("rank {} on ", last(world)));
    // Locks can be created and dropped as before.
    for _ in 0..10 {
        let mut lock = Lock::new(world).unwrap();
        drop(lock.lock().unwrap());
    }
    world.barrier().unwrap();
}

/// The others wait for it in the communicator of their worker.
fn one_fails_that_has_a_batch(world: &Communicator) {
    let outcome = exception_guard(world, || {
        let mut batch =
            Batch::new(3).worker_size(world.size()).build(world).map_err(|error| error.to_string())?;
        let task = batch.next_task().map_err(|error| error.to_string())?;
        match world.rank() == last(world) {
            true => Err(format!("no input for {task:?}")),
            false => Ok(()),
        }
    });
    same_error(world, outcome, "has failed: no input for Some(0)");
    world.barrier().unwrap();
}

fn one_fails_outside(world: &Communicator) {
    let outcome = exception_guard(world, || {
        if world.rank() == last(world) {
            return Err("no input".to_owned());
        }
        exception_guard(world, || world.barrier().or(Ok::<_, String>(()))).map_err(|error| error.to_string())
    });
    same_error(world, outcome, "has failed: no input");
    world.barrier().unwrap();
}

fn several_fail(world: &Communicator) {
    let outcome = exception_guard(world, || Err::<(), _>(format!("rank {} has no input", world.rank())));
    same_error(world, outcome, "rank 0 has no input");
}
