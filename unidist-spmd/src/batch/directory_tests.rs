use super::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

const STALE_AFTER: Duration = Duration::from_secs(60);

fn names(n_tasks: usize) -> Vec<String> {
    (0..n_tasks).map(|task| format!("task {task}")).collect()
}

fn begin(root: &Path, n_tasks: usize) -> (Directory, Vec<TaskState>) {
    Directory::begin(root, names(n_tasks), None, STALE_AFTER).unwrap()
}

fn write(root: &Path, task: usize, text: &str) {
    let folder = root.join(format!("task {task}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("state"), text).unwrap();
}

fn read(root: &Path, task: usize) -> String {
    fs::read_to_string(root.join(format!("task {task}/state"))).unwrap()
}

/// Creates a job with a heartbeat of this age.
fn create_job(root: &Path, name: &str, age: Duration) {
    let folder = root.join(METADATA_FOLDER).join("jobs");
    fs::create_dir_all(&folder).unwrap();
    let file = File::create(folder.join(name)).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - age).unwrap();
}

#[test]
fn new_directory_has_open_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("some/where");
    let (_directory, states) = begin(&root, 2);
    assert_eq!(states, [TaskState::Open; 2]);
    assert_eq!(read(&root, 1), "OPEN\n");
}

#[test]
fn state_file_has_default_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let _directory = begin(folder.path(), 1);
    fs::write(folder.path().join("any"), "").unwrap();
    let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("task 0/state"), mode("any"));
}

#[test]
fn claimed_task_names_its_job_and_cannot_be_claimed_again() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _) = begin(folder.path(), 1);
    let (other, _) = begin(folder.path(), 1);
    assert!(one.claim(0).unwrap());
    assert_eq!(read(folder.path(), 0), format!("RUNNING\n{}\n", one.jobs.own().as_str()));
    assert!(!other.claim(0).unwrap());
    assert_eq!(other.state(0).unwrap(), TaskState::Running);
    one.set(0, TaskState::Done).unwrap();
    assert_eq!(read(folder.path(), 0), "DONE\n");
    assert!(!other.claim(0).unwrap());
}

#[test]
fn initial_states_require_a_directory_without_states() {
    let folder = tempfile::tempdir().unwrap();
    let initial = [TaskState::Failed, TaskState::Invalid];
    let begin = |initial| Directory::begin(folder.path(), names(2), Some(initial), STALE_AFTER);
    let (_directory, states) = begin(&initial).unwrap();
    assert_eq!(states, initial);
    assert_eq!(read(folder.path(), 1), "INVALID\n");
    let error = begin(&initial).err().unwrap();
    assert!(error.to_string().contains("task 0/state"), "{error}");
}

#[test]
fn missing_or_empty_state_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, _) = begin(folder.path(), 2);
    fs::remove_file(folder.path().join("task 0/state")).unwrap();
    write(folder.path(), 1, "");
    assert_eq!(directory.state(0).unwrap(), TaskState::Open);
    assert!(directory.claim(0).unwrap() && directory.claim(1).unwrap());
}

#[test]
fn invalid_state_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, "ABOUT TO BE DONE\n");
    let error = Directory::begin(folder.path(), names(2), None, STALE_AFTER).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("task 1/state") && text.contains("ABOUT TO BE DONE"), "{text}");
    assert!(matches!(error, Error::StateFile { .. }));
    let left = fs::read_dir(folder.path().join(".unidist/jobs")).unwrap().count();
    assert_eq!(left, 0, "a job that did not begin has no heartbeat");
}

#[test]
fn tasks_of_a_dead_job_are_reopened() {
    let folder = tempfile::tempdir().unwrap();
    for (task, owner) in
        ["RUNNING\nalive\n", "RUNNING\nlong-ago\n", "RUNNING\nnever\n", "RUNNING\n", "DONE\n"]
            .iter()
            .enumerate()
    {
        write(folder.path(), task, owner);
    }
    create_job(folder.path(), "alive", STALE_AFTER / 2);
    create_job(folder.path(), "long-ago", STALE_AFTER * 2);
    let (directory, states) = begin(folder.path(), 5);
    use TaskState::*;
    assert_eq!(states, [Running, Open, Open, Open, Done]);
    assert_eq!(read(folder.path(), 0), "RUNNING\nalive\n");
    assert_eq!(read(folder.path(), 1), "OPEN\n");

    create_job(folder.path(), "alive", STALE_AFTER * 2);
    let mut snapshot = directory.job_snapshot().unwrap();
    assert_eq!(directory.refresh(0, &mut snapshot).unwrap(), Open, "found later");
    assert!(!folder.path().join(".unidist/jobs/long-ago").exists());
}

