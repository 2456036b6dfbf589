//! The scheduler as a worker's code sees it: every call is a message, every answer one too.

use super::cancelled::CancelledCalls;
use super::engine_link::EngineLink;
use super::task_loop;
use super::task_queue::TaskQueue;
use crate::client::pending::{PendingRequests, Slot};
use crate::controller::{load_all, load_one, unexpected};
use crate::link::channel::Channel;
use crate::link::ring::{LinkMemory, Side};
use crate::protocol::worker::{FromWorker, Reply, Request, RequestId};
use crate::store::StoredObject;
use crate::store::client::{ObjectStore, StoreBackend};
use crate::store::segment::Segment;
use crate::store::spill::SpillFile;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use unidist_backend::{
    Backend, CallStatus, ClusterInfo, Outcome, StoreUsage, Which, WorkerInfo, WritableBuffer, current_call,
};
use unidist_common::{DataId, Error, IdSource, Object, ProcessId, Result, TaskError, TaskSpec};
use unidist_sync::{Doorbell, Sleeper};

/// The process's end of its link, shared by its threads.
pub(crate) struct Client {
    end: Arc<EngineLink>,
    store: ObjectStore,
}

impl Client {
    pub(super) fn new(
        process: ProcessId,
        is_actor: bool,
        memory: Arc<LinkMemory>,
        segment: Arc<Segment>,
        spill: Option<Arc<SpillFile>>,
        inline_limit: usize,
    ) -> Self {
        let end = Arc::new(EngineLink {
            process,
            is_actor,
            actor: OnceLock::new(),
            ids: IdSource::new(process),
            channel: Mutex::new(Channel::new(&memory, Side::Worker)),
            memory,
            segment: segment.clone(),
            tasks: TaskQueue::default(),
            requests: PendingRequests::default(),
            cancelled: CancelledCalls::default(),
            stopping: AtomicBool::new(false),
            lying: AtomicU32::new(0),
            in_user_code: AtomicBool::new(false),
            inline_limit,
        });
        Client { store: ObjectStore::new(segment, spill, end.clone(), inline_limit), end }
    }

    pub(super) fn is_actor(&self) -> bool {
        self.end.is_actor
    }

    pub(super) fn store(&self) -> &ObjectStore {
        &self.store
    }

    pub(super) fn bell(&self) -> &Doorbell {
        self.end.memory.bell()
    }

    /// How long to look before going to sleep.
    pub(super) fn spin_limit(&self) -> Duration {
        self.end.segment.spin_limit().get()
    }

    pub(super) fn requests(&self) -> &PendingRequests {
        &self.end.requests
    }

    pub(super) fn cancelled(&self) -> &CancelledCalls {
        &self.end.cancelled
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.end.stopping.load(Ordering::Acquire)
    }

    /// The calls that have arrived and not started.
    pub(super) fn tasks(&self) -> &TaskQueue {
        &self.end.tasks
    }

    pub(super) fn hosts(&self, actor: DataId) {
        // The engine sends one constructor to a process.
        let _ = self.end.actor.set(actor);
    }

    /// Sends a short message now.
    pub(super) fn send(&self, message: &FromWorker) {
        self.end.send(message);
    }

    /// Says how a call has ended.
    pub(super) fn done(&self, id: DataId, result: Result<Vec<StoredObject>, TaskError>) {
        let message = FromWorker::Done(id, result);
        let Err(error) = self.end.send_result(&message) else { return };
        if let FromWorker::Done(_, Ok(objects)) = message {
            let blocks = objects.iter().flat_map(StoredObject::blocks);
            blocks.for_each(|block| self.end.give_back(block));
        }
        self.send(&FromWorker::Done(id, Err(error.of_call("what the call gave"))));
    }

    /// Reads what has arrived and sends what is left over; false if there was nothing.
    pub(super) fn pump(&self) -> bool {
        self.end.pump()
    }

    /// Whether something that was sent waits for room in the ring.
    pub(super) fn has_unsent(&self) -> bool {
        self.end.channel().has_backlog()
    }

    /// Whether [`pump`](Client::pump) would find something to read, or room for what is left over.
    pub(super) fn has_input(&self) -> bool {
        let channel = self.end.channel();
        channel.has_input() || channel.can_flush()
    }

    /// The task thread goes into the user's code: from now on the link thread is woken for what cannot wait.
    pub(super) fn enter_user_code(&self) {
        self.end.in_user_code.store(true, Ordering::Relaxed);
        let _ = self.bell().announce(Sleeper::Standby);
        if self.has_input() {
            self.pump();
        }
    }

