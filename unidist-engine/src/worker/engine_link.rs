//! A process's end of its link: what goes out and what comes in.

use super::cancelled::CancelledCalls;
use super::client::answer;
use super::task_loop;
use super::task_queue::TaskQueue;
use crate::client::pending::{Callback, PendingRequests};
use crate::controller::unexpected;
use crate::link::channel::Channel;
use crate::link::ring::LinkMemory;
use crate::protocol::wire::WireError;
use crate::protocol::worker::{FromWorker, Reply, Request, RequestId, ToWorker};
use crate::store::Block;
use crate::store::client::StoreBackend;
use crate::store::segment::Segment;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use unidist_common::{DataId, Error, IdSource, Object, Payload, ProcessId, Result};

/// With more calls than this in line, a worker has no need of the engine soon.
const ENOUGH: usize = 8;

/// The process's end of its link, with what has come over it. The store client uses it, too.
pub(super) struct EngineLink {
    pub(super) process: ProcessId,
    pub(super) is_actor: bool,
    /// The actor of this process, once its constructor has arrived.
    pub(super) actor: OnceLock<DataId>,
    pub(super) ids: IdSource,
    pub(super) memory: Arc<LinkMemory>,
    pub(super) segment: Arc<Segment>,
    pub(super) channel: Mutex<Channel<FromWorker, ToWorker>>,
    pub(super) tasks: TaskQueue,
    pub(super) requests: PendingRequests,
    pub(super) cancelled: CancelledCalls,
    pub(super) stopping: AtomicBool,
    /// How many results lie in the link for which the engine was not rung.
    pub(super) lying: AtomicU32,
    /// The task thread runs the user's code.
    pub(super) in_user_code: AtomicBool,
    /// Up to this many bytes of an object travel in messages.
    pub(super) inline_limit: usize,
}

impl StoreBackend for EngineLink {
    fn allocate(&self, len: u64) -> Result<Block> {
        let (request, slot) = self.requests.open();
        self.send(&FromWorker::Allocate(request, len));
        task_loop::await_slot(&slot);
        match answer("put", slot.take())? {
            Reply::Allocated(block) => Ok(block),
            _ => Err(unexpected("put")),
        }
    }

    fn give_back(&self, block: Block) {
        self.post(&FromWorker::GiveBack(block));
    }

    fn map(&self, id: DataId) {
        self.post(&FromWorker::Request(Request::PinView(id)));
    }

    fn unmap(&self, id: DataId) {
        self.post(&FromWorker::Request(Request::UnpinView(id)));
    }
}

impl EngineLink {
    pub(super) fn send(&self, message: &FromWorker) {
        if let Err(error) = self.try_send(message) {
            self.give_up(&error);
        }
    }

    /// Sends a message that may be too long.
    pub(super) fn try_send(&self, message: &FromWorker) -> Result<(), WireError> {
        self.write(message)?;
        self.segment.bell().ring();
        Ok(())
    }

    /// The same for a result: the engine is not woken for each while there is enough to do here.
    pub(super) fn send_result(&self, message: &FromWorker) -> Result<(), WireError> {
        self.write(message)?;
        let lying = self.lying.load(Ordering::Relaxed) + 1;
        if lying < self.segment.wake_batch().get() && self.tasks.len() > ENOUGH {
            self.lying.store(lying, Ordering::Relaxed);
        } else {
            self.lying.store(0, Ordering::Relaxed);
            self.segment.bell().ring();
        }
        Ok(())
    }

    fn write(&self, message: &FromWorker) -> Result<(), WireError> {
        let mut channel = self.channel();
        channel.send(message)?;
        self.flush(&mut channel);
        Ok(())
    }

    /// Sends a request, or answers it with the reason why it cannot be sent.
    pub(super) fn ask(&self, request: RequestId, call: &str, message: &FromWorker) {
        if let Err(error) = self.try_send(message)
            && let Some(callback) = self.requests.answer(request, Reply::Failed(error.of_request(call)))
        {
            callback.call();
        }
    }

    /// Refuses an object that no message can carry, before any of it is in the store.
    pub(super) fn check_length(&self, object: &Object) -> Result<()> {
        let small = self.inline_limit;
        let (most, limit) = (most_bytes(object, small), self.channel().limit());
        if most <= limit {
            return Ok(());
        }
        let parts = 1 + object.payload.buffers.len();
        let message = format!(
            "the object has {parts} parts; those of at most {small} bytes are more than fit into a message of {limit} \
             bytes: use fewer and larger ones"
        );
        Err(Error::InvalidArgument { call: "put".into(), message })
    }

    /// Sends a message for which nobody waits: it is there when the engine looks next.
    pub(super) fn post(&self, message: &FromWorker) {
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

    pub(super) fn pump(&self) -> bool {
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
                        ToWorker::Run(run) => self.tasks.push(run),
                        ToWorker::RetractTasks(tasks) => {
                            let returned = self.tasks.take_back(&tasks);
                            self.append(&mut channel, &FromWorker::Retracted(returned));
                        }
                        ToWorker::Cancel(call, why) => match self.tasks.remove(call) {
                            true => {
                                let ended = FromWorker::Done(call, Err((*why).clone()));
                                self.append(&mut channel, &ended);
                            }
                            false => self.cancelled.add(call, why),
                        },
                        ToWorker::Reply(request, reply) => answers.push((request, reply)),
                        ToWorker::Stop => {
                            self.tasks.clear();
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

    pub(super) fn channel(&self) -> MutexGuard<'_, Channel<FromWorker, ToWorker>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No encoding of the object in a message is longer than this.
fn most_bytes(object: &Object, small: usize) -> usize {
    const OF_A_NAME: usize = 64;
    let Payload { header, buffers } = &object.payload;
    let inline = |bytes: &Bytes| OF_A_NAME + if bytes.len() <= small { bytes.len() } else { 0 };
    let names = (1 + object.borrowed.len()) * OF_A_NAME;
    names + inline(header) + buffers.iter().map(inline).sum::<usize>()
}
