//! [`AsyncResult`]: what a view gives at once for what it has been asked to do.

use super::call::Decoder;
use super::error::{CompositeError, EngineId, Result, ViewError};
use super::hub::Hub;
use super::record::{TaskId, TaskRecord};
use super::task::{Gate, Task};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use unidist_core::Portable;

/// The results of one or more tasks, there or still to come. Clones are of the same tasks.
///
/// ```
/// use unidist::view::{Client, Result};
///
/// # fn main() -> Result<()> {
/// let _session = unidist::init()?;
/// let client = Client::new()?;
/// let squares = client.load_balanced_view(..)?.map(|x: i64| x * x, 0..10);
/// for square in squares.iter() {
///     println!("{}", square?); // as soon as it and those before it are there
/// }
/// assert_eq!((squares.progress(), squares.len()), (10, 10));
/// assert_eq!(squares.get(None)?[3], 9);
/// # Ok(())
/// # }
/// ```
#[must_use = "its tasks run in any case; what they give, and whether they fail, is here alone"]
pub struct AsyncResult<T> {
    pub(crate) hub: Arc<Hub>,
    parts: Arc<[Part<T>]>,
    gate: Arc<Gate>,
    begun: Instant,
    /// The items are dealt to the tasks one by one, and to be collected so.
    is_dealt: bool,
    label: Option<String>,
}

/// A task, and how its results are read.
pub(crate) struct Part<T> {
    pub(crate) task: Arc<Task>,
    pub(crate) decode: Decoder<T>,
}

impl<T: Portable> AsyncResult<T> {
    pub(crate) fn new(hub: Arc<Hub>, parts: Vec<Part<T>>, label: Option<String>) -> Self {
        let gate = Gate::of(parts.iter().map(|part| &part.task));
        AsyncResult { hub, parts: parts.into(), gate, begun: Instant::now(), is_dealt: false, label }
    }

    pub(crate) fn dealt(self) -> Self {
        AsyncResult { is_dealt: true, ..self }
    }

    /// All results, in order. They can be asked for again.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](ViewError::TimedOut) if they are not there in time. If a task failed, its error, and if there is more
    /// than one task, a [`CompositeError`] that names the engine of each that failed: see [`results`](Self::results) for
    /// those that did not.
    pub fn get(&self, timeout: Option<Duration>) -> Result<Vec<T>> {
        let values = self.values("AsyncResult::get", timeout)?;
        if self.is_dealt { Ok(collected(values)) } else { Ok(values.into_iter().flatten().collect()) }
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

    /// The result of the one task that there is.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), or there is not one result.
    pub fn get_one(&self, timeout: Option<Duration>) -> Result<T> {
        let mut values = self.get(timeout)?;
        match values.pop() {
            Some(value) if values.is_empty() => Ok(value),
            last => {
                let count = values.len() + usize::from(last.is_some());
                Err(misuse("AsyncResult::get_one", format!("there are {count} results: use `get`")))
            }
        }
    }

    /// The result of each engine.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), or an engine has not one result but several.
    pub fn get_dict(&self, timeout: Option<Duration>) -> Result<BTreeMap<EngineId, T>> {
        let values = self.values("AsyncResult::get_dict", timeout)?;
        let mut results = BTreeMap::new();
        for (part, mut values) in self.parts.iter().zip(values) {
            let engine = part.task.engine().unwrap_or_default(); // it has succeeded, so it had one
            match values.pop() {
                Some(value) if values.is_empty() && !results.contains_key(&engine) => {
                    results.insert(engine, value);
                }
                _ => {
                    let message = format!("engine {engine} has not one result: use `get`");
                    return Err(misuse("AsyncResult::get_dict", message));
                }
            }
        }
        Ok(results)
    }

    /// The results of each task, or its error, in order: those of a task of [`apply`](super::DirectView::apply) are one,
    /// those of a task of [`map`](super::DirectView::map) as many as it had items.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](ViewError::TimedOut) if they are not there in time.
    pub fn results(&self, timeout: Option<Duration>) -> Result<Vec<Result<Vec<T>>>> {
        self.wait_as("AsyncResult::results", timeout)?;
        Ok(self.parts.iter().map(Part::read).collect())
    }

    /// The results in order, each as soon as it and those before it are there; an error in place of those of a task that
    /// failed.
    pub fn iter(&self) -> Results<'_, T> {
        Results { result: self, turn: 0, is_ordered: true, items: VecDeque::new() }
    }

