//! The scheduler as a worker's code sees it: every call is a message, every answer one too.

use super::calls::Calls;
use super::cancelled::CancelledCalls;
use super::task_loop;
use crate::controller::{load_all, load_one, unexpected};
use crate::link::bell::{Bell, Sleeper};
use crate::link::channel::Channel;
use crate::link::message::{Ask, FromWorker, Reply, RequestId, ToWorker};
use crate::link::ring::{LinkMemory, Side};
use crate::link::wire::WireError;
use crate::pending::{Callback, Requests, Slot};
use crate::store::depot::{Depot, INLINE_LIMIT, Ledger};
use crate::store::segment::Segment;
use crate::store::spill::SpillFile;
use crate::store::{Block, StoredObject};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use unidist_common::{DataId, Error, IdSource, Object, Payload, ProcessId, Result, TaskError, TaskSpec};
use unidist_core::{Backend, ClusterInfo, Outcome, StoreUsage, WritableBuffer, current_call};

/// The process's end of its link, shared by its threads.
pub(crate) struct Client {
    core: Arc<Core>,
    depot: Depot,
}

/// What the depot needs of the client, too.
struct Core {
    process: ProcessId,
    is_actor: bool,
    /// The actor of this process, once its constructor has arrived.
    actor: OnceLock<DataId>,
    ids: IdSource,
    memory: Arc<LinkMemory>,
    segment: Arc<Segment>,
    channel: Mutex<Channel<FromWorker, ToWorker>>,
    calls: Calls,
    requests: Requests,
    cancelled: CancelledCalls,
    stopping: AtomicBool,
    /// The task thread runs the user's code.
    in_user_code: AtomicBool,
}

impl Client {
    pub(super) fn new(
        process: ProcessId,
        is_actor: bool,
        memory: Arc<LinkMemory>,
        segment: Arc<Segment>,
        spill: Option<Arc<SpillFile>>,
    ) -> Self {
        let core = Arc::new(Core {
            process,
            is_actor,
            actor: OnceLock::new(),
            ids: IdSource::new(process),
            channel: Mutex::new(Channel::new(&memory, Side::Worker)),
            memory,
            segment: segment.clone(),
            calls: Calls::default(),
            requests: Requests::default(),
            cancelled: CancelledCalls::default(),
            stopping: AtomicBool::new(false),
            in_user_code: AtomicBool::new(false),
        });
        Client { depot: Depot::new(segment, spill, core.clone()), core }
    }

    pub(super) fn is_actor(&self) -> bool {
        self.core.is_actor
    }

    pub(super) fn depot(&self) -> &Depot {
        &self.depot
    }

    pub(super) fn bell(&self) -> &Bell {
        self.core.memory.bell()
    }

    /// How long to look before going to sleep.
    pub(super) fn patience(&self) -> Duration {
        self.core.segment.patience().get()
    }

    pub(super) fn requests(&self) -> &Requests {
        &self.core.requests
    }

    pub(super) fn cancelled(&self) -> &CancelledCalls {
        &self.core.cancelled
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.core.stopping.load(Ordering::Acquire)
    }

    /// The calls that have arrived and not started.
    pub(super) fn calls(&self) -> &Calls {
        &self.core.calls
    }

    pub(super) fn hosts(&self, actor: DataId) {
        // The engine sends one constructor to a process.
        let _ = self.core.actor.set(actor);
    }

    /// Sends a short message now.
    pub(super) fn send(&self, message: &FromWorker) {
        self.core.send(message);
    }

    /// Says how a call has ended.
    pub(super) fn done(&self, id: DataId, result: Result<Vec<StoredObject>, TaskError>) {
        let message = FromWorker::Done(id, result);
        let Err(error) = self.core.try_send(&message) else { return };
        if let FromWorker::Done(_, Ok(objects)) = message {
            let blocks = objects.iter().flat_map(StoredObject::blocks);
            blocks.for_each(|block| self.core.give_back(block));
        }
        self.send(&FromWorker::Done(id, Err(error.of_call("what the call gave"))));
    }

