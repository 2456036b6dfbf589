//! What every backend does, over opaque data: no type of the user's is known here.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::DerefMut;
use std::time::Duration;
use unidist_common::{DataId, Object, Payload, ProcessId, Result, TaskError, TaskSpec};

/// The value of an object, or why it has none.
pub type Outcome = std::result::Result<Payload, TaskError>;

/// One way to run tasks: in this process, on this machine, on a cluster; or, inside a worker, the way back to the
/// scheduler that started it.
///
/// # References
///
/// Objects live as long as somebody refers to them. A caller holds one reference to each id that `submit` and `put`
/// made for it, takes more with [`retain`](Backend::retain) and gives each back with [`release`](Backend::release).
/// Calls of one thread take effect in the order they are made, so a reference may be handed on and then given up.
///
/// # Threads
///
/// Every method may be called from any thread. Those that return a value that another process makes (`get`, `wait`)
/// block, and inside a task give the task's CPU slot back meanwhile.
pub trait Backend: Send + Sync {
    /// The value of `UNIDIST_BACKEND` that chooses this backend.
    fn name(&self) -> &'static str;

    /// Reserves `count` consecutive ids (at least one) and returns the first. The caller holds no reference yet.
    fn reserve(&self, count: u32) -> DataId;

    /// Hands a call in; its ids come from [`reserve`](Backend::reserve). The caller holds one reference to each
    /// return from now on (for [`Target::NewActor`](unidist_common::Target::NewActor): to the actor). Never fails and
    /// does not wait for the call: what goes wrong becomes the outcome of its returns.
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

    /// Waits until `num_returns` of `ids` have an outcome (a failure is one) or the time is over, and returns the
    /// positions of those that do, ascending; more than `num_returns` where more are ready. The caller has checked
    /// that `num_returns <= ids.len()`. A position counts once, however often its id occurs.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn wait(&self, ids: &[DataId], num_returns: usize, timeout: Option<Duration>) -> Result<Vec<usize>>;

    /// Calls `then` with the outcome of `id`, once, from any thread, as soon as there is one; at once if there is
    /// one already. The caller keeps a reference to `id` until then. `then` may call this backend again, so no lock is
    /// held around it. When the session ends first, `then` gets an error of kind `SessionEnded`.
    fn on_ready(&self, id: DataId, then: Box<dyn FnOnce(Outcome) + Send>);

    /// Takes one more reference. After the shutdown this does nothing.
    fn retain(&self, id: DataId);

    /// Gives one reference back. After the shutdown this does nothing. It is called where refs happen to be dropped, so
    /// an implementation drops no payload or closure of others while it holds a lock.
    fn release(&self, id: DataId);

    /// `len` writable bytes, zeroed or not, aligned to 64 bytes, in memory from which [`put`](Backend::put) takes them
    /// without a copy.
    ///
    /// # Errors
    ///
    /// The store is full.
    fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>>;

    /// The hosts of the session and what they have.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn cluster(&self) -> Result<ClusterInfo>;

    /// How many objects and actors the session holds now: 0 when every reference is gone and all work has ended.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn live_objects(&self) -> Result<usize>;

    /// How full the object store is. All zero where there is none: the objects are the program's own memory then.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn store_usage(&self) -> Result<StoreUsage> {
        Ok(StoreUsage::default())
    }

    /// Ends the calls that make these objects, as far as they have not ended, and returns how many these were. Their
    /// results fail at once with an error of kind `Cancelled`. One that runs is told; a process that it does not leave
    /// may be killed. Other ids are ignored, and, if only [`Which::Unstarted`] are to end, so are calls that run.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn cancel(&self, ids: &[DataId], which: Which) -> Result<usize>;

    /// How far the calls are that make these objects, in order. Objects that no call makes count as ended.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn status(&self, ids: &[DataId]) -> Result<Vec<CallStatus>>;

    /// Waits until there are so many workers, none is on its way any more, or the time is over, and gives those that there
    /// are.
    ///
    /// # Errors
    ///
    /// The session has ended.
    fn workers(&self, at_least: usize, timeout: Option<Duration>) -> Result<Vec<WorkerInfo>>;

    /// The worker that the code runs on that calls this; none in the program itself.
    fn current_worker(&self) -> Option<ProcessId>;

    /// Ends a worker once it has ended what it runs, with its CPU slot. Whether there was one of this id.
    ///
    /// # Errors
    ///
    /// The session has ended, or no other worker would be left.
    fn end_worker(&self, worker: ProcessId) -> Result<bool>;

    /// Whether this call, which runs in this process, is to end: it was cancelled, or has run out of time.
    fn is_cancelled(&self, call: DataId) -> bool;

    /// Waits for what is running, ends all processes and frees all memory. A second call waits for the first, if that
    /// has not ended, and does nothing. Whatever is blocked in another method returns an error.
    ///
    /// # Errors
    ///
    /// Something could not be ended or freed; as much as possible was.
    fn shutdown(&self) -> Result<()>;
}

/// Memory for an object that is being written.
pub trait WritableBuffer: DerefMut<Target = [u8]> + Send {
    /// Ends the writing: the bytes are immutable now and can be put into a payload.
    fn freeze(self: Box<Self>) -> Bytes;
}

/// Which of the calls named are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Which {
    /// All that have not ended.
    All,
    /// Those that have not started on a worker.
    Unstarted,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum CallStatus {
    /// It waits: for arguments, for a worker, for its turn there.
    Waiting,
    /// It runs on this process, as far as is known, or waits there for others.
    Running(ProcessId),
    /// It has ended, in one way or the other.
    Ended,
}

/// A process that runs tasks.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its id, as in errors and logs. Ids are not used twice in a session.
    pub id: ProcessId,
    /// The address of its host.
    pub host: String,
}

impl WorkerInfo {
    /// A worker on this host.
    pub fn new(id: ProcessId, host: impl Into<String>) -> Self {
        WorkerInfo { id, host: host.into() }
    }
}

/// How full the object store of a host is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct StoreUsage {
    /// In memory: what objects take, and what is being written.
    pub used: u64,
    /// How much that may be.
    pub limit: u64,
    /// On disk: what objects take that had to make room for others.
    pub spilled: u64,
    /// How much that may be; 0 where nothing is spilled.
    pub spill_limit: u64,
}

impl StoreUsage {
    /// So many bytes of so many in memory, none on disk.
    pub fn in_memory(used: u64, limit: u64) -> Self {
        StoreUsage { used, limit, ..StoreUsage::default() }
    }

    /// The same with so many bytes of so many on disk.
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
