//! Batches: groups of ranks that take tasks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use unidist_spmd::{Batch, BatchBuilder, Communicator, Error, TaskState};

const N_TASKS: usize = 10;

/// The sizes that the workers can have.
fn worker_sizes(world: &Communicator) -> impl Iterator<Item = usize> {
    let ranks = world.size();
    (1..=ranks).filter(move |size| ranks.is_multiple_of(*size))
}

/// Work of this task's length: some tasks take a thousand times as long as others.
fn work(task: usize) -> u64 {
    let steps = 1_000 * 10_u64.pow(task as u32 % 4);
    std::hint::black_box((0..steps).fold(task as u64, |sum, step| sum.rotate_left(5) ^ step))
}

/// Runs what this rank's worker gets, and returns which tasks these were.
fn run(batch: &mut Batch) -> Vec<usize> {
    let mut ran = Vec::new();
    while let Some(task) = batch.next_task().unwrap() {
        let same = batch.worker_comm().all_gather(task as u64).unwrap();
        assert!(same.iter().all(|&other| other == task as u64), "all ranks of a worker have the same task");
        assert_eq!(batch.task_state(task).unwrap(), TaskState::Running);
        work(task);
        ran.push(task);
        // No rank of the worker may still ask for the state when one changes it.
        batch.worker_comm().barrier().unwrap();
        if batch.worker_rank() == task % batch.worker_size() {
            batch.set_task_state(task, TaskState::Done).unwrap();
        }
    }
    ran
}

/// Checks that each of the ten tasks was run by one worker.
fn check_that_each_was_run_once(world: &Communicator, batch: &Batch, ran: &[usize]) {
    let mut times = [0_u8; N_TASKS];
    if batch.worker_rank() == 0 {
        ran.iter().for_each(|&task| times[task] += 1);
    }
    let all = world.all_gather(times).unwrap();
    for task in 0..N_TASKS {
        assert_eq!(all.iter().map(|times| times[task]).sum::<u8>(), 1, "task {task}");
        assert_eq!(batch.task_state(task).unwrap(), TaskState::Done);
    }
}

/// Checks that all ranks have the same text.
fn check_that_all_have(world: &Communicator, text: &str) {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let all = world.all_gather(hasher.finish()).unwrap();
    assert!(all.iter().all(|&other| other == all[0]), "rank {} has: {text}", world.rank());
}

/// A directory of all ranks, which is gone in the end.
struct Shared<'a>(&'a Communicator, PathBuf);

impl<'a> Shared<'a> {
    fn new(world: &'a Communicator) -> Shared<'a> {
        let process = world.all_gather(std::process::id()).unwrap()[0];
        Shared(world, std::env::temp_dir().join(format!("unidist-batch-{process}")))
    }

    fn path(&self) -> &Path {
        &self.1
    }

    fn batch(&self) -> BatchBuilder {
        Batch::new(N_TASKS).directory(self.path(), (0..N_TASKS).map(long_name))
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.barrier().unwrap();
        }
        if self.0.rank() == 0 {
            let _ = std::fs::remove_dir_all(self.path());
        }
    }
}

/// So long that an error which has it in its path is told in several pieces.
fn long_name(task: usize) -> String {
    format!("task {task} {}", "_".repeat(200))
}

/// Ten tasks of differing length, for workers of every size.
pub fn every_task_is_run_once(world: &Communicator) {
    for worker_size in worker_sizes(world) {
        let mut batch = Batch::new(N_TASKS).worker_size(worker_size).build(world).unwrap();
        assert_eq!(batch.n_worker() * worker_size, world.size());
        assert_eq!(batch.worker() * worker_size + batch.worker_rank(), world.rank());
        assert_eq!(batch.worker_size(), worker_size);
        let ran = run(&mut batch);
        world.barrier().unwrap();
        check_that_each_was_run_once(world, &batch, &ran);
        batch.close().unwrap();
    }
}

/// So many tasks that the ranks take them at the same time; each fails once and is opened again.
pub fn tasks_that_are_opened_again_are_handed_out_again(world: &Communicator) {
    const MANY: usize = 1_000;
    let mut batch = Batch::new(MANY).build(world).unwrap();
    let mut taken = [0_u64; 2];
    for round in 0..2 {
        world.barrier().unwrap();
        while let Some(task) = batch.next_task().unwrap() {
            taken[0] += 1;
            taken[1] += task as u64;
            batch.set_task_state(task, [TaskState::Failed, TaskState::Done][round]).unwrap();
        }
        world.barrier().unwrap();
        if round == 0 && world.rank() == world.size() - 1 {
            assert_eq!(batch.reopen(&[TaskState::Failed]).unwrap(), MANY);
        }
    }
    let all = world.all_gather(taken).unwrap();
    assert_eq!(all.iter().map(|taken| taken[0]).sum::<u64>() as usize, 2 * MANY);
    assert_eq!(all.iter().map(|taken| taken[1]).sum::<u64>() as usize, MANY * (MANY - 1));
}

/// Workers of no rank, of more ranks than there are, of a number that does not divide.
pub fn ranks_that_do_not_divide_are_an_error(world: &Communicator) {
    let ranks = world.size();
    for worker_size in (0..=ranks + 1).filter(|&size| size == 0 || !ranks.is_multiple_of(size)) {
        let error = Batch::new(N_TASKS).worker_size(worker_size).build(world).unwrap_err();
        assert!(matches!(error, Error::WorkerSize { .. }), "{error}");
        check_that_all_have(world, &error.to_string());
    }
}

