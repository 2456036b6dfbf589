//! A process of a session as its code sees it: the [`Backend`], written once over a [`Transport`].
//!
//! In the controller, the transport hands messages to the event loop of the same process; in a worker, it sends them
//! over the link. A new request is a method of [`Client`] here; a transport only carries it.

pub(crate) mod pending;
mod replies;
mod transport;

pub(crate) use replies::{forked, session_ended, take_reply};
pub(crate) use transport::Transport;

use crate::protocol::worker::{Blocks, FromWorker, Reply, Request, RequestId};
use crate::store::client::ObjectStore;
use replies::{count, load_all, load_one, unexpected};
use std::sync::Arc;
use std::time::{Duration, Instant};
use unidist_backend::{
    Backend, CallStatus, ClusterInfo, Live, NamedActor, Outcome, StoreUsage, Which, WorkerInfo,
    WritableBuffer,
};
use unidist_common::{DataId, Object, ProcessId, Result, TaskId, TaskSpec};

/// How many objects a message adds to a watch.
const WATCHED_PER_MESSAGE: usize = 8192;

/// The backend of this process. Dropping it shuts the transport down.
pub(crate) struct Client<T: Transport> {
    transport: Arc<T>,
    store: ObjectStore,
}

impl<T: Transport> Client<T> {
    pub(crate) fn new(transport: Arc<T>, store: ObjectStore) -> Self {
        Client { transport, store }
    }

    /// Sends a request and waits for the reply. `awaited` are the objects that the caller waits for, and `blocks` is what the
    /// request says about the caller.
    fn request(
        &self,
        call: &str,
        (awaited, blocks): (&[DataId], Blocks),
        message: impl FnOnce(RequestId) -> FromWorker,
    ) -> Result<Reply> {
        let transport = &*self.transport;
        let (request, slot) = transport.pending().open();
        transport.send_request(call, request, message(request));
        transport.wait(&slot, None, awaited, blocks);
        if !slot.is_done() {
            // The caller was cancelled. A late reply may carry views, which have to be released.
            let (store, ids) = (self.store.clone(), awaited.to_vec());
            let release = move |reply| {
                if let Reply::Values(values) = &reply {
                    drop(load_all(&store, &ids, values));
                }
            };
            transport.pending().abandon(request, &slot, Box::new(release));
        }
        take_reply(transport, call, &slot)
    }

    /// Sends a request to which the engine replies with what is ready once the time-out expires.
    fn request_with_timeout(
        &self,
        call: &str,
        (timeout, blocks): (Option<Duration>, Blocks),
        message: impl FnOnce(RequestId) -> FromWorker,
    ) -> Result<Reply> {
        let transport = &*self.transport;
        let (request, slot) = transport.pending().open();
        transport.send_request(call, request, message(request));
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        // Only the engine knows what the request still needs, so it names the tasks to run meanwhile.
        transport.wait(&slot, deadline, &[], blocks);
        if !slot.is_done() {
            transport.send(FromWorker::Request(Request::Expire { request }));
            transport.wait(&slot, None, &[], blocks);
        }
        take_reply(transport, call, &slot)
    }
}

