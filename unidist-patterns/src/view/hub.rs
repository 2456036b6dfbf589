//! What all handles of a client share, and its thread.
//!
//! A task is handed in by the program's thread, which also sends what can be sent at once. That calls have ended is told
//! to the client's own thread, the *hub*: it reads their results, notes them in the history, and sends what can be sent
//! next. It also looks after the time that tasks may wait for others. It sleeps unless something happens.
//!
//! Locks: `state` is held only to decide; nobody calls the session, a function of the program's or the history with it.

mod successors;

use super::balancing::{Action, Back, Balancer};
use super::call::{AnyCall, AnyValue, Read};
use super::dependencies::End;
use super::engines::Engines;
use super::error::{EngineId, Result, ViewError};
use super::history::Records;
use super::namespace;
use super::record::{TaskId, TaskRecord, TaskStatus};
use super::task::{Placement, Task};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use unidist_core::{CallSettings, Error, prepare, workers};

/// What happens to a client.
enum Event {
    /// The call of a task that was given to this engine has ended.
    Ended {
        task: Arc<Task>,
        engine: EngineId,
        read: Read,
    },
    /// There is a new deadline.
    Deadline,
    /// A worker had time.
    Scout,
    Close,
}

/// The client, for as long as there is a handle of it.
pub(crate) struct Hub {
    pub(crate) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

pub(crate) struct Shared {
    /// The client's, chosen at random.
    pub(crate) number: u64,
    state: Mutex<State>,
    history: Mutex<Box<dyn Records>>,
    events: Sender<Event>,
    /// Of how many tasks that have ended the results are kept.
    keep: usize,
}

pub(crate) struct State {
    pub(crate) engines: Engines,
    pub(crate) balancer: Balancer,
    /// Those that have not ended, and the latest that have.
    pub(crate) tasks: HashMap<TaskId, Arc<Task>>,
    ended: VecDeque<TaskId>,
    next: u64,
    deadlines: BinaryHeap<Reverse<(Instant, TaskId, Duration)>>,
    /// How many engines there should be.
    pub(crate) expected: usize,
    /// Whether an engine has died since a scout was last sent.
    has_lost: bool,
    /// Whether a call is on its way that ends when a worker has time.
    has_scout: bool,
    is_closed: bool,
}

/// What a task is handed in with.
pub(crate) struct Order {
    pub(crate) call: Arc<dyn AnyCall>,
    pub(crate) placement: Placement,
    pub(crate) label: Option<String>,
    pub(crate) resubmission_of: Option<TaskId>,
}

impl Hub {
    pub(crate) fn start(history: Box<dyn Records>, keep: usize) -> Result<Arc<Self>> {
        let (events, arriving) = channel();
        let mut random = fastrand::Rng::new();
        let number = random.u64(..);
        let state = State {
            engines: Engines::default(),
            balancer: Balancer::new(random),
            tasks: HashMap::new(),
            ended: VecDeque::new(),
            next: 0,
            deadlines: BinaryHeap::new(),
            expected: 0,
            has_lost: false,
            has_scout: false,
            is_closed: false,
        };
        let shared =
            Arc::new(Shared { number, state: Mutex::new(state), history: Mutex::new(history), events, keep });
        shared.look_for_engines()?;
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name("unidist-view".to_owned());
        let thread = thread.spawn(move || of_thread.serve(&arriving));
        let thread = thread.map_err(|error| Error::system("a client's thread cannot be started", error))?;
        Ok(Arc::new(Hub { shared, thread: Mutex::new(Some(thread)) }))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let (waiting, engines) = {
            let mut state = self.shared.lock();
            state.is_closed = true;
            let touched = state.engines.iter().filter(|(_, engine)| engine.is_alive && engine.is_touched);
            let engines: Vec<_> = touched.map(|(_, engine)| engine.worker).collect();
            (state.balancer.drain(), engines)
        };
        for id in waiting {
            self.shared.finish_by_id(id, ViewError::Aborted { task: id });
        }
        let _ = self.shared.events.send(Event::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            log::error!("the thread of a client of views has panicked");
        }
        for worker in engines {
            let settings = CallSettings::new().on_worker(worker).name("clear"); // after what was sent before
            drop(prepare(namespace::forget, &settings).remote((self.shared.number,)));
        }
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, Box<dyn Records>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes in the history how far a task is.
    fn note(&self, task: &Task) {
        let mut history = self.history();
        let record = task.record(); // as it is now: nobody else writes until this is written
        if let Err(error) = history.keep(&record) {
            log::error!("task {} is not as it should be: {error}", task.id);
        }
    }

    /// Takes note of the engines that there are now.
    pub(crate) fn look_for_engines(&self) -> Result<Vec<EngineId>> {
        let workers = workers()?;
        let mut state = self.lock();
        state.engines.see(&workers);
        let ids = state.engines.ids();
        state.expected = state.expected.max(ids.len());
        Ok(ids)
    }

    /// Hands tasks in.
    pub(crate) fn submit(&self, orders: Vec<Order>) -> Vec<Arc<Task>> {
        let (mut is_first_deadline, mut invalid) = (false, Vec::new());
        let tasks: Vec<Arc<Task>> = {
            let mut state = self.lock();
            let take_in = |order| self.take_in(&mut state, order, &mut is_first_deadline, &mut invalid);
            orders.into_iter().map(take_in).collect()
        };
        if is_first_deadline {
            let _ = self.events.send(Event::Deadline);
        }
        for (task, dependency) in invalid {
            self.finish_by_id(task, ViewError::InvalidDependency { task, dependency });
        }
        for task in tasks.iter().filter(|task| !task.has_ended()) {
            match task.placement {
                Placement::Engine(engine) => self.send(task, engine),
                Placement::Balanced(_) => self.note(task),
            }
        }
        self.drive();
        if self.lock().is_short() {
            let _ = self.events.send(Event::Deadline); // the hub looks for engines in place of dead ones
        }
        tasks
    }

    fn take_in(
        &self,
        state: &mut State,
        order: Order,
        is_first_deadline: &mut bool,
        invalid: &mut Vec<(TaskId, TaskId)>,
    ) -> Arc<Task> {
        let id = TaskId { client: self.number, number: state.next };
        state.next += 1;
        let record = TaskRecord {
            id,
            function: order.call.function().to_owned(),
            label: order.label,
            engine: None,
            status: TaskStatus::Queued,
            error: None,
            submitted: SystemTime::now(),
            started: None,
            completed: None,
            retries: 0,
            resubmission_of: order.resubmission_of,
        };
        match &order.placement {
            Placement::Engine(engine) => {
                if let Some(engine) = state.engines.get_mut(*engine) {
                    engine.queue += 1;
                }
            }
            Placement::Balanced(job) => {
                let mut dependencies =
                    [&job.after, &job.follow].into_iter().flatten().flat_map(|on| on.ids());
                let unknown =
                    dependencies.find(|other| other.client != self.number || other.number >= id.number);
                let waits = match unknown {
                    Some(unknown) => {
                        invalid.push((id, *unknown));
                        false
                    }
                    None => state.balancer.submit(id, job.clone()),
                };
                let deadline =
                    job.timeout.and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout)));
                if let (true, Some((deadline, timeout))) = (waits, deadline) {
                    let first = state.deadlines.peek();
                    *is_first_deadline |= first.is_none_or(|Reverse((first, ..))| deadline < *first);
                    state.deadlines.push(Reverse((deadline, id, timeout)));
                }
            }
        }
        let task = Task::new(record, order.call, order.placement);
        state.tasks.insert(id, task.clone());
        task
    }

    /// Sends a task to its engine, which counts it already.
    fn send(&self, task: &Arc<Task>, engine: EngineId) {
        let worker = {
            let mut state = self.lock();
            state.engines.get_mut(engine).map(|engine| {
                engine.is_touched = true;
                engine.worker
            })
        };
        let (Some(worker), Some(attempt)) = (worker, task.sent_to(engine)) else {
            self.leave(task, engine);
            return self.finish(task, Err(ViewError::Aborted { task: task.id }), None);
        };
        self.note(task);
        let (events, of_call) = (self.events.clone(), task.clone());
        let ended = move |read| drop(events.send(Event::Ended { task: of_call, engine, read }));
        let cancel = task.call.send(worker, Box::new(ended));
        if let Some(cancel) = task.can_be_cancelled(attempt, cancel) {
            let _ = cancel(); // a session that has ended has ended the call
        }
    }

    /// Sends whatever can be sent now.
    fn drive(&self) {
        loop {
            let actions: Vec<_> = {
                let mut guard = self.lock();
                let state = &mut *guard;
                if state.is_closed {
                    return;
                }
                let actions = state.balancer.place(&mut state.engines).into_iter();
                actions
                    .filter_map(|action| {
                        let (Action::Send(id, _) | Action::Never(id, _)) = &action;
                        Some((state.tasks.get(id)?.clone(), action))
                    })
                    .collect()
            };
            if actions.is_empty() {
                return;
            }
            for (task, action) in actions {
                match action {
                    Action::Send(_, engine) => self.send(&task, engine),
                    Action::Never(id, why) => {
                        self.finish(&task, Err(ViewError::ImpossibleDependency { task: id, why }), None);
                    }
                }
            }
        }
    }

    /// The hub.
    fn serve(&self, arriving: &Receiver<Event>) {
        loop {
            let deadline = self.lock().deadlines.peek().map(|Reverse((deadline, ..))| *deadline);
            let event = match deadline {
                None => arriving.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => arriving.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            if matches!(event, Ok(Event::Close) | Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            // Values of the program's are dropped in here, by code of its own: if that panics, the hub goes on.
            let turn = std::panic::AssertUnwindSafe(|| self.turn(event.ok()));
            if std::panic::catch_unwind(turn).is_err() {
                log::error!("the drop of a value of the program's has panicked on the thread of a client");
            }
        }
    }

    /// Something has happened, or the time of a task is over.
    fn turn(&self, event: Option<Event>) {
        match event {
            Some(Event::Ended { task, engine, read }) => self.ended(&task, engine, read),
            Some(Event::Scout) => self.lock().has_scout = false,
            Some(Event::Deadline | Event::Close) | None => {}
        }
        self.expire();
        self.replace_engines();
        self.drive();
    }

    /// A call has ended: so has its task, unless it is to be tried again.
    fn ended(&self, task: &Arc<Task>, engine: EngineId, read: Read) {
        // The program's own code reads the value; if that panics, the hub goes on.
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_else(|_| {
            let message = "its decoding panicked".to_owned();
            Err(Error::Decode { type_name: task.call.item().to_owned(), message })
        });
        let (outcome, times) = match read {
            Ok(arrived) => (Ok(arrived.value), Some((arrived.started, arrived.completed))),
            Err(error) => (Err(ViewError::of_call(error, task.id, engine)), None),
        };
        let died = matches!(outcome, Err(ViewError::EngineDied { .. }));
        let had_begun = !matches!(&outcome, Err(error) if error.is_before_the_call());
        let (is_again, cancel) = {
            let mut state = self.lock();
            state.has_lost |= died;
            let mut disturbed = false;
            if let Some(engine) = state.engines.get_mut(engine) {
                disturbed = engine.is_disturbed;
                engine.is_alive &= !died;
                engine.is_disturbed &= outcome.is_err();
            }
            let why = match &outcome {
                Ok(_) | Err(ViewError::Aborted { .. }) => None,
                Err(ViewError::UnmetDependency { .. }) => Some(Back::Unmet),
                Err(ViewError::EngineDied { .. }) if disturbed || !had_begun => Some(Back::Unlucky),
                Err(_) => Some(Back::Failed),
            };
            let can_move =
                matches!(task.placement, Placement::Balanced(_)) && !task.is_aborted() && !state.is_closed;
            match why.filter(|_| can_move) {
                // Before anybody can send it once more.
                Some(why) => {
                    let cancel = task.queued_again();
                    (state.balancer.back(task.id, engine, why), cancel)
                }
                None => (false, None),
            }
        };
        drop(cancel); // with its ref, not under the lock
        self.leave(task, engine);
        if is_again {
            self.note(task);
        } else {
            self.finish(task, outcome, times);
        }
    }

    /// A task is with its engine no more.
    fn leave(&self, task: &Task, engine: EngineId) {
        if let Some(engine) = self.lock().engines.get_mut(engine) {
            let count = match task.placement {
                Placement::Engine(_) => &mut engine.queue,
                Placement::Balanced(_) => &mut engine.tasks,
            };
            *count = count.saturating_sub(1);
            engine.completed += 1;
        }
    }

    fn finish_by_id(&self, id: TaskId, error: ViewError) {
        let task = self.lock().tasks.get(&id).cloned();
        if let Some(task) = task {
            self.finish(&task, Err(error), None);
        }
    }

    /// A task has ended: first everybody else knows, then those who wait for it.
    fn finish(&self, task: &Arc<Task>, outcome: Result<AnyValue>, times: Option<(SystemTime, SystemTime)>) {
        let succeeded = outcome.is_ok();
        let Some(waiting) = task.end(outcome, times) else { return };
        self.note(task);
        let mut too_old = Vec::new();
        {
            let mut state = self.lock();
            state.balancer.ended(task.id, End { succeeded, engine: task.engine() });
            state.ended.push_back(task.id);
            while state.ended.len() > self.keep {
                let oldest = state.ended.pop_front();
                too_old.extend(oldest.and_then(|oldest| state.tasks.remove(&oldest)));
            }
        }
        waiting.tell();
        drop(too_old); // not under the lock: results are dropped with them
    }

    fn expire(&self) {
        loop {
            let late = {
                let mut state = self.lock();
                match state.deadlines.peek() {
                    Some(Reverse((deadline, ..))) if *deadline <= Instant::now() => {}
                    _ => return,
                }
                let late = state.deadlines.pop();
                late.filter(|Reverse((_, id, _))| state.balancer.out_of_time(*id))
            };
            if let Some(Reverse((_, id, timeout))) = late {
                self.finish_by_id(id, ViewError::DependencyTimeout { task: id, timeout });
            }
        }
    }

    /// Ends tasks, wherever they are; how many had not ended.
    pub(crate) fn abort<'a>(&self, tasks: impl IntoIterator<Item = &'a Arc<Task>>) -> Result<usize> {
        let mut count = 0;
        for task in tasks {
            if task.has_ended() {
                continue;
            }
            count += 1;
            let cancel = task.abort();
            let withdrawn = {
                let mut state = self.lock();
                if let Some(engine) = task.engine().and_then(|engine| state.engines.get_mut(engine)) {
                    engine.is_disturbed = true;
                }
                state.balancer.withdraw(task.id)
            };
            if withdrawn {
                self.finish(task, Err(ViewError::Aborted { task: task.id }), None);
            } else if let Some(cancel) = cancel {
                cancel()?;
            }
        }
        self.drive();
        Ok(count)
    }

    /// Forgets results that have arrived; those of tasks that have not ended stay.
    pub(crate) fn forget(&self, ids: &[TaskId]) {
        let mut forgotten = Vec::new();
        let mut state = self.lock();
        for id in ids {
            if state.tasks.get(id).is_some_and(|task| task.has_ended()) {
                forgotten.extend(state.tasks.remove(id));
            }
        }
        let State { ended, tasks, .. } = &mut *state;
        ended.retain(|id| tasks.contains_key(id));
        drop(state);
        drop(forgotten); // not under the lock
    }
}