/// One rank describes another batch than the others.
pub fn different_arguments_are_an_error(world: &Communicator) {
    let last = world.size() - 1;
    if last == 0 {
        return;
    }
    let names = |n_tasks: usize| (0..n_tasks).map(long_name);
    let other = world.rank() == last;
    let builders = [
        ("n_tasks", Batch::new(if other { 3 } else { 4 })),
        ("worker_size", Batch::new(4).worker_size(if other { 0 } else { 1 })),
        ("initial", if other { Batch::new(1).initial([TaskState::Done]) } else { Batch::new(1) }),
        ("directory", Batch::new(1).directory(if other { "one" } else { "two" }, names(1))),
        ("directory", Batch::new(1).directory("one", names(if other { 1 } else { 2 }))),
    ];
    for (option, builder) in builders {
        let error = builder.build(world).unwrap_err();
        assert!(
            matches!(error, Error::DifferentArguments { rank, argument } if rank == last && argument == option),
            "{option}: {error}"
        );
        check_that_all_have(world, &error.to_string());
    }
}

/// States that other ranks than the worker's set.
pub fn any_rank_sets_a_state(world: &Communicator) {
    let mut batch = Batch::new(2).initial([TaskState::Failed; 2]).build(world).unwrap();
    assert_eq!(batch.next_task().unwrap(), None);
    world.barrier().unwrap();
    let last = world.size() - 1;
    if world.rank() == last {
        batch.set_task_state(1, TaskState::Open).unwrap();
    }
    world.barrier().unwrap();
    assert_eq!(batch.task_state(1).unwrap(), TaskState::Open);
    world.barrier().unwrap();
    if world.rank() == 0 {
        assert_eq!(batch.next_task().unwrap(), Some(1));
        assert_eq!(batch.reopen(&[TaskState::Failed]).unwrap(), 1);
    }
    world.barrier().unwrap();
    if world.rank() == last {
        assert_eq!(batch.next_task().unwrap(), Some(0));
        assert_eq!(batch.next_task().unwrap(), None);
    }
    world.barrier().unwrap();
    assert_eq!(batch.task_state(0).unwrap(), TaskState::Running);
    batch.close().unwrap();
}

/// Two batches are independent, and one that is dropped leaves the other as it is.
pub fn two_batches_at_once(world: &Communicator) {
    let one = Batch::new(3).build(world).unwrap();
    let mut other = Batch::new(N_TASKS).build(world).unwrap();
    drop(one);
    let ran = run(&mut other);
    world.barrier().unwrap();
    check_that_each_was_run_once(world, &other, &ran);
}

/// All ranks on one directory, and then again.
pub fn a_directory_of_all_ranks(world: &Communicator) {
    for worker_size in worker_sizes(world) {
        let shared = Shared::new(world);
        let mut batch = shared.batch().worker_size(worker_size).build(world).unwrap();
        let ran = run(&mut batch);
        world.barrier().unwrap();
        check_that_each_was_run_once(world, &batch, &ran);
        batch.close().unwrap();
        for task in 0..N_TASKS {
            let text = std::fs::read_to_string(shared.path().join(long_name(task)).join("state")).unwrap();
            assert_eq!(text, "DONE\n");
        }
        world.barrier().unwrap();
        let mut again = shared.batch().build(world).unwrap();
        assert_eq!(again.next_task().unwrap(), None);
        again.close().unwrap();
    }
}

/// Each rank is a job of its own on the same directory.
pub fn a_directory_of_several_jobs(world: &Communicator) {
    let shared = Shared::new(world);
    let alone = Communicator::alone();
    let mut batch = shared.batch().build(&alone).unwrap();
    // Nobody's heartbeat may be missing while others look for it.
    world.barrier().unwrap();
    let ran = run(&mut batch);
    world.barrier().unwrap();
    check_that_each_was_run_once(world, &batch, &ran);
    world.barrier().unwrap();
}

/// What is wrong with a file is known to all ranks that wait for it.
pub fn a_file_that_is_not_understood(world: &Communicator) {
    let shared = Shared::new(world);
    let state = shared.path().join(long_name(0)).join("state");
    let mut batch = shared.batch().worker_size(world.size()).build(world).unwrap();
    if world.rank() == 0 {
        std::fs::write(&state, "no state").unwrap();
    }
    world.barrier().unwrap();
    let check = |error: Error| {
        assert!(matches!(&error, Error::StateFile { path, .. } if *path == state), "{error}");
        check_that_all_have(world, &error.to_string());
    };
    check(batch.next_task().unwrap_err());
    batch.close().unwrap();
    check(shared.batch().build(world).unwrap_err());
}

/// Initial states are for a directory that has none.
pub fn initial_states_for_a_directory_that_has_some(world: &Communicator) {
    let shared = Shared::new(world);
    for time in 0..2 {
        let built = shared.batch().initial([TaskState::Failed; N_TASKS]).build(world);
        assert_eq!(built.is_ok(), time == 0);
        built.map_or_else(
            |error| check_that_all_have(world, &error.to_string()),
            |batch| batch.close().unwrap(),
        );
    }
}