    /// Reads what has arrived and sends what is left over; false if there was nothing.
    pub(super) fn pump(&self) -> bool {
        self.core.pump()
    }

    /// Whether something that was sent waits for room in the ring.
    pub(super) fn has_unsent(&self) -> bool {
        self.core.channel().has_backlog()
    }

    /// Whether [`pump`](Client::pump) would find something to read, or room for what is left over.
    pub(super) fn has_input(&self) -> bool {
        let channel = self.core.channel();
        channel.has_input() || channel.can_flush()
    }

    /// The task thread goes into the user's code: from now on the link thread is woken for what cannot wait.
    pub(super) fn enter_user_code(&self) {
        self.core.in_user_code.store(true, Ordering::Relaxed);
        let _ = self.bell().announce(Sleeper::Standby);
        if self.has_input() {
            self.pump();
        }
    }

    /// The task thread is back; tells whether it was away.
    pub(super) fn leave_user_code(&self) -> bool {
        let was_away = self.core.in_user_code.swap(false, Ordering::Relaxed);
        self.bell().awake();
        was_away
    }

    /// The link thread is about to sleep again: it is to be rung for if the task thread is still away.
    pub(super) fn stand_by_again(&self) {
        if self.core.in_user_code.load(Ordering::Relaxed) && self.bell().announce_if_nobody(Sleeper::Standby)
        {
            self.pump();
        }
    }

    /// Waits for the answer to a request: the task thread by serving meanwhile, another by sleeping.
    fn await_answer(&self, slot: &Slot, deadline: Option<Instant>, awaited: &[DataId]) {
        // The engine ends the wait of a cancelled task itself, in step with what the worker runs. Of an actor's
        // asynchronous calls it does not know which one waits.
        let gives_up = || self.core.is_actor && self.core.cancelled.check().is_err();
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
        let (request, slot) = self.core.requests.open();
        self.core.ask(request, call, &message(request));
        self.await_answer(&slot, None, awaited);
        self.answer(call, &slot)
    }

    /// The answer, or why there is none.
    fn answer(&self, call: &str, slot: &Slot) -> Result<Reply> {
        match slot.take() {
            None => self.core.cancelled.check().and_then(|()| answer(call, None)),
            reply => answer(call, reply),
        }
    }
}

/// No encoding of the object in a message is longer than this.
fn most_bytes(object: &Object) -> usize {
    const OF_A_NAME: usize = 64;
    let Payload { header, buffers } = &object.payload;
    let inline = |bytes: &Bytes| OF_A_NAME + if bytes.len() <= INLINE_LIMIT { bytes.len() } else { 0 };
    let names = (1 + object.borrowed.len()) * OF_A_NAME;
    names + inline(header) + buffers.iter().map(inline).sum::<usize>()
}

