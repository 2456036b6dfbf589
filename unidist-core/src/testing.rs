//! A session in memory, for tests: it keeps objects and counts references, and runs calls when it is told to.

use crate::rust_runner::RustRunner;
use crate::session;
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use unidist_backend::{Backend, CallStatus, ClusterInfo, Outcome, Which, WorkerInfo, WritableBuffer};
use unidist_backend::{Call, CallKind, CallResult, OnStart, Progress, TaskRunner};
use unidist_common::{
    DataId, ErrorKind, IdSource, Object, ProcessId, Result, StoreFull, Target, TaskError, TaskId, TaskSpec,
};

pub(crate) struct Memory {
    ids: IdSource,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<DataId, Entry>,
    submitted: Vec<TaskSpec>,
    allocations: usize,
    is_full: bool,
}

#[derive(Default)]
struct Entry {
    references: usize,
    value: Option<std::result::Result<Object, TaskError>>,
    then: Vec<Box<dyn FnOnce(Outcome) + Send>>,
}

/// Runs `test` in a session of its own; sessions are process-wide, so such tests take turns.
pub(crate) fn with_session(test: impl FnOnce(&Memory)) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = Arc::new(Memory { ids: IdSource::new(ProcessId::CONTROLLER), state: Mutex::default() });
    session::install(memory.clone());
    test(&memory);
    session::uninstall();
}

