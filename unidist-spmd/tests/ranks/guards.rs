//! Ranks that fail under an exception guard.

use super::{Test, last, same_error};
use ndarray::array;
use unidist_spmd::{Batch, Communicator, Error, Lock, Result, SharedArray, exception_guard};

pub(super) const TESTS: &[Test] = &[
    ("all are fine", all_are_fine),
    ("one returns an error", one_returns_an_error),
    ("one panics in the midst", one_panics),
    ("several fail", several_fail),
    ("one fails that has a lock", one_fails_that_has_a_lock),
    ("one fails that has a batch", one_fails_that_has_a_batch),
    ("one fails outside of an inner guard", one_fails_outside),
];

fn all_are_fine(world: &Communicator) {
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

/// The others are in functions that all call together, or wait for the one, or are about to drop what they have.
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
    let error = same_error(world, outcome, "it has panicked: in round 3");
    assert!(matches!(error, Error::Failed { rank, .. } if rank == last(world)), "{error:?}");
    world.barrier().unwrap();
}

/// It drops what it has on the way out, and says so first of all.
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
    // Locks and arrays are made and dropped as before.
    for _ in 0..10 {
        let mut lock = Lock::new(world).unwrap();
        drop(lock.lock().unwrap());
    }
    world.barrier().unwrap();
}

/// The others wait for it in the communicator of their group.
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
