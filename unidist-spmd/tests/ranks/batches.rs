//! Batches: groups of ranks that take tasks.

use super::{Test, common_path, last, same_error};
use std::path::{Path, PathBuf};
use unidist_spmd::{Batch, BatchBuilder, Communicator, Error, TaskState};

pub(super) const TESTS: &[Test] = &[
    ("every task runs once", every_task_runs_once),
    ("tasks are reopened", tasks_are_reopened),
    ("invalid worker sizes are refused", invalid_worker_sizes),
    ("ranks describe different batches", different_batches),
    ("any rank sets a state", any_rank_sets_a_state),
    ("two batches at once", two_batches_at_once),
    ("directory of one job", directory_of_one_job),
    ("directory of several jobs", directory_of_several_jobs),
    ("malformed state file is an error", malformed_state_file),
    ("initial states and a directory that has some", initial_states_and_a_directory),
];

const N_TASKS: usize = 10;

/// The possible sizes of workers.
fn worker_sizes(world: &Communicator) -> impl Iterator<Item = usize> {
    let ranks = world.size();
    (1..=ranks).filter(move |size| ranks.is_multiple_of(*size))
}

/// The work of a task; some tasks take a thousand times as long as others.
fn work(task: usize) -> u64 {
    let steps = 1_000 * 10_u64.pow(task as u32 % 4);
    std::hint::black_box((0..steps).fold(task as u64, |sum, step| sum.rotate_left(5) ^ step))
}

/// Runs the tasks of this rank's worker, and returns their numbers.
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

/// A directory for all ranks, removed when it is dropped.
struct Shared<'a>(&'a Communicator, PathBuf);

impl<'a> Shared<'a> {
    fn new(world: &'a Communicator) -> Shared<'a> {
        Shared(world, common_path(world, "batch"))
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

/// So long that an error with this name in its path is broadcast in several chunks.
fn long_name(task: usize) -> String {
    format!("task {task} {}", "_".repeat(200))
}

/// Ten tasks of differing length, for workers of every size.
fn every_task_runs_once(world: &Communicator) {
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

/// Enough tasks that the ranks take them at the same time; each fails once and is reopened.
fn tasks_are_reopened(world: &Communicator) {
    // An operation takes milliseconds between hosts, and almost no time in shared memory.
    let many = if world.hosts() == 1 { 1_000 } else { 60 };
    let mut batch = Batch::new(many).build(world).unwrap();
    let mut taken = [0_u64; 2];
    for round in 0..2 {
        world.barrier().unwrap();
        while let Some(task) = batch.next_task().unwrap() {
            taken[0] += 1;
            taken[1] += task as u64;
            batch.set_task_state(task, [TaskState::Failed, TaskState::Done][round]).unwrap();
        }
        world.barrier().unwrap();
        if round == 0 && world.rank() == last(world) {
            assert_eq!(batch.reopen(&[TaskState::Failed]).unwrap(), many);
        }
    }
    let all = world.all_gather(taken).unwrap();
    assert_eq!(all.iter().map(|taken| taken[0]).sum::<u64>() as usize, 2 * many);
    assert_eq!(all.iter().map(|taken| taken[1]).sum::<u64>() as usize, many * (many - 1));
}

/// Workers of no rank, of more ranks than there are, of a number that does not divide.
fn invalid_worker_sizes(world: &Communicator) {
    let ranks = world.size();
    for worker_size in (0..=ranks + 1).filter(|&size| size == 0 || !ranks.is_multiple_of(size)) {
        let built = Batch::new(N_TASKS).worker_size(worker_size).build(world);
        let error = same_error(
            world,
            built,
            &format!("{ranks} ranks cannot be divided into workers of {worker_size}"),
        );
        assert!(matches!(error, Error::Argument { .. }));
    }
}

/// One rank describes another batch than the others.
fn different_batches(world: &Communicator) {
    if world.size() == 1 {
        return;
    }
    let names = |n_tasks: usize| (0..n_tasks).map(long_name);
    let is_other = world.rank() == last(world);
    let batches = [
        ("n_tasks", Batch::new(if is_other { 3 } else { 4 })),
        ("worker_size", Batch::new(4).worker_size(if is_other { 0 } else { 1 })),
        ("initial", if is_other { Batch::new(1).initial([TaskState::Done]) } else { Batch::new(1) }),
        ("directory", Batch::new(1).directory(if is_other { "one" } else { "two" }, names(1))),
        ("directory", Batch::new(1).directory("one", names(if is_other { 1 } else { 2 }))),
    ];
    for (option, batch) in batches {
        let word = format!("rank {} passes another `{option}` for a Batch than rank 0", last(world));
        let error = same_error(world, batch.build(world), &word);
        assert!(matches!(error, Error::Mismatch { .. }));
    }
}

/// States that ranks outside the worker set.
fn any_rank_sets_a_state(world: &Communicator) {
    let mut batch = Batch::new(2).initial([TaskState::Failed; 2]).build(world).unwrap();
    assert_eq!(batch.next_task().unwrap(), None);
    world.barrier().unwrap();
    if world.rank() == last(world) {
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
    if world.rank() == last(world) {
        assert_eq!(batch.next_task().unwrap(), Some(0));
        assert_eq!(batch.next_task().unwrap(), None);
    }
    world.barrier().unwrap();
    assert_eq!(batch.task_state(0).unwrap(), TaskState::Running);
    batch.close().unwrap();
}

/// Two batches are independent, also when one is dropped.
fn two_batches_at_once(world: &Communicator) {
    let one = Batch::new(3).build(world).unwrap();
    let mut other = Batch::new(N_TASKS).build(world).unwrap();
    drop(one);
    let ran = run(&mut other);
    world.barrier().unwrap();
    check_that_each_was_run_once(world, &other, &ran);
}

/// All ranks on one directory, and then again.
fn directory_of_one_job(world: &Communicator) {
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
fn directory_of_several_jobs(world: &Communicator) {
    let shared = Shared::new(world);
    let alone = Communicator::alone();
    let mut batch = shared.batch().build(&alone).unwrap();
    // All heartbeats must exist before other jobs look for them.
    world.barrier().unwrap();
    let ran = run(&mut batch);
    world.barrier().unwrap();
    check_that_each_was_run_once(world, &batch, &ran);
    world.barrier().unwrap();
}

/// All ranks of the worker get the error.
fn malformed_state_file(world: &Communicator) {
    let shared = Shared::new(world);
    let state = shared.path().join(long_name(0)).join("state");
    let mut batch = shared.batch().worker_size(world.size()).build(world).unwrap();
    if world.rank() == 0 {
        std::fs::write(&state, "no state").unwrap();
    }
    world.barrier().unwrap();
    let file = |error| matches!(error, Error::StateFile { path, .. } if path == state);
    assert!(file(same_error(world, batch.next_task(), "no state")));
    batch.close().unwrap();
    assert!(file(same_error(world, shared.batch().build(world), "no state")));
}

/// Initial states are for a directory that has none.
fn initial_states_and_a_directory(world: &Communicator) {
    let shared = Shared::new(world);
    let batch = || shared.batch().initial([TaskState::Failed; N_TASKS]);
    let mut first = batch().build(world).unwrap();
    assert_eq!(first.next_task().unwrap(), None);
    first.close().unwrap();
    same_error(world, batch().build(world), "the directory has states already");
}
