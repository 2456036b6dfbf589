//! [`Client`]: the engines, and what was asked of them.

use super::balanced::LoadBalancedView;
use super::broadcast::BroadcastView;
use super::call::Decoder;
use super::direct::DirectView;
use super::engines::Targets;
use super::error::{EngineId, Result, ViewError};
use super::history::History;
use super::hub::{Hub, Order};
use super::record::{Query, TaskId, TaskRecord};
use super::result::{AsyncResult, Part};
use super::task::{Gate, Placement, Task};
use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use unidist_core::{Portable, current_call, current_worker, end_worker, session, wait_for_workers};

/// How many results are kept, unless something else is said.
const KEPT: usize = 1024;

/// Views of the session's engines, and a memory of what they were asked to do.
///
/// Engines are the session's workers, by numbers that are given to them in the order in which the client first sees them.
/// One that dies keeps its number, and the one that takes its place has the next. Clones are of the same client; two
/// clients of one session share its workers, but neither numbers nor namespaces.
///
/// When the last clone, view and result of a client is dropped, what it has sent to engines runs on, and what still waits
/// in it never runs. Its names on the engines are forgotten.
#[derive(Clone)]
pub struct Client {
    hub: Arc<Hub>,
}

/// Options of a client: see [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `build`"]
pub struct ClientBuilder {
    history: History,
    keep: usize,
}

impl ClientBuilder {
    /// Where the history is kept.
    pub fn history(self, history: History) -> Self {
        ClientBuilder { history, ..self }
    }

    /// Of how many of the latest tasks that have ended results and arguments are kept, for
    /// [`get_result`](Client::get_result) and [`resubmit`](Client::resubmit): 1024 unless said otherwise. What an
    /// [`AsyncResult`] is of is there for as long as that is.
    pub fn keep_results(self, count: usize) -> Self {
        ClientBuilder { keep: count, ..self }
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// There is no session, this is code of a task, or the history cannot be opened.
    pub fn build(self) -> Result<Client> {
        if current_call().is_some() || current_worker().is_some() {
            let message =
                "a client was made in a task: views are for the program, in a task use `.remote`".to_owned();
            return Err(ViewError::WrongPlace { message });
        }
        session::current("view::Client::new")?;
        Ok(Client { hub: Hub::start(self.history.open()?, self.keep)? })
    }
}

impl Client {
    /// A client of the session, with a history in memory.
    ///
    /// # Errors
    ///
    /// There is no session, or this is code of a task.
    pub fn new() -> Result<Client> {
        Client::builder().build()
    }

    /// A client with options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder { history: History::default(), keep: KEPT }
    }

