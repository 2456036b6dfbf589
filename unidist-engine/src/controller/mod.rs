//! The controller: the user's program, with the engine in it.
//!
//! [`driver`] takes the engine's turns, [`supervisor`] starts processes and sees them end, and [`Controller`] is the
//! [`Backend`] that the program calls.
//!
//! Whoever waits drives. A thread that waits for an answer takes the engine's turns itself, so no other thread has to be
//! woken; a thread that hands something in takes a turn at once. While nobody does, the engine thread sleeps on the
//! bell as its standby.

mod driver;
mod supervisor;

use crate::launch::LaunchCommand;
use crate::link::bell::Sleeper;
use crate::link::handshake::Welcome;
use crate::link::message::{Ask, Reply, Value};
use crate::pending::{Callback, Requests};
use crate::scheduler::{Limits, Scheduler};
use crate::store::Block;
use crate::store::arena::Arena;
use crate::store::depot::{Depot, Ledger};
use crate::store::segment::{HEADER, Segment};
use driver::{Driver, Mailbox};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};
use supervisor::{Staff, Supervisor};
use unidist_common::{DataId, Error, IdSource, Object, ProcessId, Result, TaskSpec};
use unidist_core::{Backend, ClusterInfo, Outcome, Program, WritableBuffer};

/// The longest sleep of a thread that waits, after which it looks whether it missed something.
const LONGEST_NAP: Duration = Duration::from_millis(100);

/// What a session is made of.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// The value of `UNIDIST_BACKEND`.
    pub backend: &'static str,
    /// How many tasks run at once.
    pub cpus: usize,
    /// Custom resources of this host.
    pub resources: BTreeMap<String, f64>,
    /// The limit of the object store in bytes.
    pub object_store_memory: u64,
    /// How many calls the program may have under way before `.remote` waits.
    pub max_pending_tasks: Option<usize>,
    /// The folder of the workers' log files; standard error if there is none.
    pub log_dir: Option<PathBuf>,
    /// The address of this host.
    pub ip: String,
    /// What starts a worker.
    pub launch: LaunchCommand,
}

/// The engine of a session, seen from the program.
pub struct Controller {
    shared: Arc<Shared>,
    depot: Depot,
    settings: ControllerSettings,
    cluster: ClusterInfo,
    engine_thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    ids: IdSource,
    segment: Arc<Segment>,
    mailbox: Arc<Mailbox>,
    requests: Arc<Requests>,
    arena: Arc<Mutex<Arena>>,
    supervisor: Arc<Supervisor>,
    driver: Mutex<Driver>,
    /// Threads of the program that wait while another one drives.
    parked: Mutex<Vec<Thread>>,
    /// How many threads wait until fewer calls are under way.
    throttled: AtomicUsize,
    over: AtomicBool,
    spin: Duration,
}

