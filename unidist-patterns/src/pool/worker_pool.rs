//! [`WorkerPool`]: calls of functions on a fixed set of workers.

use super::arguments::{IntoMapArgs, IntoPoolArgs, PoolParameters};
use super::calls::{self, CallResult};
use super::error::{Failure, FailurePlace, PoolError, Result};
use super::local_copies::{CopyOwner, LocalCopies};
use super::random::{DEFAULT_SEED, SeedSequence};
use super::registry::Registry;
use super::remote_object::RemoteObject;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use unidist_core::session::is_installed;
use unidist_core::{Error, ErrorKind, Portable, ProcessId, RemoteFn, put_ref, wait_for_workers, workers};

/// A fixed set of workers that hold copies of objects and parts of arrays, and call functions on them.
///
/// A pool has [the workers of the session](WorkerPool::over_session), or is [sequential](WorkerPool::sequential): then
/// the program itself is the only worker. [`new_pool`] makes the one or the other.
///
/// Functions are those of any remote call: they capture nothing. The arguments are a tuple, with a `&`[`RemoteObject`]
/// where the function takes [`Local`](super::Local) or [`LocalMut`](super::LocalMut). To make the `Err` of a function
/// fail its call, pass `fallible(function)`.
///
/// Each method waits until all its calls have ended, even if some fail, and then reports every failure. A pool consists
/// of the workers that existed when it was made. If one of them dies, its copies are lost, and every later method fails
/// with [`PoolError::WorkersLost`].
///
/// The workers also run the other calls of the session, so executors, plain calls and other pools can be used at the
/// same time.
///
/// ```
/// use std::sync::Arc;
/// use unidist::pool::{Local, WorkerPool, each};
///
/// fn solve(model: Local<Vec<f64>>, parameter: f64) -> f64 {
///     model.iter().sum::<f64>() * parameter
/// }
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let pool = WorkerPool::over_session()?;
/// let model = pool.push(&Arc::new(vec![1.0, 2.0]))?;
/// let solutions = pool.map(solve, (&model, each([1.0, 10.0, 100.0])))?;
/// assert_eq!(solutions, [3.0, 30.0, 300.0]);
/// # Ok(())
/// # }
/// ```
pub struct WorkerPool {
    kind: PoolKind,
    random: SeedSequence,
    registry: Arc<Registry>,
    /// The workers of the pool that have died.
    lost: Mutex<BTreeSet<ProcessId>>,
}

/// The workers of a pool.
enum PoolKind {
    Session(Vec<ProcessId>),
    Sequential,
}

/// A pool of the session's workers if there is a session, or else a sequential one.
///
/// ```
/// use unidist::pool::new_pool;
///
/// # fn main() -> unidist::Result<()> {
/// assert!(new_pool()?.is_sequential());
/// let _session = unidist::init()?;
/// assert!(!new_pool()?.is_sequential());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The session is ending.
pub fn new_pool() -> Result<WorkerPool> {
    match WorkerPool::over_session() {
        Err(PoolError::Session(Error::NotInitialized { .. })) => Ok(WorkerPool::sequential()),
        Err(PoolError::Session(Error::SessionEnded { .. })) if !is_installed() => {
            Ok(WorkerPool::sequential())
        }
        pool => pool,
    }
}

impl WorkerPool {
    /// A pool of the session's workers; waits for workers that are still starting.
    ///
    /// # Errors
    ///
    /// There is no session.
    pub fn over_session() -> Result<Self> {
        // All workers, including replacements that are still starting.
        let workers = wait_for_workers(usize::MAX, None)?.into_iter().map(|worker| worker.id).collect();
        Ok(WorkerPool::new(PoolKind::Session(workers)))
    }

    /// A pool whose only worker is the caller: it needs no session, sends nothing, and does not copy pushed objects.
    pub fn sequential() -> Self {
        WorkerPool::new(PoolKind::Sequential)
    }

    fn new(kind: PoolKind) -> Self {
        WorkerPool {
            kind,
            random: SeedSequence::new(DEFAULT_SEED),
            registry: Arc::default(),
            lost: Mutex::default(),
        }
    }

