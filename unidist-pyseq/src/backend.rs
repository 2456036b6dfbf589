//! The [`Backend`] of threads of the program and of code on the sequential thread.

use crate::buffer::AlignedBuffer;
use crate::queue::Caller;
use crate::resources::Host;
use crate::shared::{Shared, WaitOutcome};
use crate::state::{Effects, Frame, Goal, Phase, State, call};
use crate::thread::{self, SequentialThread};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use unidist_backend::{
    Backend, CallStatus, ClusterInfo, Live, NamedActor, Outcome, Owner, Program, Which, WorkerInfo,
    WritableBuffer, current_call,
};
use unidist_common::{
    DataId, Error, ErrorKind, IdSource, Object, ProcessId, Result, StoreFull, TaskError, TaskId, TaskSpec,
};
use unidist_config::Settings;

/// A session in this process.
pub(crate) struct Pyseq {
    owner: Owner,
    shared: Arc<Shared>,
    ids: IdSource,
    memory_limit: u64,
    /// `None` once a shutdown has begun to join it.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Pyseq {
    pub(crate) fn start(settings: &Settings, program: Program) -> Result<Self> {
        let shared = Arc::new(Shared::new(State::new(Host::new(settings))));
        let thread = thread::spawn(shared.clone(), program)?;
        Ok(Pyseq {
            owner: Owner::this_process(),
            shared,
            ids: IdSource::new(ProcessId::CONTROLLER),
            memory_limit: settings.object_store_memory,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits for `goal`, driving the session if this is the sequential thread, then reads from the state.
    fn wait_for<R>(
        &self,
        call: &str,
        goal: Goal<'_>,
        timeout: Option<Duration>,
        read: impl FnOnce(&State) -> R,
    ) -> Result<R> {
        self.check_owner(call)?;
        self.check_wanted()?;
        // A deadline beyond what `Instant` can express is none.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let waited = match SequentialThread::of(&self.shared) {
            Some(sequential) => sequential.drive(Some(goal), until)?,
            None => self.shared.wait_for(goal, until),
        };
        let state = self.shared.lock();
        match waited {
            WaitOutcome::SessionEnded => Err(ended(call)),
            _ if state.phase == Phase::Ended => Err(ended(call)),
            WaitOutcome::Met | WaitOutcome::TimedOut => Ok(read(&state)),
        }
    }

    fn caller(&self, state: &State, is_sequential: bool) -> Caller {
        if !is_sequential {
            return Caller::Thread(std::thread::current().id());
        }
        match (current_call(), state.stack.last()) {
            (Some(call), _) => Caller::Call(call),
            (None, Some(Frame::Call(call))) => Caller::Call(*call),
            (None, Some(Frame::Turn) | None) => Caller::Asynchronous,
        }
    }

    /// Runs `answer` on the state unless the session has ended.
    fn with_state<R>(&self, call: &str, answer: impl FnOnce(&mut State) -> R) -> Result<R> {
        self.check_owner(call)?;
        let mut state = self.shared.lock();
        match state.phase {
            Phase::Ended => Err(ended(call)),
            Phase::Open | Phase::Closing | Phase::Ending => Ok(answer(&mut state)),
        }
    }

    /// Fails in a forked child, where the lock of the state may be held by a thread that the child does not have.
    fn check_owner(&self, call: &str) -> Result<()> {
        if self.owner.is_forked() { Err(Error::Forked { call: call.to_owned() }) } else { Ok(()) }
    }

    /// Fails in the code of a call that was cancelled or ran out of time.
    fn check_wanted(&self) -> Result<()> {
        match current_call().and_then(|call| self.shared.lock().why_cancelled(call)) {
            Some(why) => Err(why.into()),
            None => Ok(()),
        }
    }

    fn close(&self) {
        self.shared.change(|state| {
            state.phase = state.phase.max(Phase::Closing);
            Effects::default()
        });
    }
}

impl Backend for Pyseq {
    fn name(&self) -> &'static str {
        "pyseq"
    }

    fn reserve(&self, count: u32) -> DataId {
        self.ids.reserve(count)
    }

    /// In a forked child, the refs of the results give the error.
    fn submit(&self, task: TaskSpec) {
        if self.owner.is_forked() {
            return;
        }
        let id = task.id();
        let sequential = SequentialThread::of(&self.shared);
        self.shared.change(|state| {
            let caller = self.caller(state, sequential.is_some());
            state.submit(task, caller)
        });
        match sequential {
            Some(sequential) => sequential.run_now(id),
            None => {
                let mut state = self.shared.lock();
                while state.is_about_to_run(id) {
                    state = self.shared.sleep(state, None);
                }
            }
        }
    }

    fn put(&self, object: Object) -> Result<DataId> {
        self.check_owner("put")?;
        self.check_wanted()?;
        let id = self.ids.reserve(1);
        self.with_state("put", |state| state.put(id, object))?;
        Ok(id)
    }

    fn get(&self, ids: &[DataId]) -> Result<Vec<Outcome>> {
        let goal = Goal { ids, count: ids.len() };
        self.wait_for("get", goal, None, |state| ids.iter().map(|id| state.outcome(*id)).collect())
    }

    fn wait(&self, ids: &[DataId], num_returns: usize, timeout: Option<Duration>) -> Result<Vec<usize>> {
        let goal = Goal { ids, count: num_returns.min(ids.len()) };
        self.wait_for("wait", goal, timeout, |state| {
            let ready = (0..ids.len()).filter(|place| state.directory.is_settled(ids[*place]));
            ready.collect()
        })
    }

    fn on_ready(&self, id: DataId, then: Box<dyn FnOnce(Outcome) + Send>) {
        if let Err(error) = self.check_owner("await") {
            return then(Err(error.into()));
        }
        let now = {
            let mut state = self.shared.lock();
            match state.phase {
                Phase::Ended => Some((then, Err(TaskError::session_ended()))),
                _ => state.directory.add_callback(id, then).map(|then| (then, state.outcome(id))),
            }
        };
        if let Some((then, outcome)) = now {
            call(then, outcome);
        }
    }

    fn retain(&self, id: DataId) {
        if self.owner.is_forked() {
            return;
        }
        self.shared.lock().directory.retain(id);
    }

    fn release(&self, id: DataId) {
        if self.owner.is_forked() {
            return;
        }
        self.shared.change_quietly(|state| state.release(id));
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>> {
        self.check_owner("put")?;
        self.check_wanted()?;
        match AlignedBuffer::zeroed(len) {
            Some(buffer) => Ok(Box::new(buffer)),
            None => Err(StoreFull::new(len as u64, 0, self.memory_limit).into()),
        }
    }

    fn cluster(&self) -> Result<ClusterInfo> {
        self.with_state("cluster_resources", |state| state.host().cluster())
    }

    fn find_actor(&self, name: &str) -> Result<Option<NamedActor>> {
        self.check_wanted()?;
        self.with_state("get_actor", |state| state.find_actor(name))
    }

    fn live_objects(&self) -> Result<usize> {
        self.with_state("live_objects", |state| state.live_count())
    }

    fn live(&self, at_most: usize) -> Result<Vec<Live>> {
        self.with_state("live", |state| state.live(at_most))
    }

    fn cancel(&self, ids: &[DataId], which: Which) -> Result<usize> {
        let mut cancelled = 0;
        let effects = self.with_state("cancel", |state| {
            let mut effects = Effects::default();
            for id in ids {
                if let Some(call) = state.cancellable(*id, which) {
                    cancelled += 1;
                    effects.extend(state.end_early(call, TaskError::new(ErrorKind::Cancelled, "")));
                }
            }
            effects
        })?;
        self.shared.notify();
        effects.run();
        Ok(cancelled)
    }

    fn status(&self, ids: &[DataId]) -> Result<Vec<CallStatus>> {
        self.with_state("status", |state| ids.iter().map(|id| state.status(*id)).collect())
    }

    /// Returns at once: the number of workers never grows.
    fn workers(&self, _: usize, _: Option<Duration>) -> Result<Vec<WorkerInfo>> {
        self.with_state("workers", |state| state.workers())
    }

    fn current_worker(&self) -> Option<ProcessId> {
        self.check_owner("current_worker").ok()?;
        self.shared.lock().worker_of(current_call()?)
    }

    fn end_worker(&self, worker: ProcessId) -> Result<bool> {
        let ended = self.with_state("end_worker", |state| state.end_worker(worker))?;
        ended.ok_or_else(|| Error::InvalidArgument {
            call: "end_worker".to_owned(),
            message: format!(
                "{worker} is the last worker and cannot be ended: to end the session, use `shutdown`"
            ),
        })
    }

    fn is_cancelled(&self, call: TaskId) -> bool {
        !self.owner.is_forked() && self.shared.lock().why_cancelled(call).is_some()
    }

    fn shutdown(&self) -> Result<()> {
        if self.owner.is_forked() {
            return Ok(());
        }
        self.close();
        if SequentialThread::of(&self.shared).is_some() {
            return Ok(()); // the session ends after the code that called this
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            return thread.join().map_err(|_| {
                Error::system("the sequential thread panicked", "see its message on standard error")
            });
        }
        let mut state = self.shared.lock();
        while state.phase < Phase::Ended {
            state = self.shared.sleep(state, None);
        }
        Ok(())
    }
}

impl Drop for Pyseq {
    fn drop(&mut self) {
        if !self.owner.is_forked() {
            self.close(); // the thread keeps the session until it ends
        }
    }
}

fn ended(call: &str) -> Error {
    Error::SessionEnded { call: call.to_owned() }
}
