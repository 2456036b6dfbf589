//! Records of tasks, and queries for them.

use super::error::EngineId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// The id of a task: unique across programs and sessions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// The client's number, chosen at random.
    pub(crate) client: u64,
    /// The task's sequence number in the client.
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

    /// Parses the output of `to_string`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (client, number) = text.split_once('-')?;
            Some(TaskId { client: u64::from_str_radix(client, 16).ok()?, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| format!("`{text}` is not a task id: an id looks like `0123456789abcdef-7`"))
    }
}

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskStatus {
    /// It waits in the client, for other tasks or for an engine.
    Queued,
    /// It was sent to an engine.
    Sent,
    /// It has a result.
    Completed,
    /// It failed.
    Failed,
    /// It was aborted.
    Aborted,
}

impl TaskStatus {
    /// Whether it has ended: completed, failed or aborted.
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

/// The history's record of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// The name of its function.
    pub function: String,
    /// The label of its view.
    pub label: Option<String>,
    /// The engine that it was last sent to.
    pub engine: Option<EngineId>,
    /// Its state. If the program ended before the task, the state at that time.
    pub status: TaskStatus,
    /// The error that it failed with.
    pub error: Option<String>,
    /// When it was submitted.
    pub submitted: SystemTime,
    /// When its function started, by the engine's clock; only for tasks with a result.
    pub started: Option<SystemTime>,
    /// When its function ended, by the engine's clock; for a failed task, when the client learned of it.
    pub completed: Option<SystemTime>,
    /// How often it was sent again.
    pub retries: u32,
    /// The task that it repeats: see [`resubmit`](super::Client::resubmit).
    pub resubmission_of: Option<TaskId>,
}

impl TaskRecord {
    /// How long the function ran, if both times are known.
    pub fn duration(&self) -> Option<Duration> {
        self.completed?.duration_since(self.started?).ok()
    }
}

/// A query for tasks: selects those that meet all conditions, in the order of their submission.
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
    /// A query for all tasks.
    pub fn new() -> Self {
        Query::default()
    }

    /// Only tasks with these ids.
    #[must_use]
    pub fn ids(mut self, ids: impl IntoIterator<Item = TaskId>) -> Self {
        self.ids = Some(ids.into_iter().collect());
        self
    }

    /// Only tasks with this label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Only tasks whose function's name contains this text.
    #[must_use]
    pub fn function(mut self, part: impl Into<String>) -> Self {
        self.function = Some(part.into());
        self
    }

    /// Only tasks that were last sent to this engine.
    #[must_use]
    pub fn engine(mut self, engine: EngineId) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Only tasks in this state.
    #[must_use]
    pub fn status(mut self, status: TaskStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Only tasks that failed.
    #[must_use]
    pub fn failed(self) -> Self {
        self.status(TaskStatus::Failed)
    }

    /// Only tasks that have ended (`true`), or that have not (`false`).
    #[must_use]
    pub fn ended(mut self, ended: bool) -> Self {
        self.ended = Some(ended);
        self
    }

    /// Only tasks submitted at this time or later.
    #[must_use]
    pub fn submitted_since(mut self, time: SystemTime) -> Self {
        self.since = Some(time);
        self
    }

    /// Only tasks submitted before this time.
    #[must_use]
    pub fn submitted_before(mut self, time: SystemTime) -> Self {
        self.before = Some(time);
        self
    }

    /// At most `count` tasks, the first ones.
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