    /// The results as they come.
    pub fn iter_unordered(&self) -> Results<'_, T> {
        Results { is_ordered: false, ..self.iter() }
    }

    /// Folds all results into one, in order, as they come; none if there are none.
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
    /// Waits until all tasks have ended, or the time is over; whether they have.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.gate.wait(self.parts.len(), timeout) == self.parts.len()
    }

    /// [`wait`](Self::wait) with a progress bar, on the standard error stream if that is a terminal.
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
            let ended = self.gate.count();
            bar.set_position(ended as u64);
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if ended == self.parts.len() || self.gate.wait(ended + 1, rest) == ended {
                break;
            }
        }
        bar.abandon(); // it stays as it is
        self.ready()
    }

    fn wait_as(&self, call: &str, timeout: Option<Duration>) -> Result<()> {
        if self.wait(timeout) {
            return Ok(());
        }
        let (ended, of) = (self.gate.count(), self.parts.len());
        Err(ViewError::TimedOut { call: call.to_owned(), timeout: timeout.unwrap_or_default(), ended, of })
    }

    /// Whether all tasks have ended.
    pub fn ready(&self) -> bool {
        self.gate.count() == self.parts.len()
    }

    /// Whether all tasks have ended, and none has failed.
    pub fn successful(&self) -> bool {
        self.ready() && self.parts.iter().all(|part| matches!(part.task.outcome(), Some(Ok(_))))
    }

    /// How many tasks have ended.
    pub fn progress(&self) -> usize {
        self.gate.count()
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there are no tasks.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The names of the tasks.
    pub fn ids(&self) -> Vec<TaskId> {
        self.parts.iter().map(|part| part.task.id).collect()
    }

    /// The engine of each task; none for one that was not given to an engine yet.
    pub fn engines(&self) -> Vec<Option<EngineId>> {
        self.parts.iter().map(|part| part.task.engine()).collect()
    }

    /// The label that the view had.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// All that is known about each task: when it was submitted, started and completed, for example.
    pub fn records(&self) -> Vec<TaskRecord> {
        self.parts.iter().map(|part| part.task.record()).collect()
    }

    /// How long it is since the tasks were handed in; once all have ended, how long it took.
    pub fn elapsed(&self) -> Duration {
        if self.ready() { self.wall_time() } else { self.begun.elapsed() }
    }

    /// How long the functions ran, all together, as far as they have ended with a result.
    pub fn serial_time(&self) -> Duration {
        self.records().iter().filter_map(TaskRecord::duration).sum()
    }

    /// From the first submission to the last end so far.
    pub fn wall_time(&self) -> Duration {
        let records = self.records();
        let begin: Option<SystemTime> = records.iter().map(|record| record.submitted).min();
        let end = records.iter().filter_map(|record| record.completed).max();
        begin.zip(end).and_then(|(begin, end)| end.duration_since(begin).ok()).unwrap_or_default()
    }

    /// Aborts all tasks that have not ended; how many these were. They fail with [`Aborted`](ViewError::Aborted): those
    /// that wait in the client or at an engine never run; one that runs is told
    /// ([`is_cancelled`](unidist_core::is_cancelled)), and if it does not end, its engine is ended in a while.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn abort(&self) -> Result<usize> {
        self.hub.shared.abort(self.parts.iter().map(|part| &part.task))
    }
}

impl<T: Portable> Part<T> {
    fn read(&self) -> Result<Vec<T>> {
        match self.task.outcome() {
            Some(Ok(value)) => Ok((self.decode)(&value)?),
            Some(Err(error)) => Err(error),
            None => Err(misuse("AsyncResult", "the task has not ended".to_owned())),
        }
    }
}

pub(crate) fn misuse(call: &str, message: String) -> ViewError {
    ViewError::Session(unidist_core::Error::InvalidArgument { call: call.to_owned(), message })
}

/// What was dealt to the tasks one by one, in the order in which it was.
fn collected<T>(parts: Vec<Vec<T>>) -> Vec<T> {
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

/// The results of an [`AsyncResult`], each as soon as it is there.
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
            let place = if self.is_ordered { self.turn } else { self.result.gate.nth(self.turn)? };
            self.turn += 1;
            let part = &self.result.parts[place];
            Gate::of([&part.task]).wait(1, None);
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
            hub: self.hub.clone(),
            parts: self.parts.clone(),
            gate: self.gate.clone(),
            begun: self.begun,
            is_dealt: self.is_dealt,
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
