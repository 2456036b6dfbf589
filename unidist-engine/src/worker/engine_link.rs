//! A process's end of its link: what goes out and what comes in.

use super::cancelled::CancelledCalls;
use super::task_queue::TaskQueue;
use crate::client::pending::{Callback, PendingRequests};
use crate::link::channel::Channel;
use crate::link::ring::{LinkMemory, Side};
use crate::protocol::wire::WireError;
use crate::protocol::worker::{FromWorker, ToWorker};
use crate::store::StoredObject;
use crate::store::segment::Segment;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use unidist_backend::{Owner, end_forked_child};
use unidist_common::{IdSource, ProcessId, TaskError, TaskId};
use unidist_sync::{Doorbell, Sleeper};

/// With more queued tasks than this, a worker does not wake the engine for each result or wait.
const MIN_QUEUE_TO_BATCH: usize = 8;

/// The process's end of its link, with what has arrived over it; shared by the threads of the process.
pub(super) struct EngineLink {
    pub(super) owner: Owner,
    pub(super) process: ProcessId,
    pub(super) is_actor: bool,
    /// The actor of this process, once its constructor has arrived.
    pub(super) actor: OnceLock<TaskId>,
    pub(super) ids: IdSource,
    pub(super) memory: Arc<LinkMemory>,
    pub(super) segment: Arc<Segment>,
    pub(super) channel: Mutex<Channel<FromWorker, ToWorker>>,
    pub(super) tasks: TaskQueue,
    pub(super) requests: PendingRequests,
    pub(super) cancelled: CancelledCalls,
    pub(super) stopping: AtomicBool,
    /// Results in the link for which the engine was not woken.
    pub(super) unsignaled_results: AtomicU32,
    /// Whether the task thread runs user code.
    pub(super) in_user_code: AtomicBool,
    /// Parts of objects of up to this many bytes travel in messages.
    pub(super) inline_limit: usize,
}

impl EngineLink {
    pub(super) fn new(
        process: ProcessId,
        is_actor: bool,
        memory: Arc<LinkMemory>,
        segment: Arc<Segment>,
        inline_limit: usize,
    ) -> Self {
        EngineLink {
            owner: Owner::this_process(),
            process,
            is_actor,
            actor: OnceLock::new(),
            ids: IdSource::new(process),
            channel: Mutex::new(Channel::new(&memory, Side::Worker)),
            memory,
            segment,
            tasks: TaskQueue::default(),
            requests: PendingRequests::default(),
            cancelled: CancelledCalls::default(),
            stopping: AtomicBool::new(false),
            unsignaled_results: AtomicU32::new(0),
            in_user_code: AtomicBool::new(false),
            inline_limit,
        }
    }

    pub(super) fn bell(&self) -> &Doorbell {
        self.memory.bell()
    }

