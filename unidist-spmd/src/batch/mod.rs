//! A batch: tasks of varying size, handed out to groups of ranks.
//!
//! - `open_tasks`: the states of all tasks, in cells that all ranks share, and the stack of open tasks.
//! - `directory`: the states as files, which outlive the job and which several jobs may use at the same time.
//! - `builder`: how a batch is described, checked and created; `broadcast_result`: sends the result of the first rank to all.
//!
//! With a directory, the files are authoritative. The cells are then only a hint: a rank that takes a task from them claims it in
//! its file, and continues with the next task if the file says otherwise.

mod broadcast_result;
mod builder;
mod directory;
mod open_tasks;
mod state;

pub use builder::BatchBuilder;
pub use state::TaskState;

use crate::cells::Cells;
use crate::{Communicator, Error, Result};
use broadcast_result::broadcast_result;
use directory::Directory;
use open_tasks::OpenTasks;
use std::fmt;

/// Tasks, numbered from 0, that groups of ranks take one after another until none is open.
///
/// A batch knows only the [state](TaskState) of each task; the program runs it. The ranks of the communicator are divided into
/// **workers** of equal size, and each worker gets its next task from [`next_task`](Self::next_task) when it has finished the
/// previous one, so that tasks of different lengths keep all workers busy.
///
/// ```
/// use unidist_spmd::{Batch, Communicator, TaskState};
///
/// let world = Communicator::world()?;
/// let mut batch = Batch::new(10).build(&world)?;
/// while let Some(task) = batch.next_task()? {
///     // All ranks of this worker are here, with the same task.
///     let result = (0..=task).sum::<usize>();
///     if batch.worker_rank() == 0 {
///         let state = if result < 1_000 { TaskState::Done } else { TaskState::Failed };
///         batch.set_task_state(task, state)?;
///     }
/// }
/// batch.close()?;
/// # Ok::<(), unidist_spmd::Error>(())
/// ```
///
/// # States in a directory
///
/// With [`BatchBuilder::directory`], each task has a folder with a file `state`, whose first line is its state. The file is
/// replaced atomically, so a reader sees one state or the next one. It outlives the job: a program that is run again on the same
/// directory continues where it stopped. Several jobs may work on one directory at the same time; one of them runs each task.
///
/// - A task without a state file is open.
/// - The state file of a running task names its job in the second line. While a job runs, it touches a file in `.unidist/jobs` of
///   the directory four times in the age configured by [`BatchBuilder::stale_after`]. A running task whose job has no such file,
///   or an older one, **is open again**. This is checked when a batch is created, and by `next_task` when it knows no other open
///   task, at most four times in that age.
/// - Hence a job that was stopped for longer than that age and then continues may run a task that another job has taken over.
/// - Failed tasks stay failed, unless [`reopen`](Self::reopen) opens them.
///
/// ```
/// use unidist_spmd::{Batch, Communicator, TaskState};
///
/// let folder = tempfile::tempdir()?;
/// let world = Communicator::alone();
/// let names = ["left", "right"];
/// let mut batch = Batch::new(2).directory(folder.path(), names).build(&world)?;
/// while let Some(task) = batch.next_task()? {
///     batch.set_task_state(task, TaskState::Done)?;
/// }
/// batch.close()?;
/// assert_eq!(std::fs::read_to_string(folder.path().join("right/state"))?, "DONE\n");
///
/// let mut again = Batch::new(2).directory(folder.path(), names).build(&world)?;
/// assert_eq!(again.next_task()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Which ranks it waits for
///
/// [`next_task`](Self::next_task) waits only for the ranks of its worker: as with a [`Lock`](crate::Lock), other ranks may compute
/// meanwhile.
///
/// [`close`](Self::close) is collective over all ranks of the communicator. A rank may also drop its part, which waits for no
/// other rank. With a directory, a batch that is dropped and not closed counts as a running job until the process of its first
/// rank ends, because other ranks may still run tasks.
pub struct Batch {
    tasks: OpenTasks<Cells>,
    directory: Option<Directory>,
    worker_comm: Communicator,
    communicator: Communicator,
}

