//! A batch: tasks of varying size, handed out to groups of ranks.
//!
//! - `open_tasks`: the states of all tasks, in cells that all ranks share, and which of them are open.
//! - `directory`: the states as files, which outlive the job and which several jobs may use at once.
//! - `builder`: how a batch is described, checked and made; `broadcast_result`: how what one rank finds is known to others.
//!
//! With a directory, the files are the truth. The cells then say only which tasks are worth a try: whoever takes one
//! from them claims it in its file, and if that says otherwise, goes on with the next one.

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

/// Tasks, numbered from 0, that groups of ranks take one after the other until none is open.
///
/// CallKind a task does is the program's business; a batch knows only which [state](TaskState) each is in. The ranks of
/// the communicator are divided into **workers** of the same size, and each worker gets its next task by
/// [`next_task`](Self::next_task) when it has finished the last one, so that tasks of differing length keep all of them
/// busy.
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
/// With [`BatchBuilder::directory`], each task has a folder, in which the file `state` says in its first line what has
/// become of it. It is replaced as a whole, so whoever reads it sees one state or the next one. It outlives the job:
/// run again on the same directory, a program goes on where it has stopped, and does nothing if all is done. Several
/// jobs may work on one directory at the same time; each task is run by one of them.
///
/// - A task without a state file is open.
/// - A running task names its job in the second line. While a job lives, it touches a file in `.unidist/jobs` of the
///   directory four times in the age that is configured by [`BatchBuilder::stale_after`]. A running task whose job
///   has no such file, or one that is older than that age, **is open again**. This is found when a batch is made, and
///   by `next_task` when it knows of no other open task, at most four times in that age.
/// - So a job that was stopped for longer than that age and then goes on may run what another has taken over.
/// - Failed tasks stay so, and are not tried again unless [`reopen`](Self::reopen) says it.
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
/// # Whom it waits for
///
/// [`next_task`](Self::next_task) waits for the ranks of its worker and for nobody else: as with a
/// [`Lock`](crate::Lock), what the other ranks compute meanwhile does not matter.
///
/// [`close`](Self::close) is collective over all ranks of the communicator. A rank may also just drop its part, and waits
/// for nobody then. With a directory, what is dropped and not closed counts as a living job until its first rank's process
/// has ended, since other ranks may still run tasks.
pub struct Batch {
    tasks: OpenTasks<Cells>,
    directory: Option<Directory>,
    worker_comm: Communicator,
    communicator: Communicator,
}

impl Batch {
    /// A batch of so many tasks, all open: described further by the builder, made by [`BatchBuilder::build`].
    #[expect(clippy::new_ret_no_self, reason = "it is made from the builder, by all ranks together")]
    pub fn new(n_tasks: usize) -> BatchBuilder {
        BatchBuilder::new(n_tasks)
    }

    /// The next open task, which is running from then on, or `None` if no task is open now. Collective over the
    /// [worker](Self::worker_comm): all its ranks get the same.
    ///
    /// Tasks come in their order; those that were opened again come before the others. The time of a call does not
    /// depend on the number of tasks; but with a directory, when no task is left and some time has passed, one call looks
    /// at all of them for what other jobs have left behind.
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
            // The others do not know of it, so nobody runs it.
            let task =
                took.and_then(|task| task.try_into().ok()).map(|task| u64::from_le_bytes(task) as usize);
            if let Some(Err(error)) = task.map(|task| self.set_task_state(task, TaskState::Open)) {
                log::error!("a task that was taken and not told of stays running: {error}");
            }
        })?;
        Ok(told.try_into().ok().map(|task| u64::from_le_bytes(task) as usize))
    }

    /// Sets the state of a task. One rank does it, any: usually one of the worker that ran the task.
    ///
    /// A task that is set to [`TaskState::Open`] is handed out again.
    ///
    /// # Errors
    ///
    /// There is no such task; the communication fails; with a directory, the state cannot be written
    /// ([`Error::StateFile`], [`Error::DirectoryLocked`]), for instance because the disk is full. Then the task has the
    /// state that it had.
    pub fn set_task_state(&mut self, task: usize, state: TaskState) -> Result<()> {
        self.check(task, "Batch::set_task_state")?;
        if let Some(directory) = &self.directory {
            directory.set(task, state)?;
        }
        self.tasks.set(task, |_| Some(state)).map(drop)
    }

    /// The state of a task at this moment; with a directory, what its file says. One rank asks, any.
    ///
    /// # Errors
    ///
    /// There is no such task; the communication fails; with a directory, the file cannot be read or is not understood
    /// ([`Error::StateFile`]).
    pub fn task_state(&self, task: usize) -> Result<TaskState> {
        self.check(task, "Batch::task_state")?;
        match &self.directory {
            Some(directory) => directory.state(task),
            None => self.tasks.state(task),
        }
    }

    /// Makes all tasks open that have one of these states, and returns how many there were. One rank does it, any.
    ///
    /// This is done once, for instance with [`TaskState::Failed`] when a batch is made; if `next_task` took failed
    /// tasks for open ones, a task that always fails would be handed out for ever. [`TaskState::Running`] is for one
    /// who knows that nobody runs these tasks any more.
    ///
    /// # Errors
    ///
    /// As those of [`set_task_state`](Self::set_task_state). Some of the tasks may be open by then.
    pub fn reopen(&mut self, states: &[TaskState]) -> Result<usize> {
        let wanted = |state| state != TaskState::Open && states.contains(&state);
        let mut reopened = 0;
        // The last one first, so that the first one is the next to be taken.
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

    /// Which worker this rank belongs to, from 0.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.communicator.rank() / self.worker_size()
    }

    /// The rank within the worker.
    #[must_use]
    pub fn worker_rank(&self) -> usize {
        self.worker_comm.rank()
    }

    /// How many ranks a worker has.
    #[must_use]
    pub fn worker_size(&self) -> usize {
        self.worker_comm.size()
    }

    /// How many workers there are.
    #[must_use]
    pub fn n_worker(&self) -> usize {
        self.communicator.size() / self.worker_size()
    }

    /// How many tasks there are, of whatever state.
    #[must_use]
    pub fn n_tasks(&self) -> usize {
        self.tasks.n_tasks()
    }

    /// Ends the batch. Collective over all ranks of the communicator.
    ///
    /// # Errors
    ///
    /// The communication fails; with a directory, this job could not show that it lives ([`Error::StateFile`]), so that
    /// others may have taken over what it ran.
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
        let mut has_looked = false;
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
                None if !has_looked && self.is_time_to_look(directory)? => {
                    self.look(directory)?;
                    has_looked = true;
                }
                None => return Ok(None),
            }
        }
    }

    fn is_time_to_look(&self, directory: &Directory) -> Result<bool> {
        let every = u64::try_from(directory.interval().as_millis()).unwrap_or(u64::MAX);
        self.tasks.is_time_to_look(now(), every)
    }

    /// Finds tasks which other jobs have opened or left behind.
    ///
    /// Only what is open goes to the cells: a task that becomes open meanwhile must not be taken from them, and one
    /// that is taken meanwhile does no harm there.
    fn look(&self, directory: &Directory) -> Result<()> {
        let mut look = directory.look()?;
        for task in (0..self.n_tasks()).rev() {
            if directory.refresh(task, &mut look)? == TaskState::Open {
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
            log::error!("a batch cannot be ended: {error}");
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

/// Milliseconds of this host's clock.
fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
