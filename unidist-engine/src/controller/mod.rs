//! The controller: the user's program, with the engine in it.
//!
//! `driver` takes the engine's turns, `driving` says on which thread, `local_store` has the memory, and [`Controller`] is
//! the [`Backend`] that the program calls.
//!
//! Whoever waits drives. A thread that waits for an answer takes the engine's turns itself, so no other thread has to
//! be woken; a thread that hands something in takes a turn at once. While nobody does, the engine thread sleeps on the
//! bell as its standby.

mod driver;
mod event_loop;
mod inbox;
mod local_store;
mod settings;
mod shutdown_once;
mod timers;

pub use settings::{ControllerSettings, HostSettings, OtherHosts};

use crate::client::pending::{Callback, PendingRequests};
use crate::host::supervisor::{Supervisor, SupervisorConfig};
use crate::host::{HostMemory, allow_open_files};
use crate::link::handshake::Welcome;
use crate::protocol::worker::{FromWorker, Reply, Request, RequestId, Value};
use crate::scheduler::{Limits, Scheduler};
use crate::store::arena::Arena;
use crate::store::client::ObjectStore;
use crate::store::segment::HEADER;
use driver::Driver;
use event_loop::EventLoop;
use inbox::Inbox;
use local_store::{LocalStore, SharedArena};
use shutdown_once::ShutdownOnce;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use timers::NextDeadline;
use unidist_backend::{
    Backend, CallStatus, ClusterInfo, Outcome, Program, StoreUsage, Which, WorkerInfo, WritableBuffer,
};
use unidist_common::{DataId, Error, IdSource, Object, ProcessId, Result, TaskSpec};

/// The engine of a session, seen from the program.
pub struct Controller {
    shared: Arc<EventLoop>,
    store: ObjectStore,
    settings: ControllerSettings,
    engine_thread: Mutex<Option<JoinHandle<()>>>,
    shutdown_once: ShutdownOnce,
}

impl Controller {
    /// Starts the workers of a session on this host and waits until they have joined.
    ///
    /// # Errors
    ///
    /// The system refuses memory or processes, or no worker joins.
    pub fn start(settings: ControllerSettings, program: Program) -> Result<Controller> {
        Controller::start_engine(settings, program, None)
    }

    /// The same with other hosts, on each of which a monitor [serves](crate::monitor::serve) the network. However the
    /// session ends, and also if it cannot start, the network is handed to [`OtherHosts::on_end`].
    ///
    /// # Errors
    ///
    /// As [`start`](Controller::start); or a monitor does not answer in time, or refuses.
    pub fn start_on_hosts(
        settings: ControllerSettings,
        others: OtherHosts,
        program: Program,
    ) -> Result<Controller> {
        Controller::start_engine(settings, program, Some(others))
    }

    fn start_engine(
        settings: ControllerSettings,
        program: Program,
        others: Option<OtherHosts>,
    ) -> Result<Controller> {
        let (others, hosts) = others.map(OtherHosts::split).unzip();
        let others = others.unwrap_or_default();
        let cluster = settings.cluster(&others);
        allow_open_files();
        let memory = HostMemory::create(
            settings.object_store_memory,
            settings.spill_dir.as_ref(),
            settings.spill_limit,
        )?;
        let HostMemory { segment, spill } = memory;
        let spill_file = spill.as_ref().map(|(_, file)| file.clone());
        let inbox = Arc::new(Inbox::new());
        let notify = {
            let (inbox, segment) = (inbox.clone(), segment.clone());
            Box::new(move |notice| {
                inbox.notice(notice);
                segment.bell().ring();
            })
        };
        let welcome = Welcome {
            build_id: (program.build_id)(),
            process: ProcessId::CONTROLLER,
            actor: false,
            log_dir: settings.log_dir.clone(),
            host: (!others.is_empty()).then(crate::host::host_name),
            inline_limit: settings.inline_limit,
        };
        let config = SupervisorConfig {
            command: settings.launch.clone(),
            segment: segment.clone(),
            spill: spill_file.clone(),
            welcome,
            notify,
        };
        let supervisor = Arc::new(Supervisor::start(config)?);
        let blocks = SharedArena::new(Arena::new(HEADER, segment.len()));
        let requests = Arc::new(PendingRequests::default());
        let scheduler = Scheduler::new(Limits {
            hosts: settings.all_limits(&others),
            cancel_grace: settings.cancel_grace,
        });
        let pending = Arc::new(AtomicUsize::new(0));
        let mut driver = Driver::new(
            scheduler,
            inbox.clone(),
            supervisor.clone(),
            LocalStore::new(segment.clone(), blocks.clone(), spill),
            requests.clone(),
            cluster,
            pending.clone(),
        );
        if let Some(mut hosts) = hosts {
            let met = hosts.meet(settings.monitor_specs(&others, &(program.build_id)(), hosts.backoff()));
            if let Err(error) = met {
                supervisor.end();
                return Err(error);
            }
            driver.reach(hosts);
        }
        let shared = Arc::new(EventLoop {
            ids: IdSource::new(ProcessId::CONTROLLER),
            segment: segment.clone(),
            inbox,
            requests,
            blocks,
            supervisor,
            driver: Mutex::new(driver),
            parked: Mutex::default(),
            pending,
            throttled: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            deadline: NextDeadline::new(),
            deaf_for: AtomicU64::new(u64::MAX),
        });
        let engine = shared.clone();
        let thread =
            std::thread::Builder::new().name("unidist-engine".into()).spawn(move || engine.stand_by());
        let controller = Controller {
            store: ObjectStore::new(segment, spill_file, shared.clone(), settings.inline_limit as usize),
            shared,
            settings,
            engine_thread: Mutex::default(),
            shutdown_once: ShutdownOnce::default(),
        };
        let thread = thread.map_err(|error| Error::system("starting the engine's thread", error))?;
        *controller.engine_thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        controller.start_workers()?;
        Ok(controller)
    }