    /// The engines that there are now, in order.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn ids(&self) -> Result<Vec<EngineId>> {
        self.hub.shared.look_for_engines()
    }

    /// The address of each engine's host.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn hosts(&self) -> Result<BTreeMap<EngineId, String>> {
        self.ids()?;
        let state = self.hub.shared.lock();
        let alive = state.engines.iter().filter(|(_, engine)| engine.is_alive);
        Ok(alive.map(|(id, engine)| (id, engine.host.clone())).collect())
    }

    /// Waits until there are so many engines.
    ///
    /// # Errors
    ///
    /// [`TooFewEngines`](ViewError::TooFewEngines) if there are not in time, or the session has ended.
    pub fn wait_for_engines(&self, count: usize, timeout: Option<Duration>) -> Result<Vec<EngineId>> {
        wait_for_workers(count, timeout)?;
        let engines = self.ids()?;
        if engines.len() < count {
            return Err(ViewError::TooFewEngines { wanted: count, engines });
        }
        Ok(engines)
    }

    /// A view of some engines: `0`, `-1` (the last), `..2`, `[0, 2]`, `..` (all). Which these are is decided now.
    ///
    /// # Errors
    ///
    /// There is no such engine, or no engine was chosen.
    pub fn view(&self, targets: impl Into<Targets>) -> Result<DirectView> {
        let targets = self.hub.resolve(&targets.into())?;
        Ok(DirectView::new(self.hub.clone(), targets))
    }

    /// A view that gives each task to one of these engines; for `..`, to one of all that there are at any time.
    ///
    /// # Errors
    ///
    /// There is no such engine, or no engine was chosen.
    pub fn load_balanced_view(&self, targets: impl Into<Targets>) -> Result<LoadBalancedView> {
        let targets = self.hub.chosen(&targets.into())?;
        Ok(LoadBalancedView::new(self.hub.clone(), targets))
    }

    /// A view of some engines that sends arguments once for all.
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
    /// [`UnknownTask`](ViewError::UnknownTask) if there is none or it is kept no more,
    /// [`WrongType`](ViewError::WrongType) if its results are no `T`s.
    pub fn get_result<T: Portable>(&self, id: TaskId) -> Result<AsyncResult<T>> {
        let part = part(self.task(id)?)?;
        let label = part.task.record().label;
        Ok(AsyncResult::new(self.hub.clone(), vec![part], label))
    }

    /// The tasks that have not ended.
    pub fn outstanding(&self) -> Vec<TaskId> {
        let state = self.hub.shared.lock();
        let mut ids: Vec<_> =
            state.tasks.values().filter(|task| !task.has_ended()).map(|task| task.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Waits until all tasks have ended that have not now, or the time is over; whether they have.
    pub fn wait_all(&self, timeout: Option<Duration>) -> bool {
        let tasks: Vec<_> = self.hub.shared.lock().tasks.values().cloned().collect();
        Gate::of(&tasks).wait(tasks.len(), timeout) == tasks.len()
    }

    /// Waits until these tasks have ended, or the time is over; whether they have.
    ///
    /// # Errors
    ///
    /// There is no such task.
    pub fn wait(&self, ids: impl IntoIterator<Item = TaskId>, timeout: Option<Duration>) -> Result<bool> {
        let tasks = self.known(ids)?;
        Ok(Gate::of(&tasks).wait(tasks.len(), timeout) == tasks.len())
    }

    /// Aborts these tasks: see [`AsyncResult::abort`].
    ///
    /// # Errors
    ///
    /// There is no such task, or the session has ended.
    pub fn abort(&self, ids: impl IntoIterator<Item = TaskId>) -> Result<usize> {
        let tasks = self.known(ids)?;
        self.hub.shared.abort(&tasks)
    }

    /// Takes all names away from some engines; it overtakes whatever waits there.
    ///
    /// # Errors
    ///
    /// There is no such engine, or it died.
    pub fn clear(&self, targets: impl Into<Targets>) -> Result<()> {
        self.view(targets)?.clear().get(None).map(drop)
    }

    /// Ends some engines, each when it has ended what it runs; no others take their places. To end all (`..`) is to end the
    /// session; the last one cannot be ended alone.
    ///
    /// # Errors
    ///
    /// There is no such engine, or the session has ended.
    pub fn shutdown(&self, targets: impl Into<Targets>) -> Result<()> {
        self.ids()?;
        let targets = targets.into();
        if targets.are_all() {
            return Ok(session::close()?);
        }
        let mut targets = self.hub.shared.lock().engines.resolve(&targets)?;
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            let worker = {
                let mut state = self.hub.shared.lock();
                let worker = state.engines.get_mut(target).map(|engine| {
                    engine.is_alive = false; // it is given nothing more
                    engine.is_disturbed = true; // what it has not begun goes elsewhere
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

    /// How much each engine has to do, and how much waits in the client.
    pub fn queue_status(&self) -> QueueStatus {
        let state = self.hub.shared.lock();
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
    /// [`UnknownTask`](ViewError::UnknownTask) for one that is not in the history.
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

    /// What the history knows.
    ///
    /// # Errors
    ///
    /// The history cannot be read.
    pub fn db_query(&self, query: &Query) -> Result<Vec<TaskRecord>> {
        self.hub.shared.history().query(query)
    }

    /// Runs tasks again, with the same arguments, as tasks of their own: one of a direct view on its engine, others
    /// wherever there is room.
    ///
    /// # Errors
    ///
    /// As for [`get_result`](Client::get_result); then none is run.
    pub fn resubmit<T: Portable>(&self, ids: impl IntoIterator<Item = TaskId>) -> Result<AsyncResult<T>> {
        let parts = self.known(ids)?.into_iter().map(part::<T>).collect::<Result<Vec<_>>>()?;
        let orders = parts.iter().map(|part| {
            let task = &part.task;
            let placement = match &task.placement {
                Placement::Engine(engine) => Placement::Engine(*engine),
                // What it depended on has ended, one way or the other.
                Placement::Balanced(job) => {
                    let job = super::balancing::Job { after: None, follow: None, ..job.clone() };
                    Placement::Balanced(job)
                }
            };
            Order {
                call: task.call.clone(),
                placement,
                label: task.record().label,
                resubmission_of: Some(task.id),
            }
        });
        let tasks = self.hub.shared.submit(orders.collect());
        let parts = tasks.into_iter().zip(parts).map(|(task, part)| Part { task, ..part });
        Ok(AsyncResult::new(self.hub.clone(), parts.collect(), None))
    }

    /// Forgets tasks that have ended, whatever program they were of: their records, results and arguments. How many
    /// records there were.
    ///
    /// # Errors
    ///
    /// The history cannot be written.
    pub fn purge_results(&self, query: &Query) -> Result<usize> {
        let found = self.db_query(&query.clone().ended(true))?;
        let ids: Vec<TaskId> = found.into_iter().map(|record| record.id).collect();
        self.hub.shared.forget(&ids);
        self.hub.shared.history().forget(&ids)
    }

    fn task(&self, id: TaskId) -> Result<Arc<Task>> {
        let task = self.hub.shared.lock().tasks.get(&id).cloned();
        task.ok_or(ViewError::UnknownTask { task: id })
    }

    fn known(&self, ids: impl IntoIterator<Item = TaskId>) -> Result<Vec<Arc<Task>>> {
        ids.into_iter().map(|id| self.task(id)).collect()
    }
}

impl Hub {
    /// The engines that are meant, as of now.
    pub(crate) fn resolve(&self, targets: &Targets) -> Result<Vec<EngineId>> {
        self.shared.look_for_engines()?;
        self.shared.lock().engines.resolve(targets)
    }

    /// The same; none if all.
    pub(crate) fn chosen(&self, targets: &Targets) -> Result<Option<Vec<EngineId>>> {
        let found = self.resolve(targets)?;
        Ok((!targets.are_all()).then_some(found))
    }
}

fn part<T: Portable>(task: Arc<Task>) -> Result<Part<T>> {
    match task.call.decoder().downcast_ref::<Decoder<T>>() {
        Some(decode) => Ok(Part { decode: *decode, task }),
        None => Err(ViewError::WrongType {
            what: format!("a result of task {}", task.id),
            asked: type_name::<T>().to_owned(),
            found: task.call.item().to_owned(),
        }),
    }
}

impl PartialEq for Client {
    /// Whether they are clones.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.hub, &other.hub)
    }
}

impl Eq for Client {}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:016x}, {} tasks outstanding)", self.hub.shared.number, self.outstanding().len())
    }
}

/// What [`Client::queue_status`] gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStatus {
    /// Each engine that there is.
    pub engines: BTreeMap<EngineId, EngineStatus>,
    /// Tasks of load-balanced views that wait in the client, for others or for an engine.
    pub unassigned: usize,
}

/// How much an engine has to do for a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStatus {
    /// Tasks of direct views that it has and has not ended.
    pub queue: usize,
    /// The same of load-balanced views.
    pub tasks: usize,
    /// Tasks that it has ended.
    pub completed: u64,
}

/// What [`Client::result_status`] gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResultStatus {
    /// Those that have ended.
    pub completed: Vec<TaskId>,
    /// Those that have not.
    pub pending: Vec<TaskId>,
}
