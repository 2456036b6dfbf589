//! What is known about a task, and how it is asked for.

use super::error::EngineId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// The name of a task: unique, in whatever program and session it was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// A number that the client has chosen at random.
    pub(crate) client: u64,
    /// Counted up in the client.
    pub(crate) number: u64,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.client, self.number)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TaskId {
    type Err = String;

    /// From what `to_string` gave.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (client, number) = text.split_once('-')?;
            Some(TaskId { client: u64::from_str_radix(client, 16).ok()?, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| format!("`{text}` is no id of a task, such as `0123456789abcdef-7`"))
    }
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskStatus {
    /// It waits in the client: for others, or for an engine.
    Queued,
    /// It was given to an engine.
    Sent,
    /// It has a result.
    Completed,
    /// It has failed.
    Failed,
    /// It was aborted.
    Aborted,
}

impl TaskStatus {
    /// Whether it has ended, in whatever way.
    pub fn has_ended(self) -> bool {
        !matches!(self, TaskStatus::Queued | TaskStatus::Sent)
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            TaskStatus::Queued => "queued",
            TaskStatus::Sent => "sent",
            TaskStatus::Completed => "completed",
            TaskStatus::Failed => "failed",
            TaskStatus::Aborted => "aborted",
        }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let all = [
            TaskStatus::Queued,
            TaskStatus::Sent,
            TaskStatus::Completed,
            TaskStatus::Failed,
            TaskStatus::Aborted,
        ];
        all.into_iter().find(|status| status.name() == name)
    }
}

/// What the history knows about a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskRecord {
    /// Its name.
    pub id: TaskId,
    /// The name of its function.
    pub function: String,
    /// The label that its view had.
    pub label: Option<String>,
    /// The engine that it was last given to.
    pub engine: Option<EngineId>,
    /// How far it is. A task whose program ended first stays as it was then.
    pub status: TaskStatus,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was handed in.
    pub submitted: SystemTime,
    /// When its function began, by the engine's clock; known of those that have a result.
    pub started: Option<SystemTime>,
    /// When its function ended, by the engine's clock; for one that failed, when that became known.
    pub completed: Option<SystemTime>,
    /// How often it was given to another engine.
    pub retries: u32,
    /// The task that this one repeats: see [`resubmit`](super::Client::resubmit).
    pub resubmission_of: Option<TaskId>,
}

impl TaskRecord {
    /// How long the function ran, if that is known.
    pub fn duration(&self) -> Option<Duration> {
        self.completed?.duration_since(self.started?).ok()
    }
}

/// Which tasks are asked for: those that meet all that is said, in the order in which they were handed in.
///
/// ```
/// use unidist::view::Query;
///
/// let failures_of_the_sweep = Query::new().label("sweep").failed();
/// # let _ = failures_of_the_sweep;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub(crate) ids: Option<Vec<TaskId>>,
    pub(crate) label: Option<String>,
    pub(crate) function: Option<String>,
    pub(crate) engine: Option<EngineId>,
    pub(crate) status: Option<TaskStatus>,
    pub(crate) ended: Option<bool>,
    pub(crate) since: Option<SystemTime>,
    pub(crate) before: Option<SystemTime>,
    pub(crate) limit: Option<usize>,
}

impl Query {
    /// All.
    pub fn new() -> Self {
        Query::default()
    }

    /// Those of these ids.
    #[must_use]
    pub fn ids(mut self, ids: impl IntoIterator<Item = TaskId>) -> Self {
        self.ids = Some(ids.into_iter().collect());
        self
    }

    /// Those that have this label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Those whose function's name has this part.
    #[must_use]
    pub fn function(mut self, part: impl Into<String>) -> Self {
        self.function = Some(part.into());
        self
    }

    /// Those that were last given to this engine.
    #[must_use]
    pub fn engine(mut self, engine: EngineId) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Those that are so far.
    #[must_use]
    pub fn status(mut self, status: TaskStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Those that have failed.
    #[must_use]
    pub fn failed(self) -> Self {
        self.status(TaskStatus::Failed)
    }

    /// Those that have ended, in whatever way, or those that have not.
    #[must_use]
    pub fn ended(mut self, ended: bool) -> Self {
        self.ended = Some(ended);
        self
    }

    /// Those that were handed in at this time or later.
    #[must_use]
    pub fn submitted_since(mut self, time: SystemTime) -> Self {
        self.since = Some(time);
        self
    }

    /// Those that were handed in before this time.
    #[must_use]
    pub fn submitted_before(mut self, time: SystemTime) -> Self {
        self.before = Some(time);
        self
    }

    /// At most so many, the first of all that would be given.
    #[must_use]
    pub fn limit(mut self, count: usize) -> Self {
        self.limit = Some(count);
        self
    }

    pub(crate) fn is_met_by(&self, record: &TaskRecord) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
            && self.label.as_ref().is_none_or(|label| record.label.as_ref() == Some(label))
            && self.function.as_ref().is_none_or(|part| record.function.contains(part))
            && self.engine.is_none_or(|engine| record.engine == Some(engine))
            && self.status.is_none_or(|status| record.status == status)
            && self.ended.is_none_or(|ended| record.status.has_ended() == ended)
            && self.since.is_none_or(|time| record.submitted >= time)
            && self.before.is_none_or(|time| record.submitted < time)
    }
}