    fn start_workers(&self) -> Result<()> {
        self.shared.lock_driver().start_workers();
        let mut started = None;
        self.shared.drive_until(None, |driver| {
            started = driver.and_then(Driver::started);
            started.is_some()
        });
        match started {
            Some(Err(error)) => {
                self.shutdown()?;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn request(&self, call: &str, ask: impl FnOnce(RequestId) -> Request) -> Result<Reply> {
        let (request, slot) = self.shared.requests.open();
        self.ask(call, request, ask(request));
        self.shared.drive_until(None, |_| slot.is_done());
        match slot.take() {
            Some(Reply::Failed(error)) => Err(error),
            Some(reply) => Ok(reply),
            None => Err(ended(call)),
        }
    }

    /// The same for a request that is answered with what is there when the time is over.
    fn request_until(
        &self,
        call: &str,
        timeout: Option<Duration>,
        ask: impl FnOnce(RequestId) -> Request,
    ) -> Result<Reply> {
        let (request, slot) = self.shared.requests.open();
        self.ask(call, request, ask(request));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.shared.drive_until(deadline, |_| slot.is_done());
        if !slot.is_done() {
            self.shared.inbox.ask(Request::Expire { request });
            self.shared.drive_until(None, |_| slot.is_done());
        }
        match slot.take() {
            Some(Reply::Failed(error)) => Err(error),
            Some(reply) => Ok(reply),
            None => Err(ended(call)),
        }
    }

    /// Hands a request in, and answers it if nobody else will.
    fn ask(&self, call: &str, request: RequestId, ask: Request) {
        if !self.shared.inbox.ask(ask) {
            let callback = self.shared.requests.answer(request, Reply::Failed(ended(call)));
            callback.into_iter().for_each(Callback::call);
        }
    }

    fn check_running(&self, call: &str) -> Result<()> {
        if self.shared.over.load(Ordering::Acquire) { Err(ended(call)) } else { Ok(()) }
    }
}

fn ended(call: &str) -> Error {
    Error::SessionEnded { call: call.into() }
}

/// The error of a call whose request was answered with something else.
pub(crate) fn unexpected(call: &str) -> Error {
    Error::system(call.to_owned(), "the engine gave an answer to another question")
}

impl Backend for Controller {
    fn name(&self) -> &'static str {
        self.settings.backend
    }

    fn reserve(&self, count: u32) -> DataId {
        self.shared.ids.reserve(count)
    }

    fn submit(&self, task: TaskSpec) {
        if let Some(most) = self.settings.max_pending_tasks {
            self.shared.throttled.fetch_add(1, Ordering::SeqCst);
            self.shared.drive_until(None, |_| self.shared.pending.load(Ordering::Relaxed) < most);
            self.shared.throttled.fetch_sub(1, Ordering::SeqCst);
        }
        self.shared.inbox.ask(Request::Submit { spec: Box::new(task), caller: None });
        self.shared.nudge();
    }

    fn put(&self, object: Object) -> Result<DataId> {
        self.check_running("put")?;
        let id = self.shared.ids.reserve(1);
        self.store.put(id, object, |stored, views| {
            self.shared.inbox.ask(Request::Put { id, object: stored, views });
        })?;
        Ok(id)
    }

    fn get(&self, ids: &[DataId]) -> Result<Vec<Outcome>> {
        self.check_running("get")?;
        match self.request("get", |request| Request::Get { request, ids: ids.to_vec(), blocks: None })? {
            Reply::Values(values) => Ok(load_all(&self.store, ids, &values)),
            _ => Err(unexpected("get")),
        }
    }

    fn wait(&self, ids: &[DataId], num_returns: usize, timeout: Option<Duration>) -> Result<Vec<usize>> {
        self.check_running("wait")?;
        let ask = |request| Request::Wait {
            request,
            ids: ids.to_vec(),
            count: num_returns as u64,
            timed: timeout.is_some(),
            blocks: None,
        };
        match self.request_until("wait", timeout, ask)? {
            Reply::Ready(positions) => Ok(positions.into_iter().map(|at| at as usize).collect()),
            _ => Err(unexpected("wait")),
        }
    }

    fn on_ready(&self, id: DataId, then: Box<dyn FnOnce(Outcome) + Send>) {
        if let Err(error) = self.check_running("await") {
            return then(Err(error.into()));
        }
        let store = self.store.clone();
        let request =
            self.shared.requests.open_with(Box::new(move |reply| then(load_one(&store, id, reply))));
        self.ask("await", request, Request::Get { request, ids: vec![id], blocks: None });
        self.shared.nudge();
    }

    fn retain(&self, id: DataId) {
        self.shared.inbox.ask(Request::Retain(id));
    }

    fn release(&self, id: DataId) {
        self.shared.inbox.ask(Request::Release(id));
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>> {
        self.check_running("put")?;
        self.store.allocate(len)
    }

    fn cluster(&self) -> Result<ClusterInfo> {
        self.check_running("cluster_resources")?;
        match self.shared.ask_store("cluster_resources", FromWorker::Cluster)? {
            Reply::Cluster(cluster) => Ok(cluster),
            _ => Err(unexpected("cluster_resources")),
        }
    }

    fn live_objects(&self) -> Result<usize> {
        self.check_running("live_objects")?;
        match self.request("live_objects", |request| Request::LiveObjects { request })? {
            Reply::Count(count) => Ok(count as usize),
            _ => Err(unexpected("live_objects")),
        }
    }

    fn store_usage(&self) -> Result<StoreUsage> {
        self.check_running("store_usage")?;
        match self.shared.ask_store("store_usage", FromWorker::StoreUsage)? {
            Reply::StoreUsage(usage) => Ok(usage),
            _ => Err(unexpected("store_usage")),
        }
    }

    fn cancel(&self, ids: &[DataId], which: Which) -> Result<usize> {
        self.check_running("cancel")?;
        match self.request("cancel", |request| Request::Cancel { request, ids: ids.to_vec(), which })? {
            Reply::Count(count) => Ok(count as usize),
            _ => Err(unexpected("cancel")),
        }
    }

    fn status(&self, ids: &[DataId]) -> Result<Vec<CallStatus>> {
        self.check_running("status")?;
        match self.request("status", |request| Request::Status { request, ids: ids.to_vec() })? {
            Reply::Status(found) if found.len() == ids.len() => Ok(found),
            _ => Err(unexpected("status")),
        }
    }

    fn workers(&self, at_least: usize, timeout: Option<Duration>) -> Result<Vec<WorkerInfo>> {
        self.check_running("workers")?;
        let ask = |request| Request::Workers { request, at_least: at_least as u64 };
        match self.request_until("workers", timeout, ask)? {
            Reply::Workers(workers) => Ok(workers),
            _ => Err(unexpected("workers")),
        }
    }

    fn current_worker(&self) -> Option<ProcessId> {
        None // no call runs in this process
    }

    fn end_worker(&self, worker: ProcessId) -> Result<bool> {
        self.check_running("end_worker")?;
        match self.request("end_worker", |request| Request::EndWorker { request, worker })? {
            Reply::Count(count) => Ok(count > 0),
            _ => Err(unexpected("end_worker")),
        }
    }

    fn is_cancelled(&self, _: DataId) -> bool {
        false // no call runs in this process
    }

    fn shutdown(&self) -> Result<()> {
        let Some(_end) = self.shutdown_once.begin() else {
            return Ok(());
        };
        let Some(thread) = self.engine_thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        self.shared.inbox.shutdown();
        self.shared.drive_until(None, |driver| driver.is_some_and(Driver::is_over));
        self.shared.over.store(true, Ordering::Release);
        self.shared.segment.bell().ring();
        self.shared.supervisor.end();
        let hosts = self.shared.lock_driver().take_hosts();
        drop(hosts); // whose monitors end, without the lock
        self.shared.inbox.close();
        self.shared.requests.answer_all(&Reply::Failed(ended("get")));
        if thread.thread().id() == std::thread::current().id() {
            return Ok(()); // a callback ends the session: the thread ends when that is done
        }
        thread.join().map_err(|_| Error::system("shutdown_once the engine's thread", "it has panicked"))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            log::error!("shutting the session down: {error}");
        }
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The outcomes of these objects.
pub(crate) fn load_all(store: &ObjectStore, ids: &[DataId], values: &[Value]) -> Vec<Outcome> {
    ids.iter().zip(values).map(|(id, value)| load_value(store, *id, value)).collect()
}

/// The outcome of one object from the answer to a request for it.
pub(crate) fn load_one(store: &ObjectStore, id: DataId, reply: Reply) -> Outcome {
    match reply {
        Reply::Values(values) if values.len() == 1 => load_value(store, id, &values[0]),
        Reply::Failed(error) => Err(error.into()),
        _ => Err(unexpected("await").into()),
    }
}

fn load_value(store: &ObjectStore, id: DataId, value: &Value) -> Outcome {
    match value {
        Value::Ready(object) => store.load_answer(id, object),
        Value::Failed(error) => Err((**error).clone()),
    }
}
