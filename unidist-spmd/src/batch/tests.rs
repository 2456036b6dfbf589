//! A batch of a single process. Tests of several ranks are in `tests/ranks`.

use super::*;
use crate::cells::AtomicCells;
use std::path::Path;
use std::time::Duration;

fn alone() -> Communicator {
    Communicator::alone()
}

fn in_directory(root: &Path, n_tasks: usize) -> BatchBuilder {
    Batch::new(n_tasks).directory(root, (0..n_tasks).map(|task| task.to_string()))
}

fn take_all(batch: &mut Batch) -> Vec<usize> {
    std::iter::from_fn(|| batch.next_task().unwrap()).collect()
}

#[test]
fn one_process_is_one_worker() {
    let batch = Batch::new(3).build(&alone()).unwrap();
    assert_eq!((batch.n_worker(), batch.worker(), batch.worker_rank(), batch.worker_size()), (1, 0, 0, 1));
    assert_eq!((batch.n_tasks(), batch.worker_comm().size(), batch.communicator().size()), (3, 1, 1));
    assert!(format!("{batch:?}").contains("n_tasks: 3"));
}

#[test]
fn tasks_are_assigned_in_order_and_are_running() {
    let mut batch = Batch::new(3).build(&alone()).unwrap();
    assert_eq!(batch.next_task().unwrap(), Some(0));
    assert_eq!(batch.task_state(0).unwrap(), TaskState::Running);
    assert_eq!(batch.task_state(1).unwrap(), TaskState::Open);
    batch.set_task_state(0, TaskState::Done).unwrap();
    assert_eq!(take_all(&mut batch), [1, 2]);
    assert_eq!(batch.task_state(0).unwrap(), TaskState::Done);
    batch.close().unwrap();
}

#[test]
fn batch_may_have_no_tasks() {
    assert_eq!(take_all(&mut Batch::new(0).build(&alone()).unwrap()), []);
}

#[test]
fn only_open_tasks_are_assigned() {
    let mut batch = Batch::new(5).initial(TaskState::ALL).build(&alone()).unwrap();
    assert_eq!(take_all(&mut batch), [1]);
    assert_eq!(batch.task_state(4).unwrap(), TaskState::Failed);
}

#[test]
fn reopened_tasks_are_assigned_again_in_order() {
    for directory in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let batch = if directory { in_directory(folder.path(), 5) } else { Batch::new(5) };
        let mut batch = batch.initial([TaskState::Failed; 5]).build(&alone()).unwrap();
        assert_eq!(take_all(&mut batch), []);
        batch.set_task_state(2, TaskState::Done).unwrap();
        batch.set_task_state(3, TaskState::Open).unwrap();
        assert_eq!(batch.reopen(&[TaskState::Done]).unwrap(), 1);
        assert_eq!(batch.reopen(&[TaskState::Failed, TaskState::Open]).unwrap(), 3);
        assert_eq!(take_all(&mut batch), [0, 1, 4, 2, 3]);
        assert_eq!(batch.reopen(&[TaskState::Running]).unwrap(), 5);
        assert_eq!(take_all(&mut batch), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn unknown_task_is_an_error() {
    let mut batch = Batch::new(2).build(&alone()).unwrap();
    let error = batch.set_task_state(2, TaskState::Done).unwrap_err();
    assert!(error.to_string().contains("Batch::set_task_state: there is no task 2: there are 2"), "{error}");
    assert!(batch.task_state(usize::MAX).is_err());
}

#[test]
fn invalid_batch_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let batches = [
        (Batch::new(1).worker_size(0), "1 ranks cannot be divided into workers of 0"),
        (Batch::new(1).worker_size(2), "1 ranks cannot be divided into workers of 2"),
        (Batch::new(u32::MAX as usize), "4294967295 tasks are more than 4294967294"),
        (Batch::new(2).initial([TaskState::Open]), "there are 1 initial states for 2 tasks"),
        (Batch::new(1).stale_after(Duration::ZERO), "`stale_after` of 0ns is less than 1s"),
        (Batch::new(2).directory(folder.path(), ["same", "same"]), "\"same\" is the name of two tasks"),
    ];
    for (batch, word) in batches {
        let error = batch.build(&alone()).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }));
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn finished_directory_has_no_open_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let mut batch = in_directory(folder.path(), 4).build(&alone()).unwrap();
    while let Some(task) = batch.next_task().unwrap() {
        let state = if task == 2 { TaskState::Failed } else { TaskState::Done };
        batch.set_task_state(task, state).unwrap();
    }
    batch.close().unwrap();

    let mut batch = in_directory(folder.path(), 4).build(&alone()).unwrap();
    assert_eq!(take_all(&mut batch), []);
    assert_eq!(batch.task_state(2).unwrap(), TaskState::Failed);
    assert_eq!(batch.reopen(&[TaskState::Failed]).unwrap(), 1);
    assert_eq!(take_all(&mut batch), [2]);
}