    /// How long a thread spins before it sleeps.
    pub(super) fn spin_limit(&self) -> Duration {
        self.segment.spin_limit().get()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// This process runs the actor from now on.
    pub(super) fn set_actor(&self, actor: TaskId) {
        // The engine sends one constructor to a process.
        let _ = self.actor.set(actor);
    }

    /// User code has returned: a forked child of the call ends here, since the answer, the link and the next call belong to
    /// its parent.
    pub(super) fn end_if_forked(&self, error: Option<&TaskError>) {
        if self.owner.is_forked() {
            end_forked_child(error.map(|error| error as _));
        }
    }

    /// Whether part of what was sent waits for space in the ring.
    pub(super) fn has_unsent(&self) -> bool {
        self.channel().has_backlog()
    }

    /// Whether [`pump`](EngineLink::pump) would read a message, or has space for unsent bytes.
    pub(super) fn has_input(&self) -> bool {
        let channel = self.channel();
        channel.has_input() || channel.can_flush()
    }

    /// The task thread enters user code: the engine wakes the link thread for urgent messages.
    pub(super) fn enter_user_code(&self) {
        self.in_user_code.store(true, Ordering::Relaxed);
        let _ = self.bell().announce(Sleeper::Standby);
        if self.has_input() {
            self.pump();
        }
    }

    /// The task thread leaves user code; whether it was in it.
    pub(super) fn leave_user_code(&self) -> bool {
        let was_in_user_code = self.in_user_code.swap(false, Ordering::Relaxed);
        self.bell().withdraw();
        was_in_user_code
    }

    /// The link thread is about to sleep again: the engine wakes it if the task thread is still in user code.
    pub(super) fn announce_standby(&self) {
        if self.in_user_code.load(Ordering::Relaxed) && self.bell().try_announce(Sleeper::Standby) {
            self.pump();
        }
    }

    /// Reports how a call ended.
    pub(super) fn report_done(&self, id: TaskId, result: Result<Vec<StoredObject>, TaskError>) {
        let message = FromWorker::Done { task: id, result };
        let Err(error) = self.send_result(&message) else { return };
        if let FromWorker::Done { result: Ok(objects), .. } = message {
            let places = objects.iter().flat_map(StoredObject::places);
            places.for_each(|place| self.post_now(&FromWorker::FreeBlock(place)));
        }
        self.send_now(&FromWorker::Done { task: id, result: Err(error.of_call("its result")) });
    }

    /// Reports that a task waits. The engine is not woken while this process has enough other tasks.
    pub(super) fn report_suspended(&self, call: TaskId) {
        match self.tasks.len() > MIN_QUEUE_TO_BATCH {
            true => self.post_now(&FromWorker::Suspended(call)),
            false => self.send_now(&FromWorker::Suspended(call)),
        }
    }

    /// Sends a message that fits, and wakes the engine.
    pub(super) fn send_now(&self, message: &FromWorker) {
        if let Err(error) = self.try_send(message) {
            self.abort(&error);
        }
    }

    /// Sends a message that may be too long.
    pub(super) fn try_send(&self, message: &FromWorker) -> Result<(), WireError> {
        self.write(message)?;
        self.segment.bell().ring();
        Ok(())
    }

    /// Sends a result that may be too long. While enough tasks are queued here, several results wake the engine once.
    fn send_result(&self, message: &FromWorker) -> Result<(), WireError> {
        self.write(message)?;
        let unsignaled_results = self.unsignaled_results.load(Ordering::Relaxed) + 1;
        if unsignaled_results < self.segment.wake_batch().get() && self.tasks.len() > MIN_QUEUE_TO_BATCH {
            self.unsignaled_results.store(unsignaled_results, Ordering::Relaxed);
        } else {
            self.unsignaled_results.store(0, Ordering::Relaxed);
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

    /// Sends a message that fits, and does not wake the engine.
    pub(super) fn post_now(&self, message: &FromWorker) {
        let mut channel = self.channel();
        self.append(&mut channel, message);
        self.flush(&mut channel);
    }

    fn append(&self, channel: &mut Channel<FromWorker, ToWorker>, message: &FromWorker) {
        if let Err(error) = channel.send(message) {
            self.abort(&error);
        }
    }

    fn flush(&self, channel: &mut Channel<FromWorker, ToWorker>) {
        if let Err(error) = channel.flush() {
            self.abort(&error);
        }
    }

    /// Reads what has arrived and sends what had no space; false if nothing has arrived.
    pub(super) fn pump(&self) -> bool {
        let mut answers = Vec::new();
        let mut progressed = false;
        let mut channel = self.channel();
        loop {
            match channel.receive() {
                Ok(None) => break,
                Err(error) => self.abort(&error),
                Ok(Some(message)) => {
                    progressed = true;
                    match message {
                        ToWorker::Run(run) => self.tasks.push(run),
                        ToWorker::RetractTasks(tasks) => {
                            let returned = self.tasks.take_back(&tasks);
                            self.append(&mut channel, &FromWorker::Retracted(returned));
                        }
                        ToWorker::Cancel { task: call, error: why } => match self.tasks.remove(call) {
                            true => {
                                let ended = FromWorker::Done { task: call, result: Err((*why).clone()) };
                                self.append(&mut channel, &ended);
                            }
                            false => self.cancelled.add(call, why),
                        },
                        ToWorker::Reply(request, reply) => answers.push((request, reply)),
                        ToWorker::Stop => {
                            // The engine counts them as running: they would fail as if this process had died.
                            let returned = self.tasks.take_all();
                            self.append(&mut channel, &FromWorker::Retracted(returned));
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
        progressed
    }

    /// Ends the process: without its link it can report to no one but the log.
    fn abort(&self, error: &WireError) -> ! {
        log::error!("{}: the link to the engine is broken: {error}", self.process);
        std::process::abort()
    }

    pub(super) fn channel(&self) -> MutexGuard<'_, Channel<FromWorker, ToWorker>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