impl Batch {
    /// Describes a batch of this many tasks, all open by default; [`BatchBuilder::build`] creates it.
    #[expect(clippy::new_ret_no_self, reason = "the builder creates it, on all ranks together")]
    pub fn new(n_tasks: usize) -> BatchBuilder {
        BatchBuilder::new(n_tasks)
    }

    /// Takes the next open task and marks it as running; `None` if no task is open now. Collective over the
    /// [worker](Self::worker_comm): all its ranks get the same task.
    ///
    /// Tasks are taken in order; reopened ones come first. The time of a call does not depend on the number of tasks, except that
    /// with a directory, when no task is left and some time has passed, one call scans all of them for tasks of dead jobs.
    ///
    /// # Errors
    ///
    /// The same on all ranks of the worker: the communication fails, or, with a directory, the state of the task cannot
    /// be read or written ([`Error::StateFile`], [`Error::DirectoryLocked`]). The task stays open then.
    pub fn next_task(&mut self) -> Result<Option<usize>> {
        if self.worker_size() == 1 {
            return self.take();
        }
        let taken = (self.worker_rank() == 0).then(|| self.take());
        let taken = taken.map(|taken| {
            taken.map(|task| task.map_or(Vec::new(), |task| (task as u64).to_le_bytes().to_vec()))
        });
        let took =
            taken.as_ref().and_then(|taken| taken.as_ref().ok().filter(|task| !task.is_empty()).cloned());
        let told = broadcast_result(&self.worker_comm, taken).inspect_err(|_| {
            // The other ranks of the worker do not know the task, so none runs it.
            let task =
                took.and_then(|task| task.try_into().ok()).map(|task| u64::from_le_bytes(task) as usize);
            if let Some(Err(error)) = task.map(|task| self.set_task_state(task, TaskState::Open)) {
                log::error!("a task cannot be reopened after its worker failed to receive it, so it stays in the state RUNNING: {error}");
            }
        })?;
        Ok(told.try_into().ok().map(|task| u64::from_le_bytes(task) as usize))
    }

    /// Sets the state of a task. Any single rank calls it, usually one of the worker that ran the task.
    ///
    /// A task that is set to [`TaskState::Open`] is handed out again.
    ///
    /// # Errors
    ///
    /// There is no such task; the communication fails; with a directory, the state cannot be written
    /// ([`Error::StateFile`], [`Error::DirectoryLocked`]), for instance because the disk is full. Then the state does
    /// not change.
    pub fn set_task_state(&mut self, task: usize, state: TaskState) -> Result<()> {
        self.check(task, "Batch::set_task_state")?;
        if let Some(directory) = &self.directory {
            directory.set(task, state)?;
        }
        self.tasks.set(task, |_| Some(state)).map(drop)
    }

    /// The current state of a task; with a directory, that in its file. Any single rank calls it.
    ///
    /// # Errors
    ///
    /// There is no such task; the communication fails; with a directory, the file cannot be read or is malformed
    /// ([`Error::StateFile`]).
    pub fn task_state(&self, task: usize) -> Result<TaskState> {
        self.check(task, "Batch::task_state")?;
        match &self.directory {
            Some(directory) => directory.state(task),
            None => self.tasks.state(task),
        }
    }

    /// Opens all tasks in one of these states, and returns their number. Any single rank calls it.
    ///
    /// Call it once, for instance with [`TaskState::Failed`] after creating a batch: if `next_task` returned failed tasks, a task
    /// that always fails would be handed out forever. Use [`TaskState::Running`] only if no worker runs these tasks any more.
    ///
    /// # Errors
    ///
    /// Those of [`set_task_state`](Self::set_task_state). Some of the tasks may be open by then.
    pub fn reopen(&mut self, states: &[TaskState]) -> Result<usize> {
        let wanted = |state| state != TaskState::Open && states.contains(&state);
        let mut reopened = 0;
        // In reverse order, so that the first task is on top of the stack.
        for task in (0..self.n_tasks()).rev() {
            match &self.directory {
                Some(directory) if directory.reopen(task, wanted)? => {
                    self.tasks.open(task)?;
                    reopened += 1;
                }
                Some(_) => {}
                None => {
                    let was = self.tasks.set(task, |state| wanted(state).then_some(TaskState::Open))?;
                    reopened += usize::from(wanted(was));
                }
            }
        }
        Ok(reopened)
    }

