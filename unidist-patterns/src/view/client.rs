//! [`Client`]: the engines of a session, and the records of their tasks.

use super::balanced::LoadBalancedView;
use super::broadcast::BroadcastView;
use super::call::Decoder;
use super::client_loop::{ClientLoop, Submission};
use super::direct::DirectView;
use super::engines::Targets;
use super::error::{EngineId, Result, ViewError};
use super::history::History;
use super::record::{Query, TaskId, TaskRecord};
use super::result::{AsyncResult, Part};
use super::task::{Completions, Placement, Task};
use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use unidist_core::{Portable, current_call, current_worker, end_worker, session, wait_for_workers};

/// The default of [`ClientBuilder::keep_results`].
const DEFAULT_KEEP_RESULTS: usize = 1024;

/// Makes views of the session's engines, and keeps records of their tasks.
///
/// Engines are the session's workers, numbered in the order in which the client first sees them. An engine that dies
/// keeps its number, and the worker that replaces it gets the next one. Clones share one client; two clients of a
/// session share its workers, but neither numbers nor namespaces.
///
/// When the last clone, view and result of a client is dropped, tasks that were sent to engines continue, and tasks
/// that still wait in the client never run. The client's namespaces on the engines are deleted.
#[derive(Clone)]
pub struct Client {
    client_loop: Arc<ClientLoop>,
}

/// Options of a client: see [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `build`"]
pub struct ClientBuilder {
    history: History,
    keep: usize,
}

impl ClientBuilder {
    /// Where the history is kept: in memory by default.
    pub fn history(self, history: History) -> Self {
        ClientBuilder { history, ..self }
    }

    /// How many ended tasks keep their results and arguments, for [`get_result`](Client::get_result) and
    /// [`resubmit`](Client::resubmit): the latest 1024 by default. The tasks of an [`AsyncResult`] are kept as long as
    /// it exists.
    pub fn keep_results(self, count: usize) -> Self {
        ClientBuilder { keep: count, ..self }
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// There is no session, the caller is a task, or the history cannot be opened.
    pub fn build(self) -> Result<Client> {
        if current_call().is_some() || current_worker().is_some() {
            let message =
                "a view client cannot be made in a task: make it in the program, and use `.remote` in tasks"
                    .to_owned();
            return Err(ViewError::WrongPlace { message });
        }
        session::current("view::Client::new")?;
        Ok(Client { client_loop: ClientLoop::start(self.history.open()?, self.keep)? })
    }
}

impl Client {
    /// A client of the session, with a history in memory.
    ///
    /// # Errors
    ///
    /// There is no session, or the caller is a task.
    pub fn new() -> Result<Client> {
        Client::builder().build()
    }

    /// A client with options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder { history: History::default(), keep: DEFAULT_KEEP_RESULTS }
    }