    /// The task thread is back; tells whether it was away.
    pub(super) fn leave_user_code(&self) -> bool {
        let was_away = self.end.in_user_code.swap(false, Ordering::Relaxed);
        self.bell().withdraw();
        was_away
    }

    /// The link thread is about to sleep again: it is to be rung for if the task thread is still away.
    pub(super) fn stand_by_again(&self) {
        if self.end.in_user_code.load(Ordering::Relaxed) && self.bell().try_announce(Sleeper::Standby) {
            self.pump();
        }
    }

    /// Waits for the answer to a request: the task thread by serving meanwhile, another by sleeping.
    fn await_answer(&self, slot: &Slot, deadline: Option<Instant>, awaited: &[DataId]) {
        // The engine ends the wait of a cancelled task itself, in step with what the worker runs. Of an actor's
        // asynchronous calls it does not know which one waits.
        let gives_up = || self.end.is_actor && self.end.cancelled.check().is_err();
        if task_loop::serve_until(deadline, awaited, || slot.is_done() || gives_up()) {
            return;
        }
        while !slot.is_done() {
            match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(left) if left.is_zero() => return,
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }

    fn request(
        &self,
        call: &str,
        awaited: &[DataId],
        message: impl FnOnce(RequestId) -> FromWorker,
    ) -> Result<Reply> {
        let (request, slot) = self.end.requests.open();
        self.end.ask(request, call, &message(request));
        self.await_answer(&slot, None, awaited);
        if !slot.is_done() {
            // It has given up. An answer that comes late may bring views, which are to be given back.
            let (store, ids) = (self.store.clone(), awaited.to_vec());
            let late = move |reply| {
                if let Reply::Values(values) = &reply {
                    drop(load_all(&store, &ids, values));
                }
            };
            self.end.requests.abandon(request, &slot, Box::new(late));
        }
        self.answer(call, &slot)
    }

    /// The same for a request that is answered with what is there when the time is over.
    fn request_until(
        &self,
        call: &str,
        timeout: Option<Duration>,
        ask: impl FnOnce(RequestId) -> Request,
    ) -> Result<Reply> {
        let (request, slot) = self.end.requests.open();
        self.end.ask(request, call, &FromWorker::Request(ask(request)));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        // Only the engine knows what a `wait` still needs: it says what to run meanwhile.
        self.await_answer(&slot, deadline, &[]);
        if !slot.is_done() {
            self.send(&FromWorker::Request(Request::Expire { request }));
            self.await_answer(&slot, None, &[]);
        }
        self.answer(call, &slot)
    }

    /// The answer, or why there is none.
    fn answer(&self, call: &str, slot: &Slot) -> Result<Reply> {
        match slot.take() {
            None => self.end.cancelled.check().and_then(|()| answer(call, None)),
            reply => answer(call, reply),
        }
    }
}

pub(super) fn answer(call: &str, reply: Option<Reply>) -> Result<Reply> {
    match reply {
        Some(Reply::Failed(error)) => Err(error),
        Some(reply) => Ok(reply),
        None => Err(Error::SessionEnded { call: call.into() }),
    }
}

impl Backend for Client {
    fn name(&self) -> &'static str {
        "worker"
    }

    fn reserve(&self, count: u32) -> DataId {
        self.end.ids.reserve(count)
    }

    fn submit(&self, task: TaskSpec) {
        let caller = self.end.actor.get().copied().or_else(current_call);
        let message = FromWorker::Request(Request::Submit { spec: Box::new(task), caller });
        let Err(error) = self.end.try_send(&message) else { return };
        if let FromWorker::Request(Request::Submit { spec: task, caller }) = message {
            let error = error.of_call("its arguments").of_function(&task.name);
            let (args, dependencies, borrowed) = Default::default();
            let task = TaskSpec { body: None, args, dependencies, borrowed, ..*task };
            self.send(&FromWorker::Request(Request::SubmitFailed { spec: Box::new(task), caller, error }));
        }
    }

    fn put(&self, object: Object) -> Result<DataId> {
        self.end.cancelled.check()?;
        self.end.check_length(&object)?;
        let id = self.end.ids.reserve(1);
        self.store.put(id, object, |stored, views| {
            self.send(&FromWorker::Request(Request::Put { id, object: stored, views }))
        })?;
        Ok(id)
    }

