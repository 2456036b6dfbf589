//! The state that all handles of a client share, and the client's thread.
//!
//! The program's thread submits a task and sends everything that can be sent at once. The client's own thread, the
//! *client loop*, receives the ends of calls: it reads their results, records them in the history and sends the next
//! tasks. It also enforces the time-outs of tasks that wait for others. It sleeps until an event arrives.
//!
//! Locks: `state` is held for decisions only; no code calls the session, a user function or the history while it holds
//! the lock.

mod replacements;

use super::call::{AnyCall, AnyValue, ReadOutcome};
use super::dependencies::TaskEnd;
use super::engines::Engines;
use super::error::{EngineId, Result, ViewError};
use super::history::RecordStore;
use super::load_balancer::{Action, LoadBalancer, Requeue};
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

/// An event for the client loop.
enum Event {
    /// The call of a task on this engine has ended.
    CallEnded {
        task: Arc<Task>,
        engine: EngineId,
        read: ReadOutcome,
    },
    /// The earliest deadline may have changed, or engines are missing: look again.
    Deadline,
    /// A worker had room for the probe.
    WorkerFree,
    Close,
}

/// Owns the client's thread; dropped with the last handle of the client.
pub(crate) struct ClientLoop {
    pub(crate) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

pub(crate) struct Shared {
    /// The client's number, chosen at random.
    pub(crate) number: u64,
    state: Mutex<State>,
    history: Mutex<Box<dyn RecordStore>>,
    events: Sender<Event>,
    /// The number of ended tasks whose results are kept.
    keep: usize,
}

pub(crate) struct State {
    pub(crate) engines: Engines,
    pub(crate) balancer: LoadBalancer,
    /// All tasks that have not ended, and the latest that have.
    pub(crate) tasks: HashMap<TaskId, Arc<Task>>,
    ended: VecDeque<TaskId>,
    next: u64,
    deadlines: BinaryHeap<Reverse<(Instant, TaskId, Duration)>>,
    /// The number of engines that the session should have.
    pub(crate) expected: usize,
    /// Whether an engine has died since the last probe was sent.
    has_lost: bool,
    /// Whether a probe is pending: a call that ends as soon as a worker has room.
    has_probe: bool,
    is_closed: bool,
}

/// A task to submit.
pub(crate) struct Submission {
    pub(crate) call: Arc<dyn AnyCall>,
    pub(crate) placement: Placement,
    pub(crate) label: Option<String>,
    pub(crate) resubmission_of: Option<TaskId>,
}

impl ClientLoop {
    pub(crate) fn start(history: Box<dyn RecordStore>, keep: usize) -> Result<Arc<Self>> {
        let (events, arriving) = channel();
        let mut random = fastrand::Rng::new();
        let number = random.u64(..);
        let state = State {
            engines: Engines::default(),
            balancer: LoadBalancer::new(random),
            tasks: HashMap::new(),
            ended: VecDeque::new(),
            next: 0,
            deadlines: BinaryHeap::new(),
            expected: 0,
            has_lost: false,
            has_probe: false,
            is_closed: false,
        };
        let shared =
            Arc::new(Shared { number, state: Mutex::new(state), history: Mutex::new(history), events, keep });
        shared.refresh_engines()?;
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name("unidist-view".to_owned());
        let thread = thread.spawn(move || of_thread.run_loop(&arriving));
        let thread =
            thread.map_err(|error| Error::system("cannot start the thread of a view client", error))?;
        Ok(Arc::new(ClientLoop { shared, thread: Mutex::new(Some(thread)) }))
    }
}

impl Drop for ClientLoop {
    fn drop(&mut self) {
        let (waiting, engines) = {
            let mut state = self.shared.lock();
            state.is_closed = true;
            let touched = state.engines.iter().filter(|(_, engine)| engine.is_alive && engine.was_used);
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
            log::error!("the thread of a view client panicked");
        }
        for worker in engines {
            let settings = CallSettings::new().on_worker(worker).name("clear"); // runs after all calls sent before
            drop(prepare(namespace::forget, &settings).remote((self.shared.number,)));
        }
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, Box<dyn RecordStore>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the task's current record to the history.
    fn write_record(&self, task: &Task) {
        let mut history = self.history();
        let record = task.record(); // read under the history's lock, so that records are written in order
        if let Err(error) = history.insert(&record) {
            log::error!("cannot record the state of task {}: {error}", task.id);
        }
    }

    /// Updates the list of engines from the session's workers.
    pub(crate) fn refresh_engines(&self) -> Result<Vec<EngineId>> {
        let workers = workers()?;
        let mut state = self.lock();
        state.engines.update(&workers);
        let ids = state.engines.ids();
        state.expected = state.expected.max(ids.len());
        Ok(ids)
    }

    /// Submits tasks.
    pub(crate) fn submit(&self, submissions: Vec<Submission>) -> Vec<Arc<Task>> {
        let (mut is_first_deadline, mut invalid) = (false, Vec::new());
        let tasks: Vec<Arc<Task>> = {
            let mut state = self.lock();
            let register = |order| self.register(&mut state, order, &mut is_first_deadline, &mut invalid);
            submissions.into_iter().map(register).collect()
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
                Placement::Balanced(_) => self.write_record(task),
            }
        }
        self.dispatch();
        if self.lock().lacks_engines() {
            let _ = self.events.send(Event::Deadline); // the client loop looks for replacements of dead engines
        }
        tasks
    }

