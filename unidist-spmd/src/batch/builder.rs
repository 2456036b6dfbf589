//! How a batch is described, checked and created.

use super::broadcast_result::broadcast_result;
use super::directory::{self, Directory};
use super::open_tasks::{self, MAX_TASKS, OpenTasks};
use super::{Batch, TaskState, now};
use crate::call::{Call, CallKind};
use crate::cells::Cells;
use crate::{Communicator, Error, Result};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

/// The default age after which a job without a sign of life counts as dead.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// A shorter age cannot be distinguished from a busy file system.
const MIN_STALE_AFTER: Duration = Duration::from_secs(1);

/// The description of a batch. Every rank passes the same one to [`build`](Self::build).
///
/// ```
/// use unidist_spmd::{Batch, Communicator, TaskState};
///
/// let world = Communicator::alone();
/// let batch = Batch::new(3).initial([TaskState::Done, TaskState::Open, TaskState::Invalid]).build(&world)?;
/// assert_eq!(batch.task_state(0)?, TaskState::Done);
/// # Ok::<(), unidist_spmd::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `build`"]
pub struct BatchBuilder {
    n_tasks: usize,
    worker_size: usize,
    initial: Option<Vec<TaskState>>,
    directory: Option<(PathBuf, Vec<String>)>,
    stale_after: Duration,
}

impl BatchBuilder {
    pub(super) fn new(n_tasks: usize) -> BatchBuilder {
        BatchBuilder { n_tasks, worker_size: 1, initial: None, directory: None, stale_after: STALE_AFTER }
    }

    /// The number of ranks of a worker: 1 by default. The number of all ranks must be a multiple of it. Consecutive ranks form a
    /// worker.
    pub fn worker_size(mut self, ranks: usize) -> Self {
        self.worker_size = ranks;
        self
    }

    /// The initial states, one for each task. By default, all tasks are open.
    ///
    /// With a [`directory`](Self::directory) that has states already, `initial` is an error.
    pub fn initial(mut self, states: impl Into<Vec<TaskState>>) -> Self {
        self.initial = Some(states.into());
        self
    }

    /// Keeps the states in this directory, with a folder of the given name for each task. Missing folders are created.
    ///
    /// The file `state` in the folder of a task is authoritative, for this job, for others that use the directory at the same
    /// time, and for later ones. The directory must be on a file system that all hosts of the job share and that supports
    /// locks (`flock`).
    pub fn directory<N: Into<String>>(
        mut self,
        path: impl Into<PathBuf>,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.directory = Some((path.into(), names.into_iter().map(Into::into).collect()));
        self
    }

    /// The age after which another job on the same [`directory`](Self::directory) without a sign of life counts as dead: 60 s by
    /// default, at least 1 s. A running job gives a sign four times in the age that it has configured itself; of two jobs with
    /// different ages, the longer age counts.
    pub fn stale_after(mut self, age: Duration) -> Self {
        self.stale_after = age;
        self
    }

    /// Creates the batch. Collective over all ranks of the communicator.
    ///
    /// # Errors
    ///
    /// The same on every rank:
    /// - [`Error::Mismatch`]: the ranks describe different batches, or one called something else.
    /// - [`Error::Argument`]: the ranks cannot be divided into workers of this size; there are too many tasks, or not
    ///   one initial state or name for each; names are not plain or not all different; the age is too short.
    /// - [`Error::StateFile`], [`Error::DirectoryLocked`]: the directory cannot be used, a state file is malformed, or there are
    ///   states although initial ones were given.
    ///
    /// Or a rank is lost, MPI fails, or the ranks of a host cannot share memory.
    pub fn build(self, communicator: &Communicator) -> Result<Batch> {
        self.check_same_description(communicator)?;
        // The descriptions are equal, so all ranks find the same errors from here on.
        self.check(communicator.size())?;

        let n_tasks = self.n_tasks;
        let rank = communicator.rank();
        let worker = rank / self.worker_size;
        let (directory, states) = self.first_states(communicator)?;
        let first = match rank {
            0 => open_tasks::initial_values(&states, now()),
            _ => vec![0; open_tasks::cell_count(n_tasks)],
        };
        let worker_comm = communicator.split(Some(worker), rank)?.unwrap_or_else(Communicator::alone);
        let tasks = OpenTasks::new(Cells::new(communicator, &first)?, n_tasks);
        Ok(Batch { tasks, directory, worker_comm, communicator: communicator.clone() })
    }

    fn check_same_description(&self, communicator: &Communicator) -> Result<()> {
        let arguments = [
            ("n_tasks", hash(&self.n_tasks)),
            ("worker_size", hash(&self.worker_size)),
            ("initial", hash(&self.initial)),
            ("directory", hash(&self.directory)),
            ("stale_after", hash(&self.stale_after)),
        ];
        let hashes = arguments.map(|(_, hash)| hash);
        let calls = communicator.agree(CallKind::NewBatch, 0, &hashes)?;
        let first = calls.first().map_or(hashes, Call::payload);
        for (rank, said) in calls.iter().map(Call::payload::<[u64; 5]>).enumerate() {
            if let Some(at) = (0..arguments.len()).find(|&at| said[at] != first[at]) {
                let argument = arguments[at].0;
                let message = format!(
                    "rank {rank} passes another `{argument}` for a Batch than rank 0: all ranks must pass the same"
                );
                return Err(Error::Mismatch { message });
            }
        }
        Ok(())
    }

    fn check(&self, ranks: usize) -> Result<()> {
        let wrong = |message| Err(Error::argument("BatchBuilder::build", message));
        let n_tasks = self.n_tasks;
        if self.worker_size == 0 || !ranks.is_multiple_of(self.worker_size) {
            return wrong(format!(
                "{ranks} ranks cannot be divided into workers of {}: their number must be a multiple of it",
                self.worker_size
            ));
        }
        if n_tasks > MAX_TASKS {
            return wrong(format!("{n_tasks} tasks are more than {MAX_TASKS}"));
        }
        if let Some(states) = &self.initial
            && states.len() != n_tasks
        {
            return wrong(format!("there are {} initial states for {n_tasks} tasks", states.len()));
        }
        if self.stale_after < MIN_STALE_AFTER {
            let (given, least) = (self.stale_after, MIN_STALE_AFTER);
            return wrong(format!("a `stale_after` of {given:?} is less than {least:?}"));
        }
        self.directory.as_ref().map_or(Ok(()), |(_, names)| directory::check_names(names, n_tasks))
    }

    /// The initial states, on the first rank; with a directory, those in it.
    fn first_states(self, communicator: &Communicator) -> Result<(Option<Directory>, Vec<TaskState>)> {
        let Some((root, names)) = self.directory else {
            let states = self.initial.unwrap_or_else(|| vec![TaskState::Open; self.n_tasks]);
            return Ok((None, states));
        };
        let mut begun = None;
        let place = (communicator.rank() == 0).then(|| {
            let initial = self.initial.as_deref();
            let begun = begun.insert(Directory::begin(&root, names.clone(), initial, self.stale_after)?);
            Ok(begun.0.place())
        });
        let place = broadcast_result(communicator, place)?;
        let (directory, states) = match begun {
            Some(begun) => begun,
            None => (Directory::join(&place, names, self.stale_after)?, Vec::new()),
        };
        let seen = communicator.all_gather(u8::from(directory.is_visible()))?;
        match seen.iter().position(|&seen| seen == 0) {
            Some(rank) => Err(directory.not_visible_to(rank)),
            None => Ok((Some(directory), states)),
        }
    }
}

/// A hash that is equal in every process of a program.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