    /// The live engines, in order.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn ids(&self) -> Result<Vec<EngineId>> {
        self.client_loop.shared.refresh_engines()
    }

    /// The address of each engine's host.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn hosts(&self) -> Result<BTreeMap<EngineId, String>> {
        self.ids()?;
        let state = self.client_loop.shared.lock();
        let alive = state.engines.iter().filter(|(_, engine)| engine.is_alive);
        Ok(alive.map(|(id, engine)| (id, engine.host.clone())).collect())
    }

    /// Waits until there are `count` engines.
    ///
    /// # Errors
    ///
    /// [`TooFewEngines`](ViewError::TooFewEngines) if the time-out passes first, or the session has ended.
    pub fn wait_for_engines(&self, count: usize, timeout: Option<Duration>) -> Result<Vec<EngineId>> {
        wait_for_workers(count, timeout)?;
        let engines = self.ids()?;
        if engines.len() < count {
            return Err(ViewError::TooFewEngines { wanted: count, engines });
        }
        Ok(engines)
    }

    /// A view of some engines: `0`, `-1` (the last), `..2`, `[0, 2]`, `..` (all). The selection is made now and never
    /// changes.
    ///
    /// # Errors
    ///
    /// There is no such engine, or the selection is empty.
    pub fn view(&self, targets: impl Into<Targets>) -> Result<DirectView> {
        let targets = self.client_loop.resolve(&targets.into())?;
        Ok(DirectView::new(self.client_loop.clone(), targets))
    }

    /// A view that sends each task to one of these engines; for `..`, to one of all live engines, later ones included.
    ///
    /// # Errors
    ///
    /// There is no such engine, or the selection is empty.
    pub fn load_balanced_view(&self, targets: impl Into<Targets>) -> Result<LoadBalancedView> {
        let targets = self.client_loop.resolve_or_all(&targets.into())?;
        Ok(LoadBalancedView::new(self.client_loop.clone(), targets))
    }

    /// A view of some engines that sends arguments once for all engines.
    ///
    /// # Errors
    ///
    /// As for [`view`](Client::view).
    pub fn broadcast_view(&self, targets: impl Into<Targets>) -> Result<BroadcastView> {
        self.view(targets).map(BroadcastView::new)
    }

    /// The result of a task of this client, by its id.
    ///
    /// # Errors
    ///
    /// [`UnknownTask`](ViewError::UnknownTask) if the client has no such task or no longer keeps it,
    /// [`WrongType`](ViewError::WrongType) if its results are not of type `T`.
    pub fn get_result<T: Portable>(&self, id: TaskId) -> Result<AsyncResult<T>> {
        let part = part(self.task(id)?)?;
        let label = part.task.record().label;
        Ok(AsyncResult::new(self.client_loop.clone(), vec![part], label))
    }

    /// The tasks that have not ended.
    pub fn outstanding(&self) -> Vec<TaskId> {
        let state = self.client_loop.shared.lock();
        let mut ids: Vec<_> =
            state.tasks.values().filter(|task| !task.has_ended()).map(|task| task.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Waits until all current tasks have ended or the time-out has passed. Returns whether they have ended.
    pub fn wait_all(&self, timeout: Option<Duration>) -> bool {
        let tasks: Vec<_> = self.client_loop.shared.lock().tasks.values().cloned().collect();
        Completions::of(&tasks).wait(tasks.len(), timeout) == tasks.len()
    }

    /// Waits until these tasks have ended or the time-out has passed. Returns whether they have ended.
    ///
    /// # Errors
    ///
    /// There is no such task.
    pub fn wait(&self, ids: impl IntoIterator<Item = TaskId>, timeout: Option<Duration>) -> Result<bool> {
        let tasks = self.known(ids)?;
        Ok(Completions::of(&tasks).wait(tasks.len(), timeout) == tasks.len())
    }

    /// Aborts these tasks and returns how many had not ended: see [`AsyncResult::abort`].
    ///
    /// # Errors
    ///
    /// There is no such task, or the session has ended.
    pub fn abort(&self, ids: impl IntoIterator<Item = TaskId>) -> Result<usize> {
        let tasks = self.known(ids)?;
        self.client_loop.shared.abort(&tasks)
    }

    /// Removes all names from the namespaces of some engines, ahead of calls that wait there.
    ///
    /// # Errors
    ///
    /// There is no such engine, or it has died.
    pub fn clear(&self, targets: impl Into<Targets>) -> Result<()> {
        self.view(targets)?.clear().get(None).map(drop)
    }

    /// Stops some engines, each after its running task; they are not replaced. Stopping all (`..`) closes the session;
    /// the last engine cannot be stopped alone.
    ///
    /// # Errors
    ///
    /// There is no such engine, or the session has ended.
    pub fn shutdown(&self, targets: impl Into<Targets>) -> Result<()> {
        self.ids()?;
        let targets = targets.into();
        if targets.is_all() {
            return Ok(session::close()?);
        }
        let mut targets = self.client_loop.shared.lock().engines.resolve(&targets)?;
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            let worker = {
                let mut state = self.client_loop.shared.lock();
                let worker = state.engines.get_mut(target).map(|engine| {
                    engine.is_alive = false; // it gets no more tasks
                    engine.has_aborted_task = true; // what it has not submitted_at goes elsewhere
                    engine.worker
                });
                state.expected = state.expected.saturating_sub(1);
                worker
            };
            if let Some(worker) = worker {
                end_worker(worker)?;
            }
        }
        self.ids().map(drop)
    }

    /// The load of each engine, and the number of tasks that wait in the client.
    pub fn queue_status(&self) -> QueueStatus {
        let state = self.client_loop.shared.lock();
        let of = |engine: &super::engines::Engine| EngineStatus {
            queue: engine.queue,
            tasks: engine.tasks,
            completed: engine.completed,
        };
        let alive = state.engines.iter().filter(|(_, engine)| engine.is_alive);
        QueueStatus {
            engines: alive.map(|(id, engine)| (id, of(engine))).collect(),
            unassigned: state.balancer.unassigned(),
        }
    }

    /// Which of these tasks have ended.
    ///
    /// # Errors
    ///
    /// [`UnknownTask`](ViewError::UnknownTask) for a task that is not in the history.
    pub fn result_status(&self, ids: impl IntoIterator<Item = TaskId>) -> Result<ResultStatus> {
        let ids: Vec<_> = ids.into_iter().collect();
        let found: BTreeMap<TaskId, TaskRecord> = self
            .db_query(&Query::new().ids(ids.iter().copied()))?
            .into_iter()
            .map(|record| (record.id, record))
            .collect();
        let mut status = ResultStatus::default();
        for id in ids {
            let record = found.get(&id).ok_or(ViewError::UnknownTask { task: id })?;
            let list = if record.status.has_ended() { &mut status.completed } else { &mut status.pending };
            list.push(id);
        }
        Ok(status)
    }

    /// The records in the history that match the query.
    ///
    /// # Errors
    ///
    /// The history cannot be read.
    pub fn db_query(&self, query: &Query) -> Result<Vec<TaskRecord>> {
        self.client_loop.shared.history().query(query)
    }

    /// Runs tasks again with the same arguments, as new tasks: a task of a direct view on its engine, a task of a
    /// load-balanced view on any of the view's engines.
    ///
    /// # Errors
    ///
    /// Those of [`get_result`](Client::get_result); then no task runs.
    pub fn resubmit<T: Portable>(&self, ids: impl IntoIterator<Item = TaskId>) -> Result<AsyncResult<T>> {
        let parts = self.known(ids)?.into_iter().map(part::<T>).collect::<Result<Vec<_>>>()?;
        let submissions = parts.iter().map(|part| {
            let task = &part.task;
            let placement = match &task.placement {
                Placement::Engine(engine) => Placement::Engine(*engine),
                // Its dependencies have ended already.
                Placement::Balanced(job) => {
                    let job = super::load_balancer::Requirements { after: None, follow: None, ..job.clone() };
                    Placement::Balanced(job)
                }
            };
            Submission {
                call: task.call.clone(),
                placement,
                label: task.record().label,
                resubmission_of: Some(task.id),
            }
        });
        let tasks = self.client_loop.shared.submit(submissions.collect());
        let parts = tasks.into_iter().zip(parts).map(|(task, part)| Part { task, ..part });
        Ok(AsyncResult::new(self.client_loop.clone(), parts.collect(), None))
    }

    /// Deletes the records, results and arguments of ended tasks, those of other programs included. Returns how many
    /// records were deleted.
    ///
    /// # Errors
    ///
    /// The history cannot be written.
    pub fn purge_results(&self, query: &Query) -> Result<usize> {
        let found = self.db_query(&query.clone().ended(true))?;
        let ids: Vec<TaskId> = found.into_iter().map(|record| record.id).collect();
        self.client_loop.shared.forget(&ids);
        self.client_loop.shared.history().remove(&ids)
    }

    fn task(&self, id: TaskId) -> Result<Arc<Task>> {
        let task = self.client_loop.shared.lock().tasks.get(&id).cloned();
        task.ok_or(ViewError::UnknownTask { task: id })
    }

    fn known(&self, ids: impl IntoIterator<Item = TaskId>) -> Result<Vec<Arc<Task>>> {
        ids.into_iter().map(|id| self.task(id)).collect()
    }
}

