//! The interface of every backend, over opaque data: it knows no type of the user's.

use crate::live::Live;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::DerefMut;
use std::time::Duration;
use unidist_common::{
    DataId, FunctionKey, Object, Payload, ProcessId, RequestId, Result, TaskError, TaskId, TaskSpec,
};

/// The value of an object, or the error that it has instead.
pub type Outcome = std::result::Result<Payload, TaskError>;

/// A way to run tasks: in this process, on this machine or on a cluster; or, inside a worker, the connection to the
/// scheduler that started it.
///
/// # References
///
/// An object lives as long as there are references to it. A caller holds one reference to each id that `submit` and
/// `put` made for it, takes more with [`retain`](Backend::retain) and gives each back with
/// [`release`](Backend::release). Calls of one thread take effect in the order they are made, so a reference may be
/// passed on and then released.
///
/// # Threads
///
/// Every method may be called from any thread. Those that return a value that another process makes (`get`, `wait`)
/// block, and inside a task release the task's CPU slot meanwhile.
pub trait Backend: Send + Sync {
    /// The value of `UNIDIST_BACKEND` that chooses this backend.
    fn name(&self) -> &'static str;

    /// Reserves `count` consecutive ids (at least one) and returns the first. The caller holds no reference yet.
    fn reserve(&self, count: u32) -> DataId;

    /// Submits a call; its ids come from [`reserve`](Backend::reserve). The caller holds one reference to each
    /// return from now on (for [`Target::NewActor`](unidist_common::Target::NewActor): to the actor). Never fails
    /// and does not wait for the call: every failure becomes the outcome of its returns.
    fn submit(&self, task: TaskSpec);

    /// Stores a value and returns its id, to which the caller holds one reference.
    ///
    /// # Errors
    ///
    /// The store is full, or the session has ended.
    fn put(&self, object: Object) -> Result<DataId>;

    /// Waits for all of `ids` and returns their outcomes, in order. Buffers of the payloads stay valid for as long as
    /// they are held, whatever happens to the references.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn get(&self, ids: &[DataId]) -> Result<Vec<Outcome>>;

    /// Waits until `num_returns` of `ids` have an outcome (a failure is one) or the time-out expires, and returns the
    /// positions of those that have one, ascending; more than `num_returns` if more are ready. The caller has checked
    /// that `num_returns <= ids.len()`. A position counts once, however often its id occurs.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn wait(&self, ids: &[DataId], num_returns: usize, timeout: Option<Duration>) -> Result<Vec<usize>>;

    /// The number of a new watch: a set of objects of which [`watch_next`](Backend::watch_next) tells, call by call, which
    /// have an outcome, at a cost that does not depend on how many others there are. `None` in a backend without watches:
    /// [`wait`](Backend::wait) serves instead.
    fn watch(&self) -> Option<RequestId> {
        None
    }