#[test]
fn batches_on_one_directory_share_the_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = in_directory(folder.path(), 7).build(&alone()).unwrap();
    let mut other = in_directory(folder.path(), 7).build(&alone()).unwrap();
    assert_eq!(one.next_task().unwrap(), Some(0));
    assert_eq!(other.next_task().unwrap(), Some(1));
    one.set_task_state(0, TaskState::Done).unwrap();
    assert_eq!(other.next_task().unwrap(), Some(2));
    assert_eq!(other.task_state(0).unwrap(), TaskState::Done);
    assert_eq!(take_all(&mut one), [3, 4, 5, 6]);
    assert_eq!(take_all(&mut other), []);
}

/// Makes the next scan due.
fn expire_last_scan(batch: &Batch) {
    let at = 2 * batch.n_tasks() + 1;
    let cells = batch.tasks.cells();
    let last = cells.load(at).unwrap();
    cells.compare_and_swap(at, last, 0).unwrap();
}

#[test]
fn scan_finds_tasks_of_other_jobs_when_none_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = in_directory(folder.path(), 3).build(&alone()).unwrap();
    let mut other = in_directory(folder.path(), 3).build(&alone()).unwrap();
    assert_eq!(take_all(&mut one), [0, 1, 2]);
    assert_eq!(take_all(&mut other), []);

    one.set_task_state(1, TaskState::Open).unwrap();
    assert_eq!(take_all(&mut other), [], "no scan is due");
    expire_last_scan(&other);
    assert_eq!(take_all(&mut other), [1]);

    drop(one);
    expire_last_scan(&other);
    assert_eq!(take_all(&mut other), [0, 2], "tasks of a job that has ended");
    expire_last_scan(&other);
    assert_eq!(take_all(&mut other), [], "its own tasks stay assigned");
}

#[test]
fn invalid_state_file_is_an_error_until_it_is_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let mut batch = in_directory(folder.path(), 2).build(&alone()).unwrap();
    let path = folder.path().join("0/state");
    std::fs::write(&path, "no state").unwrap();
    for _ in 0..2 {
        let error = batch.next_task().unwrap_err();
        assert!(
            matches!(&error, Error::StateFile { path: named, .. } if named.ends_with("0/state")),
            "{error}"
        );
    }
    assert!(batch.task_state(0).is_err());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(take_all(&mut batch), [0, 1]);
    std::fs::write(&path, "no state").unwrap();
    batch.set_task_state(0, TaskState::Done).unwrap();
    assert_eq!(batch.task_state(0).unwrap(), TaskState::Done);
}

#[test]
fn initial_states_for_a_used_directory_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    in_directory(folder.path(), 2).initial([TaskState::Open; 2]).build(&alone()).unwrap().close().unwrap();
    let again = in_directory(folder.path(), 2).initial([TaskState::Open; 2]).build(&alone());
    assert!(matches!(again, Err(Error::StateFile { .. })));
}