fn answer(call: &str, reply: Option<Reply>) -> Result<Reply> {
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
        self.core.ids.reserve(count)
    }

    fn submit(&self, task: TaskSpec) {
        let caller = self.core.actor.get().copied().or_else(current_call);
        let message = FromWorker::Ask(Ask::Submit(Box::new(task), caller));
        let Err(error) = self.core.try_send(&message) else { return };
        if let FromWorker::Ask(Ask::Submit(task, caller)) = message {
            let error = error.of_call("its arguments").of_function(&task.name);
            let (args, dependencies, borrowed) = Default::default();
            let task = TaskSpec { body: None, args, dependencies, borrowed, ..*task };
            self.send(&FromWorker::Ask(Ask::Refuse(Box::new(task), caller, error)));
        }
    }

    fn put(&self, object: Object) -> Result<DataId> {
        self.core.cancelled.check()?;
        self.core.check_length(&object)?;
        let id = self.core.ids.reserve(1);
        self.depot
            .put(id, object, |stored, views| self.send(&FromWorker::Ask(Ask::Put(id, stored, views))))?;
        Ok(id)
    }

    fn get(&self, ids: &[DataId]) -> Result<Vec<Outcome>> {
        self.core.cancelled.check()?;
        // The task that waits, if this thread runs one, gives its slot back meanwhile.
        let blocks = current_call();
        let ask = |request| FromWorker::Ask(Ask::Get(request, ids.to_vec(), blocks));
        match self.request("get", ids, ask)? {
            Reply::Values(values) if values.len() == ids.len() => Ok(load_all(&self.depot, ids, &values)),
            _ => Err(unexpected("get")),
        }
    }

    fn wait(&self, ids: &[DataId], num_returns: usize, timeout: Option<Duration>) -> Result<Vec<usize>> {
        self.core.cancelled.check()?;
        let (request, slot) = self.core.requests.open();
        let ask = Ask::Wait {
            request,
            ids: ids.to_vec(),
            count: num_returns as u64,
            timed: timeout.is_some(),
            blocks: current_call(),
        };
        self.core.ask(request, "wait", &FromWorker::Ask(ask));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        // Only the engine knows what a `wait` still needs: it says what to run meanwhile.
        self.await_answer(&slot, deadline, &[]);
        if !slot.is_done() {
            self.send(&FromWorker::Ask(Ask::Hurry(request)));
            self.await_answer(&slot, None, &[]);
        }
        match self.answer("wait", &slot)? {
            Reply::Ready(positions) => Ok(positions.into_iter().map(|at| at as usize).collect()),
            _ => Err(unexpected("wait")),
        }
    }

    fn on_ready(&self, id: DataId, then: Box<dyn FnOnce(Outcome) + Send>) {
        let depot = self.depot.clone();
        let request = self.core.requests.open_with(Box::new(move |reply| then(load_one(&depot, id, reply))));
        self.send(&FromWorker::Ask(Ask::Get(request, vec![id], None)));
    }

    fn retain(&self, id: DataId) {
        self.core.post(&FromWorker::Ask(Ask::Retain(id)));
    }

    fn release(&self, id: DataId) {
        self.core.post(&FromWorker::Ask(Ask::Release(id)));
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>> {
        self.core.cancelled.check()?;
        self.depot.allocate(len)
    }

    fn cluster(&self) -> Result<ClusterInfo> {
        match self.request("cluster_resources", &[], FromWorker::Cluster)? {
            Reply::Cluster(info) => Ok(info),
            _ => Err(unexpected("cluster_resources")),
        }
    }

    fn live_objects(&self) -> Result<usize> {
        match self.request("live_objects", &[], |request| FromWorker::Ask(Ask::LiveObjects(request)))? {
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
    fn cancel(&self, ids: &[DataId]) -> Result<usize> {
        let (request, slot) = self.core.requests.open();
        self.send(&FromWorker::Ask(Ask::Cancel(request, ids.to_vec())));
        if !task_loop::serve_until(None, &[], || slot.is_done()) {
            while !slot.is_done() {
                std::thread::park();
            }
        }
        match answer("cancel", slot.take())? {
            Reply::Count(count) => Ok(count as usize),
            _ => Err(unexpected("cancel")),
        }
    }

    fn is_cancelled(&self, call: DataId) -> bool {
        self.core.cancelled.why(call).is_some()
    }

    /// The session belongs to the program: a worker's end of it does nothing.
    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

impl Ledger for Core {
    fn allocate(&self, len: u64) -> Result<Block> {
        let (request, slot) = self.requests.open();
        self.send(&FromWorker::Allocate(request, len));
        if !task_loop::serve_until(None, &[], || slot.is_done()) {
            while !slot.is_done() {
                std::thread::park();
            }
        }
        match answer("put", slot.take())? {
            Reply::Allocated(block) => Ok(block),
            _ => Err(unexpected("put")),
        }
    }

    fn give_back(&self, block: Block) {
        self.post(&FromWorker::GiveBack(block));
    }

    fn map(&self, id: DataId) {
        self.post(&FromWorker::Ask(Ask::Map(id)));
    }

    fn unmap(&self, id: DataId) {
        self.post(&FromWorker::Ask(Ask::Unmap(id)));
    }
}

impl Core {
    fn send(&self, message: &FromWorker) {
        if let Err(error) = self.try_send(message) {
            self.give_up(&error);
        }
    }

    /// Sends a message that may be too long.
    fn try_send(&self, message: &FromWorker) -> Result<(), WireError> {
        let mut channel = self.channel();
        channel.send(message)?;
        self.flush(&mut channel);
        drop(channel);
        self.segment.bell().ring();
        Ok(())
    }

    /// Sends a request, or answers it with the reason why it cannot be sent.
    fn ask(&self, request: RequestId, call: &str, message: &FromWorker) {
        if let Err(error) = self.try_send(message)
            && let Some(callback) = self.requests.answer(request, Reply::Failed(error.of_request(call)))
        {
            callback.call();
        }
    }

    /// Refuses an object that no message can carry, before any of it is in the store.
    fn check_length(&self, object: &Object) -> Result<()> {
        let (most, limit) = (most_bytes(object), self.channel().limit());
        if most <= limit {
            return Ok(());
        }
        let parts = 1 + object.payload.buffers.len();
        let message = format!(
            "the object has {parts} parts; those of at most {INLINE_LIMIT} bytes are more than fit into a message of {limit} \
             bytes: use fewer and larger ones"
        );
        Err(Error::InvalidArgument { call: "put".into(), message })
    }

    /// Sends a message for which nobody waits: it is there when the engine looks next.
    fn post(&self, message: &FromWorker) {
        let mut channel = self.channel();
        self.append(&mut channel, message);
        self.flush(&mut channel);
    }

    fn append(&self, channel: &mut Channel<FromWorker, ToWorker>, message: &FromWorker) {
        if let Err(error) = channel.send(message) {
            self.give_up(&error);
        }
    }

    fn flush(&self, channel: &mut Channel<FromWorker, ToWorker>) {
        if let Err(error) = channel.flush() {
            self.give_up(&error);
        }
    }

    fn pump(&self) -> bool {
        let mut answers = Vec::new();
        let mut happened = false;
        let mut channel = self.channel();
        loop {
            match channel.receive() {
                Ok(None) => break,
                Err(error) => self.give_up(&error),
                Ok(Some(message)) => {
                    happened = true;
                    match message {
                        ToWorker::Run(run) => self.calls.push(run),
                        ToWorker::Recall(tasks) => {
                            let returned = self.calls.take_back(&tasks);
                            self.append(&mut channel, &FromWorker::Returned(returned));
                        }
                        ToWorker::Cancel(call, why) => match self.calls.remove(call) {
                            true => {
                                let ended = FromWorker::Done(call, Err((*why).clone()));
                                self.append(&mut channel, &ended);
                            }
                            false => self.cancelled.add(call, why),
                        },
                        ToWorker::Reply(request, reply) => answers.push((request, reply)),
                        ToWorker::Stop => {
                            self.calls.clear();
                            self.stopping.store(true, Ordering::Release);
                        }
                    }
                }
            }
        }
        let starved = channel.take_peer_starved();
        let unsent = channel.has_backlog();
        if unsent {
            self.flush(&mut channel);
        }
        drop(channel);
        if starved || unsent {
            self.segment.bell().ring();
        }
        let callbacks =
            answers.into_iter().filter_map(|(request, reply)| self.requests.answer(request, reply));
        callbacks.collect::<Vec<_>>().into_iter().for_each(Callback::call);
        happened
    }

    /// The engine's end of the link is broken beyond repair: there is nobody to tell but the log.
    fn give_up(&self, error: &WireError) -> ! {
        log::error!("{}: the link to the engine is broken: {error}", self.process);
        std::process::abort()
    }

    fn channel(&self) -> MutexGuard<'_, Channel<FromWorker, ToWorker>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