    fn register(
        &self,
        state: &mut State,
        submission: Submission,
        is_first_deadline: &mut bool,
        invalid: &mut Vec<(TaskId, TaskId)>,
    ) -> Arc<Task> {
        let id = TaskId { client: self.number, number: state.next };
        state.next += 1;
        let record = TaskRecord {
            id,
            function: submission.call.function().to_owned(),
            label: submission.label,
            engine: None,
            status: TaskStatus::Queued,
            error: None,
            submitted: SystemTime::now(),
            started: None,
            completed: None,
            retries: 0,
            resubmission_of: submission.resubmission_of,
        };
        match &submission.placement {
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
        let task = Task::new(record, submission.call, submission.placement);
        state.tasks.insert(id, task.clone());
        task
    }

    /// Sends a task to its engine. The engine's counters include it already.
    fn send(&self, task: &Arc<Task>, engine: EngineId) {
        let worker = {
            let mut state = self.lock();
            state.engines.get_mut(engine).map(|engine| {
                engine.was_used = true;
                engine.worker
            })
        };
        let (Some(worker), Some(attempt)) = (worker, task.mark_sent(engine)) else {
            self.release_engine(task, engine);
            return self.finish(task, Err(ViewError::Aborted { task: task.id }), None);
        };
        self.write_record(task);
        let (events, of_call) = (self.events.clone(), task.clone());
        let on_end = move |read| drop(events.send(Event::CallEnded { task: of_call, engine, read }));
        let cancel = task.call.send(worker, Box::new(on_end));
        if let Some(cancel) = task.set_cancel(attempt, cancel) {
            let _ = cancel(); // fails only if the session has ended, and the call with it
        }
    }

    /// Sends every task that can be sent now.
    fn dispatch(&self) {
        loop {
            let actions: Vec<_> = {
                let mut guard = self.lock();
                let state = &mut *guard;
                if state.is_closed {
                    return;
                }
                let actions = state.balancer.assign(&mut state.engines).into_iter();
                actions
                    .filter_map(|action| {
                        let (Action::Send(id, _) | Action::Fail(id, _)) = &action;
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
                    Action::Fail(id, reason) => {
                        self.finish(
                            &task,
                            Err(ViewError::ImpossibleDependency { task: id, why: reason }),
                            None,
                        );
                    }
                }
            }
        }
    }

    /// The client loop.
    fn run_loop(&self, arriving: &Receiver<Event>) {
        loop {
            let deadline = self.lock().deadlines.peek().map(|Reverse((deadline, ..))| *deadline);
            let event = match deadline {
                None => arriving.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => arriving.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            if matches!(event, Ok(Event::Close) | Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            // User values are dropped in here; their `drop` may panic, and the loop has to continue.
            let handle = std::panic::AssertUnwindSafe(|| self.handle_event(event.ok()));
            if std::panic::catch_unwind(handle).is_err() {
                log::error!("dropping a user value panicked on the thread of a view client");
            }
        }
    }

    /// Handles an event, or an expired deadline (`None`).
    fn handle_event(&self, event: Option<Event>) {
        match event {
            Some(Event::CallEnded { task, engine, read }) => self.call_ended(&task, engine, read),
            Some(Event::WorkerFree) => self.lock().has_probe = false,
            Some(Event::Deadline | Event::Close) | None => {}
        }
        self.expire();
        self.replace_engines();
        self.dispatch();
    }

    /// A call has ended: ends its task, or queues the task again.
    fn call_ended(&self, task: &Arc<Task>, engine: EngineId, read: ReadOutcome) {
        // User code decodes the value and may panic; the loop has to continue.
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_else(|_| {
            let message = "decoding it panicked".to_owned();
            Err(Error::Decode { type_name: task.call.result_type().to_owned(), message })
        });
        let (outcome, times) = match read {
            Ok(received) => (Ok(received.value), Some((received.started, received.completed))),
            Err(error) => (Err(ViewError::of_call(error, task.id, engine)), None),
        };
        let died = matches!(outcome, Err(ViewError::EngineDied { .. }));
        let had_begun = !matches!(&outcome, Err(error) if error.is_before_the_call());
        let (is_requeued, cancel) = {
            let mut state = self.lock();
            state.has_lost |= died;
            let mut was_aborting = false;
            if let Some(engine) = state.engines.get_mut(engine) {
                was_aborting = engine.has_aborted_task;
                engine.is_alive &= !died;
                engine.has_aborted_task &= outcome.is_err();
            }
            let why = match &outcome {
                Ok(_) | Err(ViewError::Aborted { .. }) => None,
                Err(ViewError::UnmetDependency { .. }) => Some(Requeue::Unmet),
                Err(ViewError::EngineDied { .. }) if was_aborting || !had_begun => Some(Requeue::NotAtFault),
                Err(_) => Some(Requeue::Failed),
            };
            let can_move =
                matches!(task.placement, Placement::Balanced(_)) && !task.is_aborted() && !state.is_closed;
            match why.filter(|_| can_move) {
                // Before the load balancer can send it again.
                Some(why) => {
                    let cancel = task.mark_requeued();
                    (state.balancer.requeue(task.id, engine, why), cancel)
                }
                None => (false, None),
            }
        };
        drop(cancel); // outside of the lock, since it holds the ref
        self.release_engine(task, engine);
        if is_requeued {
            self.write_record(task);
        } else {
            self.finish(task, outcome, times);
        }
    }

    /// Removes a task from its engine's counters.
    fn release_engine(&self, task: &Task, engine: EngineId) {
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

    /// Ends a task: updates the history and the load balancer, then wakes the threads that wait for it.
    fn finish(&self, task: &Arc<Task>, outcome: Result<AnyValue>, times: Option<(SystemTime, SystemTime)>) {
        let succeeded = outcome.is_ok();
        let Some(waiters) = task.complete(outcome, times) else { return };
        self.write_record(task);
        let mut too_old = Vec::new();
        {
            let mut state = self.lock();
            state.balancer.task_ended(task.id, TaskEnd { succeeded, engine: task.engine() });
            state.ended.push_back(task.id);
            while state.ended.len() > self.keep {
                let oldest = state.ended.pop_front();
                too_old.extend(oldest.and_then(|oldest| state.tasks.remove(&oldest)));
            }
        }
        waiters.notify();
        drop(too_old); // outside of the lock, since results are dropped with them
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
                late.filter(|Reverse((_, id, _))| state.balancer.time_out(*id))
            };
            if let Some(Reverse((_, id, timeout))) = late {
                self.finish_by_id(id, ViewError::DependencyTimeout { task: id, timeout });
            }
        }
    }

    /// Aborts tasks, queued or sent. Returns how many had not ended.
    pub(crate) fn abort<'a>(&self, tasks: impl IntoIterator<Item = &'a Arc<Task>>) -> Result<usize> {
        let mut count = 0;
        for task in tasks {
            if task.has_ended() {
                continue;
            }
            count += 1;
            let cancel = task.abort();
            let was_queued = {
                let mut state = self.lock();
                if let Some(engine) = task.engine().and_then(|engine| state.engines.get_mut(engine)) {
                    engine.has_aborted_task = true;
                }
                state.balancer.remove(task.id)
            };
            if was_queued {
                self.finish(task, Err(ViewError::Aborted { task: task.id }), None);
            } else if let Some(cancel) = cancel {
                cancel()?;
            }
        }
        self.dispatch();
        Ok(count)
    }

    /// Drops the results of ended tasks; tasks that have not ended stay.
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
        drop(forgotten); // outside of the lock
    }
}