impl Controller {
    /// Starts the workers and waits until they have joined.
    ///
    /// # Errors
    ///
    /// The system refuses memory or processes, or no worker joins.
    pub fn start(settings: ControllerSettings, program: Program) -> Result<Controller> {
        let segment = Segment::create("unidist-store", settings.object_store_memory).map_err(|error| {
            let bytes = settings.object_store_memory;
            let advice = "set UNIDIST_OBJECT_STORE_MEMORY to less";
            Error::system(format!("making an object store of {bytes} bytes"), format!("{error}; {advice}"))
        })?;
        let mut host = settings.resources.clone();
        host.insert("CPU".into(), settings.cpus as f64);
        let hosts = BTreeMap::from([(settings.ip.clone(), host)]);
        let cluster = ClusterInfo { local_ip: settings.ip.clone(), hosts };
        let spin = spin_time(settings.cpus);
        let mailbox = Arc::new(Mailbox::new());
        let notify = {
            let (mailbox, segment) = (mailbox.clone(), segment.clone());
            Box::new(move |notice| {
                mailbox.notice(notice);
                segment.bell().ring();
            })
        };
        let welcome = Welcome {
            build_id: (program.build_id)(),
            process: ProcessId::CONTROLLER,
            actor: false,
            spin_us: spin.as_micros() as u32,
            log_dir: settings.log_dir.clone(),
        };
        let staff = Staff { command: settings.launch.clone(), segment: segment.clone(), welcome, notify };
        let supervisor = Arc::new(Supervisor::start(staff)?);
        let arena = Arc::new(Mutex::new(Arena::new(HEADER, segment.len())));
        let requests = Arc::new(Requests::default());
        let scheduler = Scheduler::new(Limits {
            cpus: settings.cpus,
            resources: settings.resources.clone(),
            max_pool: max_pool(settings.cpus),
        });
        let driver = Driver::new(
            scheduler,
            mailbox.clone(),
            supervisor.clone(),
            arena.clone(),
            requests.clone(),
            cluster.clone(),
        );
        let shared = Arc::new(Shared {
            ids: IdSource::new(ProcessId::CONTROLLER),
            segment: segment.clone(),
            mailbox,
            requests,
            arena,
            supervisor,
            driver: Mutex::new(driver),
            parked: Mutex::default(),
            throttled: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            spin,
        });
        let engine = shared.clone();
        let thread =
            std::thread::Builder::new().name("unidist-engine".into()).spawn(move || engine.stand_by());
        let controller = Controller {
            depot: Depot::new(segment, shared.clone()),
            shared,
            settings,
            cluster,
            engine_thread: Mutex::default(),
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

    fn request(&self, call: &str, ask: impl FnOnce(crate::link::message::RequestId) -> Ask) -> Result<Reply> {
        let (request, slot) = self.shared.requests.open();
        self.shared.mailbox.ask(ask(request));
        self.shared.drive_until(None, |_| slot.is_done());
        match slot.take() {
            Some(Reply::Failed(error)) => Err(error),
            Some(reply) => Ok(reply),
            None => Err(ended(call)),
        }
    }

    fn check_running(&self, call: &str) -> Result<()> {
        if self.shared.over.load(Ordering::Acquire) { Err(ended(call)) } else { Ok(()) }
    }
}

fn ended(call: &str) -> Error {
    Error::SessionEnded { call: call.into() }
}

fn unexpected(call: &str) -> Error {
    Error::system(call.to_owned(), "the engine gave an answer to another question")
}

/// How many worker processes there may be, so that blocked tasks do not hold up the others for want of processes.
fn max_pool(cpus: usize) -> usize {
    64 + 8 * cpus
}

/// How long a thread with nothing to do looks at the links before it sleeps: next to nothing where the workers alone
/// keep every core busy.
fn spin_time(cpus: usize) -> Duration {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Duration::from_micros(if cpus < cores { 20 } else { 5 })
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
            let fewer = |driver: Option<&Driver>| driver.is_some_and(|driver| driver.pending_tasks() < most);
            self.shared.drive_until(None, fewer);
            self.shared.throttled.fetch_sub(1, Ordering::SeqCst);
        }
        self.shared.mailbox.ask(Ask::Submit(Box::new(task), None));
        self.shared.nudge();
    }

    fn put(&self, object: Object) -> Result<DataId> {
        self.check_running("put")?;
        let id = self.shared.ids.reserve(1);
        self.depot.put(id, object, |stored| self.shared.mailbox.ask(Ask::Put(id, stored)))?;
        Ok(id)
    }

    fn get(&self, ids: &[DataId]) -> Result<Vec<Outcome>> {
        self.check_running("get")?;
        match self.request("get", |request| Ask::Get(request, ids.to_vec(), None))? {
            Reply::Values(values) => Ok(load_all(&self.depot, ids, &values)),
            _ => Err(unexpected("get")),
        }
    }

