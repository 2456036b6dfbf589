//! [`AsyncResult`]: the pending results of a view's tasks.

use super::call::Decoder;
use super::client_loop::ClientLoop;
use super::error::{CompositeError, EngineId, Result, ViewError};
use super::record::{TaskId, TaskRecord};
use super::task::{Completions, Task};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use unidist_core::Portable;

/// The results of one or more tasks, ready or pending. Clones share the tasks.
///
/// ```
/// use unidist::view::{Client, Result};
///
/// # fn main() -> Result<()> {
/// let _session = unidist::init()?;
/// let client = Client::new()?;
/// let squares = client.load_balanced_view(..)?.map(|x: i64| x * x, 0..10);
/// for square in squares.iter() {
///     println!("{}", square?); // as soon as it and all before it are ready
/// }
/// assert_eq!((squares.progress(), squares.len()), (10, 10));
/// assert_eq!(squares.get(None)?[3], 9);
/// # Ok(())
/// # }
/// ```
#[must_use = "the tasks run in any case, but their results and failures are only available here"]
pub struct AsyncResult<T> {
    pub(crate) client_loop: Arc<ClientLoop>,
    parts: Arc<[Part<T>]>,
    completions: Arc<Completions>,
    submitted_at: Instant,
    /// Whether the items were distributed over the tasks round-robin.
    is_round_robin: bool,
    label: Option<String>,
}

/// A task, and how its results are decoded.
pub(crate) struct Part<T> {
    pub(crate) task: Arc<Task>,
    pub(crate) decode: Decoder<T>,
}

impl<T: Portable> AsyncResult<T> {
    pub(crate) fn new(client_loop: Arc<ClientLoop>, parts: Vec<Part<T>>, label: Option<String>) -> Self {
        let completions = Completions::of(parts.iter().map(|part| &part.task));
        AsyncResult {
            client_loop,
            parts: parts.into(),
            completions,
            submitted_at: Instant::now(),
            is_round_robin: false,
            label,
        }
    }

    pub(crate) fn round_robin(self) -> Self {
        AsyncResult { is_round_robin: true, ..self }
    }

    /// All results, in order. May be called repeatedly.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](ViewError::TimedOut) if the time-out passes first. If a task failed, its error; if there are
    /// several tasks, a [`CompositeError`] with the engine and error of each failed task. [`results`](Self::results)
    /// also gives the results of the others.
    pub fn get(&self, timeout: Option<Duration>) -> Result<Vec<T>> {
        let values = self.values("AsyncResult::get", timeout)?;
        if self.is_round_robin { Ok(interleave(values)) } else { Ok(values.into_iter().flatten().collect()) }
    }

    /// The values of each task.
    fn values(&self, call: &str, timeout: Option<Duration>) -> Result<Vec<Vec<T>>> {
        self.wait_as(call, timeout)?;
        let mut values = Vec::with_capacity(self.parts.len());
        let mut errors = Vec::new();
        for part in self.parts.iter() {
            match part.read() {
                Ok(found) => values.push(found),
                Err(error) => errors.push((part.task.engine(), error)),
            }
        }
        match errors.len() {
            0 => Ok(values),
            1 if self.parts.len() == 1 => Err(errors.swap_remove(0).1),
            _ => Err(ViewError::Composite(CompositeError { errors, of: self.parts.len() })),
        }
    }

    /// The result, if there is exactly one.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), or there is not exactly one result.
    pub fn get_one(&self, timeout: Option<Duration>) -> Result<T> {
        let mut values = self.get(timeout)?;
        match values.pop() {
            Some(value) if values.is_empty() => Ok(value),
            last => {
                let count = values.len() + usize::from(last.is_some());
                Err(invalid_argument(
                    "AsyncResult::get_one",
                    format!("there are {count} results, not one: use `get`"),
                ))
            }
        }
    }