#[test]
fn closed_job_removes_its_heartbeat_and_its_tasks_are_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, _) = begin(folder.path(), 1);
    assert!(one.claim(0).unwrap());
    one.close().unwrap();
    assert_eq!(fs::read_dir(folder.path().join(".unidist/jobs")).unwrap().count(), 0);
    assert_eq!(begin(folder.path(), 1).1, [TaskState::Open]);
}

#[test]
fn only_requested_states_are_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let initial = [TaskState::Failed, TaskState::Done];
    let (directory, _) = Directory::begin(folder.path(), names(2), Some(&initial), STALE_AFTER).unwrap();
    let failed = |state| state == TaskState::Failed;
    assert!(directory.reopen(0, failed).unwrap());
    assert!(!directory.reopen(1, failed).unwrap());
    assert_eq!((read(folder.path(), 0), read(folder.path(), 1)), ("OPEN\n".into(), "DONE\n".into()));
}

#[test]
fn rank_joins_the_job_of_the_first_rank() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _) = begin(folder.path(), 1);
    let other = Directory::join(&first.place(), names(1), STALE_AFTER).unwrap();
    assert!(other.is_visible());
    assert!(other.claim(0).unwrap());
    assert!(read(folder.path(), 0).contains(first.jobs.own().as_str()), "it is the same job");
    first.close().unwrap();
    assert!(!other.is_visible());
    assert!(other.not_visible_to(3).to_string().contains("rank 3"));
}

#[test]
fn state_that_cannot_be_written_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, _) = begin(folder.path(), 1);
    // A non-empty folder, which a file cannot replace.
    fs::remove_file(folder.path().join("task 0/state")).unwrap();
    fs::create_dir_all(folder.path().join("task 0/state/in the way")).unwrap();
    let error = directory.set(0, TaskState::Done).unwrap_err();
    assert!(error.to_string().contains("task 0/state"), "{error}");
    let entries: Vec<_> = fs::read_dir(folder.path().join("task 0")).unwrap().collect();
    assert_eq!(entries.len(), 1, "the temporary file was removed");
}

/// During a write, a reader sees the old or the new state, never a part or an empty file.
#[test]
fn state_is_replaced_atomically() {
    const WRITES: usize = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let (directory, _) = begin(folder.path(), 1);
    let done = AtomicBool::new(false);
    let running = format!("RUNNING\n{}\n", directory.jobs.own().as_str());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for write in 0..WRITES {
                let state = if write % 2 == 0 { TaskState::Running } else { TaskState::Open };
                directory.set(0, state).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut reads = 0;
        while !done.load(Ordering::SeqCst) || reads == 0 {
            let text = read(folder.path(), 0);
            assert!(text == running || text == "OPEN\n", "{text:?}");
            reads += 1;
        }
    });
}

#[test]
fn change_before_the_lock_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, _) = begin(folder.path(), 1);
    let done = Record { state: TaskState::Done, owner: None };
    let checks = Cell::new(0);
    let replaced = directory.replace(0, &done, || {
        let open = directory.state(0)? == TaskState::Open;
        if checks.replace(checks.get() + 1) == 0 {
            write(folder.path(), 0, "FAILED\n");
        }
        Ok(open)
    });
    assert!(!replaced.unwrap());
    assert_eq!((checks.get(), read(folder.path(), 0)), (2, "FAILED\n".into()));
}

/// Half of the tasks are open, the others belong to a dead job. Each is claimed by exactly one job.
#[test]
fn threads_of_several_jobs_claim_each_task_once() {
    const N_TASKS: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let jobs: Vec<_> = (0..3).map(|_| begin(folder.path(), N_TASKS).0).collect();
    (0..N_TASKS).step_by(2).for_each(|task| write(folder.path(), task, "RUNNING\ndead\n"));
    let claim = |job: &Directory| {
        let mut snapshot = job.job_snapshot().unwrap();
        let claims = |task: &usize| {
            job.refresh(*task, &mut snapshot).unwrap() == TaskState::Open && job.claim(*task).unwrap()
        };
        (0..N_TASKS).filter(claims).count()
    };
    let claimed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = jobs.iter().map(|job| scope.spawn(move || claim(job))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(claimed, N_TASKS);
}