/// Runs `test` while there is no session.
pub(crate) fn without_session(test: impl FnOnce()) {
    with_session(|_| {
        session::uninstall();
        test();
    });
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls that were handed in and not yet taken.
    pub(crate) fn take_submitted(&self) -> Vec<TaskSpec> {
        std::mem::take(&mut self.state().submitted)
    }

    /// From now on there is no memory.
    pub(crate) fn refuse_memory(&self) {
        self.state().is_full = true;
    }

    /// How often memory was asked for.
    pub(crate) fn allocations(&self) -> usize {
        self.state().allocations
    }

    pub(crate) fn references(&self, id: DataId) -> usize {
        self.state().entries.get(&id).map_or(0, |entry| entry.references)
    }

    pub(crate) fn value(&self, id: DataId) -> Object {
        self.state().entries[&id].value.clone().unwrap().unwrap()
    }

    /// The call as a worker gets it.
    pub(crate) fn call(&self, spec: &TaskSpec) -> Call {
        let state = self.state();
        let objects = spec.dependencies.iter().map(|id| {
            let value = state.entries[id].value.clone().unwrap().unwrap();
            (*id, value.payload)
        });
        Call {
            id: spec.id(),
            function: spec.function,
            body: None,
            kind: match spec.target {
                Target::Pool => CallKind::Task,
                Target::NewActor => CallKind::NewActor { max_concurrency: spec.options.max_concurrency },
                Target::Actor(actor) => CallKind::Method { actor },
            },
            args: spec.args.clone(),
            objects: objects.collect(),
            returns: spec.returns.count,
            on_start: OnStart::default(),
        }
    }

    /// Gives a call's returns their values.
    pub(crate) fn finish(&self, spec: &TaskSpec, result: CallResult) {
        for (place, id) in spec.returns.ids().enumerate() {
            let value = match &result {
                Ok(objects) => Ok(objects[place].clone()),
                Err(error) => Err(error.clone()),
            };
            self.settle(id, value);
        }
        for id in spec.dependencies.iter().chain(&spec.borrowed) {
            self.release(*id);
        }
    }

    fn settle(&self, id: DataId, value: std::result::Result<Object, TaskError>) {
        for borrowed in value.iter().flat_map(|object| &object.borrowed) {
            self.retain(*borrowed);
        }
        let outcome = value.clone().map(|object| object.payload);
        let then = {
            let mut state = self.state();
            let entry = state.entries.entry(id).or_default();
            entry.value = Some(value);
            std::mem::take(&mut entry.then)
        };
        then.into_iter().for_each(|then| then(outcome.clone()));
    }

    /// Runs all that was handed in, in order, until nothing is left to do.
    pub(crate) fn run(&self, runner: &RustRunner) {
        let mut running = Vec::new();
        loop {
            let specs = self.take_submitted();
            let mut ended = Vec::new();
            let mut idle = specs.is_empty();
            for spec in specs {
                match runner.start(self.call(&spec)) {
                    Some(result) => self.finish(&spec, result),
                    None => running.push(spec),
                }
            }
            idle &= !runner.turn(&mut ended_into(&mut ended));
            for (id, result) in ended {
                let place = running.iter().position(|spec| spec.id() == id).unwrap();
                self.finish(&running.remove(place), result);
            }
            if idle && running.is_empty() {
                return;
            }
            if idle {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Collects the calls that end in a turn.
pub(crate) fn ended_into(ended: &mut Vec<(TaskId, CallResult)>) -> impl FnMut(Progress) + '_ {
    |progress| {
        if let Progress::Ended(call, result) = progress {
            ended.push((call, result));
        }
    }
}

/// A runner whose owner looks for itself whether there is something to do.
pub(crate) fn runner() -> RustRunner {
    RustRunner::new(Arc::new(|| {}))
}

impl Backend for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn reserve(&self, count: u32) -> DataId {
        self.ids.reserve(count)
    }

    fn submit(&self, task: TaskSpec) {
        let pinned: Vec<_> = task.dependencies.iter().chain(&task.borrowed).copied().collect();
        pinned.into_iter().for_each(|id| self.retain(id));
        task.returns.ids().for_each(|id| self.retain(id));
        self.state().submitted.push(task);
    }

    fn put(&self, object: Object) -> Result<DataId> {
        let id = self.reserve(1);
        self.retain(id);
        self.settle(id, Ok(object));
        Ok(id)
    }

    fn get(&self, ids: &[DataId]) -> Result<Vec<Outcome>> {
        let state = self.state();
        let outcome = |id: &DataId| match state.entries.get(id).and_then(|entry| entry.value.clone()) {
            Some(value) => value.map(|object| object.payload),
            None => Err(TaskError::new(ErrorKind::ObjectLost, format!("{id} has no value"))),
        };
        Ok(ids.iter().map(outcome).collect())
    }

    fn wait(&self, ids: &[DataId], _: usize, _: Option<Duration>) -> Result<Vec<usize>> {
        let state = self.state();
        let is_ready = |id: &DataId| state.entries.get(id).is_some_and(|entry| entry.value.is_some());
        Ok((0..ids.len()).filter(|&place| is_ready(&ids[place])).collect())
    }

    fn on_ready(&self, id: DataId, then: Box<dyn FnOnce(Outcome) + Send>) {
        let ready = {
            let mut state = self.state();
            let entry = state.entries.entry(id).or_default();
            match entry.value.clone() {
                Some(value) => Some((then, value.map(|object| object.payload))),
                None => {
                    entry.then.push(then);
                    None
                }
            }
        };
        if let Some((then, outcome)) = ready {
            then(outcome);
        }
    }

    fn retain(&self, id: DataId) {
        self.state().entries.entry(id).or_default().references += 1;
    }

    fn release(&self, id: DataId) {
        let gone = {
            let mut state = self.state();
            let entry = state.entries.get_mut(&id).unwrap_or_else(|| panic!("{id} was released too often"));
            entry.references -= 1;
            if entry.references == 0 { state.entries.remove(&id) } else { None }
        };
        if let Some(Ok(object)) = gone.and_then(|entry| entry.value) {
            object.borrowed.into_iter().for_each(|id| self.release(id));
        }
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>> {
        if len > 1 << 30 || self.state().is_full {
            return Err(StoreFull::new(len as u64, 0, 1 << 30).into());
        }
        self.state().allocations += 1;
        let words = len.div_ceil(size_of::<u64>());
        Ok(Box::new(Buffer { words: vec![0; words], len }))
    }

    fn cluster(&self) -> Result<ClusterInfo> {
        Ok(ClusterInfo::default())
    }

    fn find_actor(&self, _: &str) -> Result<Option<unidist_backend::NamedActor>> {
        Ok(None)
    }

    fn live_objects(&self) -> Result<usize> {
        Ok(self.state().entries.len())
    }

    fn live(&self, _: usize) -> Result<Vec<unidist_backend::Live>> {
        Ok(Vec::new())
    }

    /// Drops calls that were not taken yet.
    fn cancel(&self, ids: &[DataId], _: Which) -> Result<usize> {
        let is_named = |spec: &TaskSpec| spec.returns.ids().any(|id| ids.contains(&id));
        let (cancelled, kept): (Vec<_>, Vec<_>) = self.take_submitted().into_iter().partition(is_named);
        self.state().submitted = kept;
        for spec in &cancelled {
            self.finish(spec, Err(TaskError::new(ErrorKind::Cancelled, "")));
        }
        Ok(cancelled.len())
    }

    fn status(&self, ids: &[DataId]) -> Result<Vec<CallStatus>> {
        Ok(ids.iter().map(|_| CallStatus::Waiting).collect())
    }

    fn workers(&self, _: usize, _: Option<Duration>) -> Result<Vec<WorkerInfo>> {
        Ok(Vec::new())
    }

    fn current_worker(&self) -> Option<ProcessId> {
        None
    }

    fn end_worker(&self, _: ProcessId) -> Result<bool> {
        Ok(false)
    }

    fn is_cancelled(&self, _: TaskId) -> bool {
        false
    }

    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

struct Buffer {
    words: Vec<u64>,
    len: usize,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl WritableBuffer for Buffer {
    fn freeze(self: Box<Self>) -> Bytes {
        Bytes::from_owner(*self)
    }
}