    /// The result of each engine, by the engine's number.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), or an engine does not have exactly one result.
    pub fn get_dict(&self, timeout: Option<Duration>) -> Result<BTreeMap<EngineId, T>> {
        let values = self.values("AsyncResult::get_dict", timeout)?;
        let mut results = BTreeMap::new();
        for (part, mut values) in self.parts.iter().zip(values) {
            let engine = part.task.engine().unwrap_or_default(); // a completed task has an engine
            match values.pop() {
                Some(value) if values.is_empty() && !results.contains_key(&engine) => {
                    results.insert(engine, value);
                }
                _ => {
                    let message = format!("engine {engine} does not have exactly one result: use `get`");
                    return Err(invalid_argument("AsyncResult::get_dict", message));
                }
            }
        }
        Ok(results)
    }

    /// The results of each task, or its error, in order. A task of [`apply`](super::DirectView::apply) has one result,
    /// a task of [`map`](super::DirectView::map) one for each of its items.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](ViewError::TimedOut) if the time-out passes first.
    pub fn results(&self, timeout: Option<Duration>) -> Result<Vec<Result<Vec<T>>>> {
        self.wait_as("AsyncResult::results", timeout)?;
        Ok(self.parts.iter().map(Part::read).collect())
    }

    /// The results in order, each as soon as it and all before it are ready; a failed task gives one error in place of
    /// its results.
    pub fn iter(&self) -> Results<'_, T> {
        Results { result: self, turn: 0, is_ordered: true, items: VecDeque::new() }
    }

    /// The results as they arrive.
    pub fn iter_unordered(&self) -> Results<'_, T> {
        Results { is_ordered: false, ..self.iter() }
    }

    /// Folds all results into one, in order, as they arrive; `None` if there are no results.
    ///
    /// # Errors
    ///
    /// The first failure of a task.
    pub fn reduce(&self, mut fold: impl FnMut(T, T) -> T) -> Result<Option<T>> {
        let mut values = self.iter();
        let Some(first) = values.next().transpose()? else { return Ok(None) };
        values.try_fold(first, |folded, value| Ok(fold(folded, value?))).map(Some)
    }
}

impl<T> AsyncResult<T> {
    /// Waits until all tasks have ended or the time-out has passed. Returns whether they have ended.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.completions.wait(self.parts.len(), timeout) == self.parts.len()
    }

    /// Like [`wait`](Self::wait), with a progress bar on standard error if that is a terminal.
    pub fn wait_interactive(&self, timeout: Option<Duration>) -> bool {
        let bar = ProgressBar::new(self.parts.len() as u64);
        if let Ok(style) = ProgressStyle::with_template("{msg}{wide_bar} {pos}/{len} tasks [{elapsed}]") {
            bar.set_style(style);
        }
        if let Some(label) = &self.label {
            bar.set_message(format!("{label} "));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let ended = self.completions.count();
            bar.set_position(ended as u64);
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if ended == self.parts.len() || self.completions.wait(ended + 1, rest) == ended {
                break;
            }
        }
        bar.abandon(); // leaves the bar on the screen
        self.ready()
    }

    fn wait_as(&self, call: &str, timeout: Option<Duration>) -> Result<()> {
        if self.wait(timeout) {
            return Ok(());
        }
        let (ended, of) = (self.completions.count(), self.parts.len());
        Err(ViewError::TimedOut { call: call.to_owned(), timeout: timeout.unwrap_or_default(), ended, of })
    }

    /// Whether all tasks have ended.
    pub fn ready(&self) -> bool {
        self.completions.count() == self.parts.len()
    }

    /// Whether all tasks have ended without a failure.
    pub fn successful(&self) -> bool {
        self.ready() && self.parts.iter().all(|part| matches!(part.task.outcome(), Some(Ok(_))))
    }

    /// The number of tasks that have ended.
    pub fn progress(&self) -> usize {
        self.completions.count()
    }

    /// The number of tasks.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there are no tasks.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The ids of the tasks.
    pub fn ids(&self) -> Vec<TaskId> {
        self.parts.iter().map(|part| part.task.id).collect()
    }

    /// The engine of each task; `None` for a task that was not sent yet.
    pub fn engines(&self) -> Vec<Option<EngineId>> {
        self.parts.iter().map(|part| part.task.engine()).collect()
    }

    /// The label of the view.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The record of each task: when it was submitted, started and completed, for example.
    pub fn records(&self) -> Vec<TaskRecord> {
        self.parts.iter().map(|part| part.task.record()).collect()
    }

    /// The time since the submission; once all tasks have ended, the time that they took.
    pub fn elapsed(&self) -> Duration {
        if self.ready() { self.wall_time() } else { self.submitted_at.elapsed() }
    }

    /// The sum of the running times of all tasks that have a result.
    pub fn serial_time(&self) -> Duration {
        self.records().iter().filter_map(TaskRecord::duration).sum()
    }

    /// The time from the first submission to the last end so far.
    pub fn wall_time(&self) -> Duration {
        let records = self.records();
        let begin: Option<SystemTime> = records.iter().map(|record| record.submitted).min();
        let end = records.iter().filter_map(|record| record.completed).max();
        begin.zip(end).and_then(|(begin, end)| end.duration_since(begin).ok()).unwrap_or_default()
    }

    /// Aborts all tasks that have not ended, and returns their number. They fail with [`Aborted`](ViewError::Aborted).
    /// Tasks that wait in the client or at an engine never run; a running task can see
    /// [`is_cancelled`](unidist_core::is_cancelled), and if it does not return in time, its engine is killed.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn abort(&self) -> Result<usize> {
        self.client_loop.shared.abort(self.parts.iter().map(|part| &part.task))
    }
}