    /// Adds objects to a watch, each once. The caller keeps references to them until it is told of them.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn watch_add(&self, _watch: RequestId, _ids: &[DataId]) -> Result<()> {
        Ok(())
    }

    /// Waits until an object of the watch has an outcome of which the caller was not told, or the time-out expires, and
    /// returns all such objects. None after a time-out, and if the caller was told of all.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn watch_next(&self, _watch: RequestId, _timeout: Option<Duration>) -> Result<Vec<DataId>> {
        Ok(Vec::new())
    }

    /// Ends a watch.
    fn unwatch(&self, _watch: RequestId) {}

    /// Calls `then` with the outcome of `id`, once, from any thread, as soon as there is one; at once if there is
    /// one already. The caller keeps a reference to `id` until then. `then` may call this backend again, so no lock is
    /// held around it. When the session ends first, `then` gets an error of kind `SessionEnded`.
    ///
    /// The thread may be within another method of this backend, so `then` must neither block nor run code of the program:
    /// a front end passes the outcome on to a thread of its own. A panic in `then` is caught and logged.
    fn on_ready(&self, id: DataId, then: Box<dyn FnOnce(Outcome) + Send>);

    /// Adds a reference. After the shutdown this does nothing.
    fn retain(&self, id: DataId);

    /// Releases a reference. After the shutdown this does nothing. It is called wherever refs are dropped, so an
    /// implementation must not drop payloads or closures while it holds a lock.
    fn release(&self, id: DataId);

    /// `len` writable bytes, zeroed or not, aligned to 64 bytes, in memory from which [`put`](Backend::put) takes them
    /// without a copy.
    ///
    /// # Errors
    ///
    /// The store is full.
    fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>>;

    /// The hosts of the session and their resources.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn cluster(&self) -> Result<ClusterInfo>;

    /// The actor with this name (the `name` of the [options](unidist_common::TaskOptions) of its constructor call). The
    /// caller holds a reference to it from now on. `None` if there is none, or if it has ended.
    ///
    /// At most one living actor of a session has a name: the constructor call of a second one fails with an error of
    /// kind `NameTaken`.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn find_actor(&self, name: &str) -> Result<Option<NamedActor>>;

    /// The number of objects and actors that the session holds: 0 when every reference is gone and all work has ended.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn live_objects(&self) -> Result<usize>;

    /// What the session holds, in order of the ids, at most this many: objects, actors, and calls that have not ended,
    /// also those without results.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn live(&self, at_most: usize) -> Result<Vec<Live>>;

    /// The use of the object store. All zero in a backend without a store, whose objects are the program's own memory.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn store_usage(&self) -> Result<StoreUsage> {
        Ok(StoreUsage::default())
    }

    /// Cancels the unfinished calls that make these objects, and returns their number. Their results fail at once with
    /// an error of kind `Cancelled`. A running call is notified; its process may be killed if the call does not end.
    /// Other ids are ignored, and with [`Which::Unstarted`] so are running calls.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn cancel(&self, ids: &[DataId], which: Which) -> Result<usize>;

    /// The status of the calls that make these objects, in order. Objects that no call makes count as ended.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn status(&self, ids: &[DataId]) -> Result<Vec<CallStatus>>;

    /// Waits until there are `at_least` workers, no more are starting, or the time-out expires, and returns the
    /// workers.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn workers(&self, at_least: usize, timeout: Option<Duration>) -> Result<Vec<WorkerInfo>>;

    /// The worker that the calling code runs on; `None` in the program itself.
    fn current_worker(&self) -> Option<ProcessId>;

    /// Ends a worker once its running calls have ended, and removes its CPU slot. Returns whether the worker existed.
    ///
    /// # Errors
    ///
    /// The session has ended, or no other worker would be left.
    fn end_worker(&self, worker: ProcessId) -> Result<bool>;

    /// Whether this call, which runs in this process, should end because it was cancelled or ran out of time.
    fn is_cancelled(&self, call: TaskId) -> bool;

    /// Waits for running calls, ends all processes and frees all memory. A second call only waits for the first.
    /// Threads blocked in other methods get an error.
    ///
    /// # Errors
    ///
    /// Something could not be ended or freed; as much as possible was.
    fn shutdown(&self) -> Result<()>;
}

/// An actor that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NamedActor {
    /// The id of its handles.
    pub handle: DataId,
    /// Its constructor, which tells the front end its type.
    pub constructor: FunctionKey,
}

/// Memory for an object that is being written.
pub trait WritableBuffer: DerefMut<Target = [u8]> + Send {
    /// Makes the bytes immutable, so that they can be part of a payload.
    fn freeze(self: Box<Self>) -> Bytes;
}

/// Which calls a cancellation applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Which {
    /// All calls that have not ended.
    All,
    /// Calls that have not started on a worker.
    Unstarted,
}

/// The status of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum CallStatus {
    /// It waits for arguments, for a worker, or in a worker's queue.
    Waiting,
    /// It runs on this process, as far as is known, or is blocked there.
    Running(ProcessId),
    /// It has ended, with a value or a failure.
    Ended,
}

/// A process that runs tasks.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its id, as in errors and logs. Ids are not reused in a session.
    pub id: ProcessId,
    /// The address of its host.
    pub host: String,
    /// The id that the operating system of its host gave its process, for debuggers, profilers and `kill`.
    pub pid: u32,
}

impl WorkerInfo {
    /// A worker on this host, with the id that the operating system gave its process.
    pub fn new(id: ProcessId, host: impl Into<String>, pid: u32) -> Self {
        WorkerInfo { id, host: host.into(), pid }
    }
}

/// The use of a host's object store, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct StoreUsage {
    /// Bytes in memory, including objects being written.
    pub used: u64,
    /// The limit of `used`.
    pub limit: u64,
    /// Bytes of spilled objects on disk.
    pub spilled: u64,
    /// The limit of `spilled`; 0 if spilling is off.
    pub spill_limit: u64,
}

impl StoreUsage {
    /// The use of a store with nothing on disk.
    pub fn in_memory(used: u64, limit: u64) -> Self {
        StoreUsage { used, limit, ..StoreUsage::default() }
    }

    /// The same with these bytes on disk.
    #[must_use]
    pub fn on_disk(self, spilled: u64, spill_limit: u64) -> Self {
        StoreUsage { spilled, spill_limit, ..self }
    }
}

/// The hosts of a session.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClusterInfo {
    /// The address of the host this process runs on.
    pub local_ip: String,
    /// Each host by its address, with its resources by name; `CPU` is one of them.
    pub hosts: BTreeMap<String, BTreeMap<String, f64>>,
}