    /// Sets the seed of the random numbers of the pool's calls: see [`rng`](super::rng()). The default is 42.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.random = SeedSequence::new(seed);
        self
    }

    /// The number of workers.
    #[expect(clippy::len_without_is_empty, reason = "a pool always has a worker")]
    pub fn len(&self) -> usize {
        match &self.kind {
            PoolKind::Session(workers) => workers.len(),
            PoolKind::Sequential => 1,
        }
    }

    /// Whether the caller is the only worker.
    pub fn is_sequential(&self) -> bool {
        matches!(self.kind, PoolKind::Sequential)
    }

    /// Makes an object available to the workers. It is sent to each worker that uses it, at the first use, and stays
    /// there until all handles of the object are removed.
    ///
    /// Objects are identified by their `Arc`: one that is pushed again is not sent again, and
    /// [`count`](RemoteObject::count) gives the number of handles. As long as there is a handle, the `Arc` gives no
    /// mutable access to the object.
    ///
    /// # Errors
    ///
    /// The object cannot be encoded, the object store is full, or a worker of the pool has died.
    pub fn push<T: Portable + Sync>(&self, object: &Arc<T>) -> Result<RemoteObject<T>> {
        self.check_not_lost()?;
        if let Some(handle) = self.registry.find(object) {
            return Ok(handle);
        }
        let key = LocalCopies::of_process().new_key();
        let source = match &self.kind {
            PoolKind::Session(_) => Some(put_ref(&**object)?),
            PoolKind::Sequential => {
                let _ = LocalCopies::of_process().insert(key, CopyOwner::SequentialPool, object.clone());
                None
            }
        };
        let handle = RemoteObject::pushed(key, self.workers().to_vec(), object, source, &self.registry);
        Ok(self.registry.insert(object, key, handle))
    }

    /// Calls the function once on each worker, and gives the results in the order of the workers. The arguments are put
    /// into the object store once, and dropped after the call, except pushed and scattered objects.
    ///
    /// ```
    /// use unidist::pool::WorkerPool;
    ///
    /// # fn main() -> unidist::Result<()> {
    /// let _session = unidist::init()?;
    /// let pool = WorkerPool::over_session()?;
    /// let processes = pool.apply(|_: String| std::process::id(), ("who are you?",))?;
    /// assert_eq!(processes.len(), pool.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An argument cannot be sent, a worker of the pool has died, or calls failed: [`PoolError::Calls`] lists them.
    pub fn apply<F: RemoteFn<P>, P: PoolParameters>(
        &self,
        function: F,
        args: impl IntoPoolArgs<P>,
    ) -> Result<Vec<F::Value>> {
        self.call_on("WorkerPool::apply", 0..self.len(), function, args)
    }

    /// Like [`apply`](WorkerPool::apply), on one worker only.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](WorkerPool::apply), or there is no worker with this index.
    pub fn apply_only<F: RemoteFn<P>, P: PoolParameters>(
        &self,
        function: F,
        worker: usize,
        args: impl IntoPoolArgs<P>,
    ) -> Result<F::Value> {
        let no_such = PoolError::NoSuchWorker { index: worker, len: self.len() };
        if worker >= self.len() {
            return Err(no_such);
        }
        let results = self.call_on("WorkerPool::apply_only", worker..worker + 1, function, args)?;
        results.into_iter().next().ok_or(no_such)
    }

    fn call_on<F: RemoteFn<P>, P: PoolParameters>(
        &self,
        method: &'static str,
        chosen: std::ops::Range<usize>,
        function: F,
        args: impl IntoPoolArgs<P>,
    ) -> Result<Vec<F::Value>> {
        self.check_not_lost()?;
        let (args, seed) = (args.__into_sent()?, self.random.next());
        let ended = match &self.kind {
            PoolKind::Session(workers) => {
                calls::on_workers(function, workers, &workers[chosen.clone()], args, seed)?
            }
            PoolKind::Sequential => calls::in_this_process(function, [args], seed),
        };
        self.collect_results(method, ended, |call| {
            let index = chosen.start + call;
            FailurePlace::Worker { index, id: self.workers().get(index).copied() }
        })
    }

    /// Calls the function for each item of the lists ([`each`](super::each)), on any worker that has room (of the pool,
    /// if scattered objects are among the arguments), and gives the results in the order of the items. The other
    /// arguments are the same in all calls and are sent with each: push large ones.
    ///
    /// ```
    /// use unidist::pool::{WorkerPool, each};
    ///
    /// # fn main() -> unidist::Result<()> {
    /// let _session = unidist::init()?;
    /// let pool = WorkerPool::over_session()?;
    /// let power = |base: i64, exponent: u32, sign: i64| sign * base.pow(exponent);
    /// assert_eq!(pool.map(power, (each(1..4), each([1, 2, 3]), -1))?, [-1, -4, -27]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The lists differ in length or there is none, a worker of the pool has died, or calls failed:
    /// [`PoolError::Calls`] lists them.
    pub fn map<F: RemoteFn<P>, P: PoolParameters>(
        &self,
        function: F,
        args: impl IntoMapArgs<P>,
    ) -> Result<Vec<F::Value>> {
        self.check_not_lost()?;
        let (args, seed) = (args.__into_calls()?, self.random.next());
        let ended = match &self.kind {
            PoolKind::Session(workers) if args.iter().any(P::__is_bound) => {
                calls::on_own_workers(function, workers, args, seed)?
            }
            PoolKind::Session(_) => calls::on_any_worker(function, args, seed),
            PoolKind::Sequential => calls::in_this_process(function, args, seed),
        };
        self.collect_results("WorkerPool::map", ended, FailurePlace::Item)
    }

    /// The workers of the pool; empty if it is sequential.
    pub(super) fn workers(&self) -> &[ProcessId] {
        match &self.kind {
            PoolKind::Session(workers) => workers,
            PoolKind::Sequential => &[],
        }
    }

    /// Fails if workers of the pool have died.
    pub(super) fn check_not_lost(&self) -> Result<()> {
        let lost = self.lost();
        if lost.is_empty() {
            return Ok(());
        }
        Err(PoolError::WorkersLost { workers: lost.iter().copied().collect() })
    }

    /// All values, or an error with all failures.
    pub(super) fn collect_results<T>(
        &self,
        method: &'static str,
        ended: Vec<CallResult<T>>,
        place: impl Fn(usize) -> FailurePlace,
    ) -> Result<Vec<T>> {
        let calls = ended.len();
        let (mut values, mut failures) = (Vec::with_capacity(calls), Vec::new());
        for (call, ended) in ended.into_iter().enumerate() {
            match ended {
                Ok(value) => values.push(value),
                Err(error) => failures.push(Failure { place: place(call), error }),
            }
        }
        if failures.is_empty() {
            return Ok(values);
        }
        self.record_lost(&failures);
        Err(PoolError::Calls { method, failures, calls })
    }

    /// Records which workers have died, if a failure says so.
    fn record_lost(&self, failures: &[Failure]) {
        let has_died = |failure: &Failure| {
            failure
                .error
                .as_task()
                .is_some_and(|error| matches!(error.kind, ErrorKind::WorkerDied | ErrorKind::WorkerGone))
        };
        if !failures.iter().any(has_died) {
            return;
        }
        let Ok(current) = workers() else {
            return; // the session has ended, and every call reports that
        };
        let current: BTreeSet<ProcessId> = current.into_iter().map(|worker| worker.id).collect();
        self.lost().extend(self.workers().iter().filter(|worker| !current.contains(worker)));
    }

    fn lost(&self) -> MutexGuard<'_, BTreeSet<ProcessId>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            PoolKind::Session(workers) => f.debug_tuple("WorkerPool").field(workers).finish(),
            PoolKind::Sequential => f.write_str("WorkerPool(sequential)"),
        }
    }
}