impl<T: Transport> Backend for Client<T> {
    fn name(&self) -> &'static str {
        self.transport.backend_name()
    }

    fn reserve(&self, count: u32) -> DataId {
        self.transport.ids().reserve(count)
    }

    /// In a forked child, the refs of the results give the error.
    fn submit(&self, task: TaskSpec) {
        if !self.transport.is_forked() {
            self.transport.submit(Box::new(task));
        }
    }

    fn put(&self, object: Object) -> Result<DataId> {
        self.transport.check_running("put")?;
        self.transport.check_cancelled()?;
        self.transport.check_size(&object)?;
        let id = self.transport.ids().reserve(1);
        self.store.put(id, object, |stored, views| {
            self.transport.send(FromWorker::Request(Request::Put { id, object: stored, views }));
        })?;
        Ok(id)
    }

    fn get(&self, ids: &[DataId]) -> Result<Vec<Outcome>> {
        self.transport.check_running("get")?;
        self.transport.check_cancelled()?;
        let blocks = self.transport.blocks();
        let message = |request| FromWorker::Request(Request::Get { request, ids: ids.to_vec(), blocks });
        match self.request("get", (ids, blocks), message)? {
            Reply::Values(values) if values.len() == ids.len() => Ok(load_all(&self.store, ids, &values)),
            _ => Err(unexpected("get")),
        }
    }

    fn wait(&self, ids: &[DataId], num_returns: usize, timeout: Option<Duration>) -> Result<Vec<usize>> {
        self.transport.check_running("wait")?;
        self.transport.check_cancelled()?;
        let blocks = self.transport.blocks();
        let message = |request| {
            FromWorker::Request(Request::Wait {
                request,
                ids: ids.to_vec(),
                count: num_returns as u64,
                timed: timeout.is_some(),
                blocks,
            })
        };
        match self.request_with_timeout("wait", (timeout, blocks), message)? {
            Reply::Ready(positions) => Ok(positions.into_iter().map(|at| at as usize).collect()),
            _ => Err(unexpected("wait")),
        }
    }

    fn watch(&self) -> Option<RequestId> {
        Some(self.transport.pending().number())
    }

    fn watch_add(&self, watch: RequestId, ids: &[DataId]) -> Result<()> {
        self.transport.check_running("wait")?;
        for ids in ids.chunks(WATCHED_PER_MESSAGE) {
            self.transport.post(FromWorker::Request(Request::Watch { watch, ids: ids.to_vec() }));
        }
        Ok(())
    }

    fn watch_next(&self, watch: RequestId, timeout: Option<Duration>) -> Result<Vec<DataId>> {
        self.transport.check_running("wait")?;
        self.transport.check_cancelled()?;
        let (blocks, timed) = (self.transport.blocks(), timeout.is_some());
        let message = |request| FromWorker::Request(Request::Next { request, watch, timed, blocks });
        match self.request_with_timeout("wait", (timeout, blocks), message)? {
            Reply::Settled(ids) => Ok(ids),
            _ => Err(unexpected("wait")),
        }
    }

    fn unwatch(&self, watch: RequestId) {
        if !self.transport.is_forked() {
            self.transport.post(FromWorker::Request(Request::Unwatch { watch }));
        }
    }

    fn on_ready(&self, id: DataId, then: Box<dyn FnOnce(Outcome) + Send>) {
        if let Err(error) = self.transport.check_running("await") {
            return then(Err(error.into()));
        }
        let store = self.store.clone();
        let callback = move |reply| then(load_one(&store, id, reply));
        let request = self.transport.pending().open_with(Box::new(callback));
        let message = FromWorker::Request(Request::Get { request, ids: vec![id], blocks: Blocks::Nothing });
        self.transport.send_request("await", request, message);
        self.transport.flush();
    }

    fn retain(&self, id: DataId) {
        if self.transport.is_forked() {
            return;
        }
        self.transport.post(FromWorker::Request(Request::Retain(id)));
    }

    fn release(&self, id: DataId) {
        if self.transport.is_forked() {
            return;
        }
        self.transport.post(FromWorker::Request(Request::Release(id)));
    }

    fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>> {
        self.transport.check_running("put")?;
        self.transport.check_cancelled()?;
        self.store.allocate(len)
    }

    fn cluster(&self) -> Result<ClusterInfo> {
        self.transport.check_running("cluster_resources")?;
        match self.request("cluster_resources", (&[], Blocks::Nothing), FromWorker::Cluster)? {
            Reply::Cluster(cluster) => Ok(cluster),
            _ => Err(unexpected("cluster_resources")),
        }
    }

    /// Uninterrupted, since the reply carries a reference.
    fn find_actor(&self, name: &str) -> Result<Option<NamedActor>> {
        self.transport.check_running("get_actor")?;
        self.transport.check_cancelled()?;
        let message = |request| FromWorker::Request(Request::FindActor { request, name: name.to_owned() });
        match self.transport.request_uninterrupted("get_actor", message)? {
            Reply::Actor(found) => Ok(found),
            _ => Err(unexpected("get_actor")),
        }
    }

    fn live_objects(&self) -> Result<usize> {
        self.transport.check_running("live_objects")?;
        let message = |request| FromWorker::Request(Request::LiveObjects { request });
        count("live_objects", self.request("live_objects", (&[], Blocks::Nothing), message)?)
    }

    fn live(&self, at_most: usize) -> Result<Vec<Live>> {
        self.transport.check_running("live")?;
        let message = |request| FromWorker::Request(Request::Live { request, at_most: at_most as u64 });
        match self.request("live", (&[], Blocks::Nothing), message)? {
            Reply::Live(live) => Ok(live),
            _ => Err(unexpected("live")),
        }
    }

    fn store_usage(&self) -> Result<StoreUsage> {
        self.transport.check_running("store_usage")?;
        match self.request("store_usage", (&[], Blocks::Nothing), FromWorker::StoreUsage)? {
            Reply::StoreUsage(usage) => Ok(usage),
            _ => Err(unexpected("store_usage")),
        }
    }

    /// A cancelled call may still cancel others, so its own cancellation does not interrupt the wait for the reply.
    fn cancel(&self, ids: &[DataId], which: Which) -> Result<usize> {
        self.transport.check_running("cancel")?;
        let message = |request| FromWorker::Request(Request::Cancel { request, ids: ids.to_vec(), which });
        count("cancel", self.transport.request_uninterrupted("cancel", message)?)
    }

    fn status(&self, ids: &[DataId]) -> Result<Vec<CallStatus>> {
        self.transport.check_running("status")?;
        let message = |request| FromWorker::Request(Request::Status { request, ids: ids.to_vec() });
        match self.request("status", (&[], Blocks::Nothing), message)? {
            Reply::Status(found) if found.len() == ids.len() => Ok(found),
            _ => Err(unexpected("status")),
        }
    }

    fn workers(&self, at_least: usize, timeout: Option<Duration>) -> Result<Vec<WorkerInfo>> {
        self.transport.check_running("workers")?;
        let at_least = at_least as u64;
        let message = |request| FromWorker::Request(Request::Workers { request, at_least });
        match self.request_with_timeout("workers", (timeout, Blocks::Nothing), message)? {
            Reply::Workers(workers) => Ok(workers),
            _ => Err(unexpected("workers")),
        }
    }

    fn current_worker(&self) -> Option<ProcessId> {
        self.transport.current_worker()
    }

    fn end_worker(&self, worker: ProcessId) -> Result<bool> {
        self.transport.check_running("end_worker")?;
        let message = |request| FromWorker::Request(Request::EndWorker { request, worker });
        Ok(count("end_worker", self.request("end_worker", (&[], Blocks::Nothing), message)?)? > 0)
    }

    fn is_cancelled(&self, call: TaskId) -> bool {
        !self.transport.is_forked() && self.transport.is_cancelled(call)
    }

    fn shutdown(&self) -> Result<()> {
        if self.transport.is_forked() { Ok(()) } else { self.transport.shutdown() }
    }
}

impl<T: Transport> Drop for Client<T> {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            log::error!("cannot shut the session down: {error}");
        }
    }
}
