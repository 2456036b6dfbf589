//! What a process needs to exchange messages with the engine.

use super::pending::{PendingRequests, Slot};
use super::replies::{take_reply, unexpected};
use crate::protocol::worker::{Blocks, FromWorker, Reply, Request, RequestId};
use crate::store::client::StoreBackend;
use crate::store::{Block, Place};
use std::time::Instant;
use unidist_backend::Owner;
use unidist_common::{DataId, IdSource, Object, ProcessId, Result, TaskId, TaskSpec};

/// Carries requests to the engine and replies back. Messages of one thread arrive in the order they are sent.
pub(crate) trait Transport: Send + Sync + 'static {
    /// The name that [`Backend::name`](unidist_backend::Backend::name) returns.
    fn backend_name(&self) -> &'static str;

    /// The process that the session belongs to here.
    fn owner(&self) -> &Owner;

    /// Whether this process is a forked child of that one. It must not touch what they share.
    fn is_forked(&self) -> bool {
        self.owner().is_forked()
    }

    /// The ids that this process assigns.
    fn ids(&self) -> &IdSource;

    /// The requests of this process that have no reply yet.
    fn pending(&self) -> &PendingRequests;

    /// Fails once the session has ended, and in a forked child.
    fn check_running(&self, call: &str) -> Result<()>;

    /// Fails in the code of a cancelled call.
    fn check_cancelled(&self) -> Result<()>;

    /// Fails for an object that no message can carry, before any of it is stored.
    fn check_size(&self, object: &Object) -> Result<()>;

    /// What waits if this thread does: a task gives its CPU slot back meanwhile.
    fn blocks(&self) -> Blocks;

    /// The worker that this process is, if it is one.
    fn current_worker(&self) -> Option<ProcessId>;

    /// Whether this call, which runs in this process, was cancelled or has run out of time.
    fn is_cancelled(&self, call: TaskId) -> bool;

    /// Submits a call. If it cannot be sent, its results fail.
    fn submit(&self, task: Box<TaskSpec>);

    /// Sends a message for which a thread may wait.
    fn send(&self, message: FromWorker);

    /// Sends a message that wakes no process: the engine reads it with the next one.
    fn post(&self, message: FromWorker);

    /// Sends a request. If it cannot be sent, the reason is the reply.
    fn send_request(&self, call: &str, request: RequestId, message: FromWorker);

    /// Has the engine read what was sent, for a caller that does not wait.
    fn flush(&self);

    /// Waits for the reply until the deadline, the end of the session, or the cancellation of the waiting call.
    /// Meanwhile, the thread may run tasks that produce the `awaited` objects, and others that the engine sends, as far as
    /// the request said in its `blocks`.
    fn wait(&self, slot: &Slot, deadline: Option<Instant>, awaited: &[DataId], blocks: Blocks);

    /// Waits for the reply until the end of the session.
    fn wait_uninterrupted(&self, slot: &Slot);

    /// A block of the store, if this process can allocate one itself.
    fn allocate_block(&self, len: u64) -> Option<Block>;

    /// Frees a block that did not become part of an object.
    fn free_block(&self, place: Place);

    /// Ends the session if it belongs to this process.
    fn shutdown(&self) -> Result<()>;

    /// Sends a request and waits for the reply, even in the code of a cancelled call.
    fn request_uninterrupted(
        &self,
        call: &str,
        message: impl FnOnce(RequestId) -> FromWorker,
    ) -> Result<Reply> {
        let (request, slot) = self.pending().open();
        self.send_request(call, request, message(request));
        self.wait_uninterrupted(&slot);
        take_reply(self, call, &slot)
    }
}

impl<T: Transport> StoreBackend for T {
    fn allocate(&self, len: u64) -> Result<Place> {
        self.check_running("put")?;
        if let Some(block) = self.allocate_block(len) {
            return Ok(Place::Memory(block));
        }
        match self.request_uninterrupted("put", |request| FromWorker::Allocate { request, len })? {
            Reply::Allocated(place) => Ok(place),
            _ => Err(unexpected("put")),
        }
    }

    fn free(&self, place: Place) {
        if !self.is_forked() {
            self.free_block(place);
        }
    }

    fn pin_view(&self, id: DataId) {
        if !self.is_forked() {
            self.post(FromWorker::Request(Request::PinView(id)));
        }
    }

    fn unpin_view(&self, id: DataId) {
        if !self.is_forked() {
            self.post(FromWorker::Request(Request::UnpinView(id)));
        }
    }
}
