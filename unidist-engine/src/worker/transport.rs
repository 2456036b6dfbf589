//! The link as the transport of this process's requests.

use super::engine_link::EngineLink;
use super::task_loop::{self, OnTop};
use crate::client::pending::{PendingRequests, Slot};
use crate::client::{Transport, forked};
use crate::protocol::worker::{Blocks, FromWorker, Reply, Request, RequestId};
use crate::store::{Block, Place};
use bytes::Bytes;
use std::time::Instant;
use unidist_backend::{Owner, current_call};
use unidist_common::{DataId, Error, IdSource, Object, Payload, ProcessId, Result, TaskId, TaskSpec};

/// No encoding of an id in a message is longer.
const MAX_ID_BYTES: usize = 64;

impl Transport for EngineLink {
    fn backend_name(&self) -> &'static str {
        "worker"
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn ids(&self) -> &IdSource {
        &self.ids
    }

    fn pending(&self) -> &PendingRequests {
        &self.requests
    }

    /// The process ends with the session.
    fn check_running(&self, call: &str) -> Result<()> {
        if self.is_forked() { Err(forked(call)) } else { Ok(()) }
    }

    fn check_cancelled(&self) -> Result<()> {
        self.cancelled.check()
    }

    fn check_size(&self, object: &Object) -> Result<()> {
        let inline_limit = self.inline_limit;
        let limit = self.channel().limit();
        if max_message_bytes(object, inline_limit) <= limit {
            return Ok(());
        }
        let parts = 1 + object.payload.buffers.len();
        let message = format!(
            "the object has {parts} parts; those of at most {inline_limit} bytes are more than fit into a message of \
             {limit} bytes: use fewer and larger ones"
        );
        Err(Error::InvalidArgument { call: "put".into(), message })
    }

    fn blocks(&self) -> Blocks {
        match current_call() {
            Some(call) => Blocks::Call { call, can_nest: self.is_actor || task_loop::can_nest() },
            // The threads of an actor are its own affair: it keeps its slot for its lifetime.
            None if self.is_actor || task_loop::is_task_thread() => Blocks::Nothing,
            None => Blocks::Thread,
        }
    }

    fn current_worker(&self) -> Option<ProcessId> {
        (!self.is_actor).then_some(self.process)
    }

    fn is_cancelled(&self, call: TaskId) -> bool {
        self.cancelled.reason(call).is_some()
    }

    fn submit(&self, task: Box<TaskSpec>) {
        let caller = self.actor.get().copied().or_else(current_call);
        let message = FromWorker::Request(Request::Submit { spec: task, caller });
        let Err(error) = self.try_send(&message) else { return };
        if let FromWorker::Request(Request::Submit { spec: task, caller }) = message {
            let error = error.of_call("its arguments").of_function(&task.name);
            let (args, dependencies, borrowed) = Default::default();
            let task = TaskSpec { body: None, args, dependencies, borrowed, ..*task };
            self.send_now(&FromWorker::Request(Request::SubmitFailed {
                spec: Box::new(task),
                caller,
                error,
            }));
        }
    }

    fn send(&self, message: FromWorker) {
        self.send_now(&message);
    }

    fn post(&self, message: FromWorker) {
        self.post_now(&message);
    }

    fn send_request(&self, call: &str, request: RequestId, message: FromWorker) {
        if let Err(error) = self.try_send(&message)
            && let Some(callback) = self.requests.answer(request, Reply::Failed(error.of_request(call)))
        {
            callback.call();
        }
    }

    /// Each message wakes the engine already.
    fn flush(&self) {}

    /// The task thread serves the link and runs tasks meanwhile; other threads sleep.
    fn wait(&self, slot: &Slot, deadline: Option<Instant>, awaited: &[DataId], blocks: Blocks) {
        // The engine ends the wait of a cancelled task itself, in step with what the worker runs. Of an actor's
        // asynchronous calls it does not know which one waits.
        let is_interrupted = || self.is_actor && self.cancelled.check().is_err();
        let on_top = match blocks {
            Blocks::Call { can_nest: true, .. } => OnTop::Awaited(awaited),
            Blocks::Call { can_nest: false, .. } => OnTop::Nothing,
            Blocks::Nothing | Blocks::Thread => OnTop::Unforeseen(awaited),
        };
        if !task_loop::serve_until(deadline, on_top, || slot.is_done() || is_interrupted()) {
            slot.park_until(deadline);
        }
    }

    fn wait_uninterrupted(&self, slot: &Slot) {
        if !task_loop::serve_until(None, OnTop::Unforeseen(&[]), || slot.is_done()) {
            slot.park_until(None);
        }
    }

    /// The controller allocates the blocks of its workers.
    fn allocate_block(&self, _: u64) -> Option<Block> {
        None
    }

    fn free_block(&self, place: Place) {
        self.post_now(&FromWorker::FreeBlock(place));
    }

    /// The session belongs to the program: a task that shuts it down ends nothing.
    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

/// An upper bound of the bytes that the object takes in a message.
fn max_message_bytes(object: &Object, inline_limit: usize) -> usize {
    let Payload { header, buffers } = &object.payload;
    let inline = |bytes: &Bytes| MAX_ID_BYTES + if bytes.len() <= inline_limit { bytes.len() } else { 0 };
    let ids = (1 + object.borrowed.len()) * MAX_ID_BYTES;
    ids + inline(header) + buffers.iter().map(inline).sum::<usize>()
}