impl ClientLoop {
    /// The engines that `targets` selects now.
    pub(crate) fn resolve(&self, targets: &Targets) -> Result<Vec<EngineId>> {
        self.shared.refresh_engines()?;
        self.shared.lock().engines.resolve(targets)
    }

    /// The same; `None` for all engines, later ones included.
    pub(crate) fn resolve_or_all(&self, targets: &Targets) -> Result<Option<Vec<EngineId>>> {
        let found = self.resolve(targets)?;
        Ok((!targets.is_all()).then_some(found))
    }
}

fn part<T: Portable>(task: Arc<Task>) -> Result<Part<T>> {
    match task.call.decoder().downcast_ref::<Decoder<T>>() {
        Some(decode) => Ok(Part { decode: *decode, task }),
        None => Err(ViewError::WrongType {
            what: format!("a result of task {}", task.id),
            asked: type_name::<T>().to_owned(),
            found: task.call.result_type().to_owned(),
        }),
    }
}

impl PartialEq for Client {
    /// Whether they are clones.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client_loop, &other.client_loop)
    }
}

impl Eq for Client {}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Client({:016x}, {} tasks outstanding)",
            self.client_loop.shared.number,
            self.outstanding().len()
        )
    }
}

/// The result of [`Client::queue_status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStatus {
    /// The live engines.
    pub engines: BTreeMap<EngineId, EngineStatus>,
    /// The number of tasks of load-balanced views that wait in the client, for other tasks or for an engine.
    pub unassigned: usize,
}

/// The load that a client puts on an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStatus {
    /// The number of unfinished tasks of direct views.
    pub queue: usize,
    /// The number of unfinished tasks of load-balanced views.
    pub tasks: usize,
    /// The number of tasks that have ended on it.
    pub completed: u64,
}

/// The result of [`Client::result_status`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResultStatus {
    /// The tasks that have ended.
    pub completed: Vec<TaskId>,
    /// The tasks that have not.
    pub pending: Vec<TaskId>,
}