    /// The communicator of the batch.
    #[must_use]
    pub fn communicator(&self) -> &Communicator {
        &self.communicator
    }

    /// The communicator of this rank's worker.
    #[must_use]
    pub fn worker_comm(&self) -> &Communicator {
        &self.worker_comm
    }

    /// The number of the worker to which this rank belongs, from 0.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.communicator.rank() / self.worker_size()
    }

    /// The rank in the worker.
    #[must_use]
    pub fn worker_rank(&self) -> usize {
        self.worker_comm.rank()
    }

    /// The number of ranks of a worker.
    #[must_use]
    pub fn worker_size(&self) -> usize {
        self.worker_comm.size()
    }

    /// The number of workers.
    #[must_use]
    pub fn n_worker(&self) -> usize {
        self.communicator.size() / self.worker_size()
    }

    /// The number of tasks in any state.
    #[must_use]
    pub fn n_tasks(&self) -> usize {
        self.tasks.n_tasks()
    }

    /// Frees the batch. Collective over all ranks of the communicator.
    ///
    /// # Errors
    ///
    /// The communication fails; with a directory, the heartbeat of this job could not be written ([`Error::StateFile`]), so that
    /// other jobs may have taken over its tasks.
    pub fn close(mut self) -> Result<()> {
        let freed = self.tasks.cells_mut().free();
        let closed = self.directory.as_mut().map_or(Ok(()), Directory::close);
        freed.and(closed)
    }

    fn check(&self, task: usize, call: &str) -> Result<()> {
        let n_tasks = self.n_tasks();
        let message = || format!("there is no task {task}: there are {n_tasks}, numbered from 0");
        if task < n_tasks { Ok(()) } else { Err(Error::argument(call, message())) }
    }

    /// Takes an open task for this rank's worker.
    fn take(&self) -> Result<Option<usize>> {
        let Some(directory) = &self.directory else { return self.tasks.take() };
        let mut has_scanned = false;
        loop {
            match self.tasks.take()? {
                Some(task) => match directory.claim(task) {
                    Ok(true) => return Ok(Some(task)),
                    // Another job has changed it.
                    Ok(false) => {}
                    Err(error) => {
                        self.tasks.open(task)?;
                        return Err(error);
                    }
                },
                None if !has_scanned && self.scan_due(directory)? => {
                    self.scan(directory)?;
                    has_scanned = true;
                }
                None => return Ok(None),
            }
        }
    }

    fn scan_due(&self, directory: &Directory) -> Result<bool> {
        let every = u64::try_from(directory.interval().as_millis()).unwrap_or(u64::MAX);
        self.tasks.scan_due(now(), every)
    }

    /// Finds tasks that other jobs have opened, and those of dead jobs.
    ///
    /// It only adds open tasks to the cells: removing others could lose a task that becomes open meanwhile, and a task that is
    /// taken meanwhile does no harm there.
    fn scan(&self, directory: &Directory) -> Result<()> {
        let mut snapshot = directory.job_snapshot()?;
        for task in (0..self.n_tasks()).rev() {
            if directory.refresh(task, &mut snapshot)? == TaskState::Open {
                self.tasks.open(task)?;
            }
        }
        Ok(())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let Some(directory) = &mut self.directory else { return };
        if self.communicator.size() > 1 {
            return directory.keep_heartbeat();
        }
        if let Err(error) = directory.close() {
            log::error!(
                "the heartbeat of a dropped batch cannot be removed, so other jobs wait until it is stale: {error}"
            );
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("n_tasks", &self.n_tasks())
            .field("worker", &self.worker())
            .field("n_worker", &self.n_worker())
            .field("worker_rank", &self.worker_rank())
            .field("worker_size", &self.worker_size())
            .finish_non_exhaustive()
    }
}

/// The clock of this host, in milliseconds.
fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