    fn wait(&self, ids: &[DataId], num_returns: usize, timeout: Option<Duration>) -> Result<Vec<usize>> {
        self.check_running("wait")?;
        let (request, slot) = self.shared.requests.open();
        self.shared.mailbox.ask(Ask::Wait(request, ids.to_vec(), num_returns as u64, None));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.shared.drive_until(deadline, |_| slot.is_done());
        if !slot.is_done() {
            self.shared.mailbox.ask(Ask::Hurry(request));
            self.shared.drive_until(None, |_| slot.is_done());
        }
        match slot.take() {
            Some(Reply::Ready(positions)) => Ok(positions.into_iter().map(|at| at as usize).collect()),
            Some(Reply::Failed(error)) => Err(error),
            Some(_) => Err(unexpected("wait")),
            None => Err(ended("wait")),
        }
    }

    fn on_ready(&self, id: DataId, then: Box<dyn FnOnce(Outcome) + Send>) {
        if let Err(error) = self.check_running("await") {
            return then(Err(error.into()));
        }
        let depot = self.depot.clone();
        let request =
            self.shared.requests.open_with(Box::new(move |reply| then(load_one(&depot, id, reply))));
        self.shared.mailbox.ask(Ask::Get(request, vec![id], None));
        self.shared.nudge();
    }

    fn retain(&self, id: DataId) {
        self.shared.mailbox.ask(Ask::Retain(id));
    }