    fn get(&self, ids: &[DataId]) -> Result<Vec<Outcome>> {
        self.end.cancelled.check()?;
        // The task that waits, if this thread runs one, gives its slot back meanwhile.
        let blocks = current_call();
        let ask = |request| FromWorker::Request(Request::Get { request, ids: ids.to_vec(), blocks });
        match self.request("get", ids, ask)? {
            Reply::Values(values) if values.len() == ids.len() => Ok(load_all(&self.store, ids, &values)),
            _ => Err(unexpected("get")),
        }
    }

    fn wait(&self, ids: &[DataId], num_returns: usize, timeout: Option<Duration>) -> Result<Vec<usize>> {
        self.end.cancelled.check()?;
        let ask = |request| Request::Wait {
            request,
            ids: ids.to_vec(),
            count: num_returns as u64,
            timed: timeout.is_some(),
            blocks: current_call(),
        };
        match self.request_until("wait", timeout, ask)? {
            Reply::Ready(positions) => Ok(positions.into_iter().map(|at| at as usize).collect()),
            _ => Err(unexpected("wait")),
        }
    }

    fn on_ready(&self, id: DataId, then: Box<dyn FnOnce(Outcome) + Send>) {
        let store = self.store.clone();
        let request = self.end.requests.open_with(Box::new(move |reply| then(load_one(&store, id, reply))));
        self.send(&FromWorker::Request(Request::Get { request, ids: vec![id], blocks: None }));
    }

    fn retain(&self, id: DataId) {
        self.end.post(&FromWorker::Request(Request::Retain(id)));
    }

    fn release(&self, id: DataId) {
        self.end.post(&FromWorker::Request(Request::Release(id)));
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>> {
        self.end.cancelled.check()?;
        self.store.allocate(len)
    }

    fn cluster(&self) -> Result<ClusterInfo> {
        match self.request("cluster_resources", &[], FromWorker::Cluster)? {
            Reply::Cluster(info) => Ok(info),
            _ => Err(unexpected("cluster_resources")),
        }
    }

    fn live_objects(&self) -> Result<usize> {
        match self
            .request("live_objects", &[], |request| FromWorker::Request(Request::LiveObjects { request }))?
        {
            Reply::Count(count) => Ok(count as usize),
            _ => Err(unexpected("live_objects")),
        }
    }

    fn store_usage(&self) -> Result<StoreUsage> {
        match self.request("store_usage", &[], FromWorker::StoreUsage)? {
            Reply::StoreUsage(usage) => Ok(usage),
            _ => Err(unexpected("store_usage")),
        }
    }

    /// A call that is to end may still cancel others.
    fn cancel(&self, ids: &[DataId], which: Which) -> Result<usize> {
        let (request, slot) = self.end.requests.open();
        self.send(&FromWorker::Request(Request::Cancel { request, ids: ids.to_vec(), which }));
        task_loop::await_slot(&slot);
        match answer("cancel", slot.take())? {
            Reply::Count(count) => Ok(count as usize),
            _ => Err(unexpected("cancel")),
        }
    }

    fn status(&self, ids: &[DataId]) -> Result<Vec<CallStatus>> {
        let ask = |request| FromWorker::Request(Request::Status { request, ids: ids.to_vec() });
        match self.request("status", &[], ask)? {
            Reply::Status(found) if found.len() == ids.len() => Ok(found),
            _ => Err(unexpected("status")),
        }
    }

    fn workers(&self, at_least: usize, timeout: Option<Duration>) -> Result<Vec<WorkerInfo>> {
        let ask = |request| Request::Workers { request, at_least: at_least as u64 };
        match self.request_until("workers", timeout, ask)? {
            Reply::Workers(workers) => Ok(workers),
            _ => Err(unexpected("workers")),
        }
    }

    fn current_worker(&self) -> Option<ProcessId> {
        (!self.end.is_actor).then_some(self.end.process)
    }

    fn end_worker(&self, worker: ProcessId) -> Result<bool> {
        match self.request("end_worker", &[], |request| {
            FromWorker::Request(Request::EndWorker { request, worker })
        })? {
            Reply::Count(count) => Ok(count > 0),
            _ => Err(unexpected("end_worker")),
        }
    }

    fn is_cancelled(&self, call: DataId) -> bool {
        self.end.cancelled.why(call).is_some()
    }

    /// The session belongs to the program: a worker's end of it does nothing.
    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