impl<T: Portable> Part<T> {
    fn read(&self) -> Result<Vec<T>> {
        match self.task.outcome() {
            Some(Ok(value)) => Ok((self.decode)(&value)?),
            Some(Err(error)) => Err(error),
            None => Err(invalid_argument("AsyncResult", "the task has not ended".to_owned())),
        }
    }
}

pub(crate) fn invalid_argument(call: &str, message: String) -> ViewError {
    ViewError::Session(unidist_core::Error::InvalidArgument { call: call.to_owned(), message })
}

/// Merges round-robin parts back into the original order.
fn interleave<T>(parts: Vec<Vec<T>>) -> Vec<T> {
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(parts.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

/// An iterator over the results of an [`AsyncResult`], each as soon as it is ready.
pub struct Results<'a, T> {
    result: &'a AsyncResult<T>,
    turn: usize,
    is_ordered: bool,
    items: VecDeque<T>,
}

impl<T: Portable> Iterator for Results<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(Ok(item));
            }
            if self.turn == self.result.parts.len() {
                return None;
            }
            let place = if self.is_ordered { self.turn } else { self.result.completions.nth(self.turn)? };
            self.turn += 1;
            let part = &self.result.parts[place];
            Completions::of([&part.task]).wait(1, None);
            match part.read() {
                Ok(items) => self.items.extend(items),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl<'a, T: Portable> IntoIterator for &'a AsyncResult<T> {
    type Item = Result<T>;
    type IntoIter = Results<'a, T>;

    fn into_iter(self) -> Results<'a, T> {
        self.iter()
    }
}

impl<T> Clone for AsyncResult<T> {
    fn clone(&self) -> Self {
        AsyncResult {
            client_loop: self.client_loop.clone(),
            parts: self.parts.clone(),
            completions: self.completions.clone(),
            submitted_at: self.submitted_at,
            is_round_robin: self.is_round_robin,
            label: self.label.clone(),
        }
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsyncResult({} of {} tasks ended)", self.progress(), self.len())
    }
}

impl<T> fmt::Debug for Results<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Results(after {} of {} tasks)", self.turn, self.result.len())
    }
}