    fn release(&self, id: DataId) {
        self.shared.mailbox.ask(Ask::Release(id));
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>> {
        self.check_running("put")?;
        self.depot.allocate(len)
    }

    fn cluster(&self) -> Result<ClusterInfo> {
        self.check_running("cluster_resources")?;
        Ok(self.cluster.clone())
    }

    fn live_objects(&self) -> Result<usize> {
        self.check_running("live_objects")?;
        match self.request("live_objects", Ask::LiveObjects)? {
            Reply::Count(count) => Ok(count as usize),
            _ => Err(unexpected("live_objects")),
        }
    }

    fn shutdown(&self) -> Result<()> {
        let Some(thread) = self.engine_thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        self.shared.mailbox.shutdown();
        self.shared.drive_until(None, |driver| driver.is_some_and(Driver::is_over));
        self.shared.over.store(true, Ordering::Release);
        self.shared.segment.bell().ring();
        self.shared.supervisor.end();
        self.shared.requests.answer_all(&Reply::Failed(ended("get")));
        thread.join().map_err(|_| Error::system("ending the engine's thread", "it has panicked"))
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
pub(crate) fn load_all(depot: &Depot, ids: &[DataId], values: &[Value]) -> Vec<Outcome> {
    ids.iter().zip(values).map(|(id, value)| load_value(depot, *id, value)).collect()
}

/// The outcome of one object from the answer to a request for it.
pub(crate) fn load_one(depot: &Depot, id: DataId, reply: Reply) -> Outcome {
    match reply {
        Reply::Values(values) if values.len() == 1 => load_value(depot, id, &values[0]),
        Reply::Failed(error) => Err(error.into()),
        _ => Err(unexpected("await").into()),
    }
}

fn load_value(depot: &Depot, id: DataId, value: &Value) -> Outcome {
    match value {
        Value::Ready(object) => depot.load(id, object),
        Value::Failed(error) => Err((**error).clone()),
    }
}

impl Ledger for Shared {
    fn allocate(&self, len: u64) -> Result<Block> {
        driver::allocate(&self.arena, len)
    }

    fn give_back(&self, block: Block) {
        driver::free(&self.arena, block);
    }

    fn retain(&self, id: DataId) {
        self.mailbox.ask(Ask::Retain(id));
    }

    fn release(&self, id: DataId) {
        self.mailbox.ask(Ask::Release(id));
    }
}

impl Shared {
    fn lock_driver(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock_driver(&self) -> Option<MutexGuard<'_, Driver>> {
        match self.driver.try_lock() {
            Ok(driver) => Some(driver),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Has what was put into the mailbox looked at: by this thread, unless another one drives.
    fn nudge(&self) {
        match self.try_lock_driver() {
            Some(mut driver) => {
                driver.turn();
                self.leave(driver);
            }
            None => self.segment.bell().ring(),
        }
    }

    /// Takes turns, or waits for the thread that does, until `done` or the deadline.
    fn drive_until(&self, deadline: Option<Instant>, mut done: impl FnMut(Option<&Driver>) -> bool) {
        let me = std::thread::current();
        loop {
            // Registered before the attempt: a driver that leaves after a failed attempt finds this thread.
            self.parked().push(me.clone());
            let driver = self.try_lock_driver();
            if driver.is_some() {
                self.unregister(&me);
            }
            if let Some(mut driver) = driver {
                let finished = self.drive(&mut driver, deadline, &mut done);
                self.leave(driver);
                if finished {
                    return;
                }
                continue;
            }
            // Whoever drives may be asleep, and what this thread waits for in the mailbox.
            self.segment.bell().ring();
            let nap = deadline
                .map_or(LONGEST_NAP, |at| at.saturating_duration_since(Instant::now()).min(LONGEST_NAP));
            std::thread::park_timeout(nap);
            self.unregister(&me);
            if done(None)
                || deadline.is_some_and(|at| at <= Instant::now())
                || self.over.load(Ordering::Acquire)
            {
                return;
            }
        }
    }

    /// Takes turns until `done` or the deadline; false if it has to be interrupted for callbacks.
    fn drive(
        &self,
        driver: &mut Driver,
        deadline: Option<Instant>,
        done: &mut impl FnMut(Option<&Driver>) -> bool,
    ) -> bool {
        let mut nap = Duration::from_millis(1);
        let mut idle_since = None;
        loop {
            let happened = driver.turn();
            if done(Some(driver)) || self.over.load(Ordering::Acquire) {
                return true;
            }
            if driver.has_callbacks() {
                return false;
            }
            if happened {
                if self.throttled.load(Ordering::Relaxed) > 0 {
                    self.parked().iter().for_each(Thread::unpark);
                }
                (nap, idle_since) = (Duration::from_millis(1), None);
                continue;
            }
            let now = Instant::now();
            if deadline.is_some_and(|at| at <= now) {
                return true;
            }
            if now.duration_since(*idle_since.get_or_insert(now)) < self.spin {
                (0..32).for_each(|_| std::hint::spin_loop());
                continue;
            }
            let bell = self.segment.bell();
            let announced = bell.announce(Sleeper::Driver);
            if !driver.has_work() {
                let left = deadline.map_or(nap, |at| at.saturating_duration_since(now).min(nap));
                bell.sleep(announced, left);
                nap = (nap * 2).min(LONGEST_NAP);
            }
            bell.awake();
        }
    }

    /// Ends a drive: from now on the standby is rung for, or a thread that waits takes over.
    fn leave(&self, mut driver: MutexGuard<'_, Driver>) {
        let callbacks = driver.take_callbacks();
        let bell = self.segment.bell();
        let _ = bell.announce(Sleeper::Standby);
        let work_left = driver.has_work();
        drop(driver);
        match self.parked().first() {
            Some(thread) => thread.unpark(),
            None if work_left => bell.ring(),
            None => {}
        }
        callbacks.into_iter().for_each(Callback::call);
    }

    /// The engine thread: drives while nobody else does and something happens.
    fn stand_by(&self) {
        while !self.over.load(Ordering::Acquire) {
            let announced = self.segment.bell().token(Sleeper::Standby);
            if self.parked().is_empty()
                && let Some(mut driver) = self.try_lock_driver()
            {
                while driver.turn() && !driver.has_callbacks() && self.parked().is_empty() {}
                self.leave(driver);
            }
            self.segment.bell().sleep(announced, LONGEST_NAP);
        }
    }

    fn parked(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unregister(&self, me: &Thread) {
        let mut parked = self.parked();
        if let Some(at) = parked.iter().position(|thread| thread.id() == me.id()) {
            parked.swap_remove(at);
        }
    }
}
