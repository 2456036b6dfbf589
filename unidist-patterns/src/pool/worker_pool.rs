//! [`WorkerPool`].

use super::arguments::{IntoMapArgs, IntoPoolArgs, PoolParameters};
use super::calls::{self, Ended};
use super::error::{Failure, FailurePlace, PoolError, Result};
use super::random::{DEFAULT_SEED, Spawner};
use super::registry::Registry;
use super::remote_object::RemoteObject;
use super::store::{Place, Store};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use unidist_core::{Error, ErrorKind, Portable, ProcessId, RemoteFn, put_ref, wait_for_workers, workers};

/// Workers that have copies of objects and parts of arrays, and work on them.
///
/// A pool is [over the workers of the session](WorkerPool::over_session), or [sequential](WorkerPool::sequential): then
/// the program itself is the one worker. [`new_pool`] takes what there is.
///
/// Functions are those that any remote call takes: they capture nothing. Their arguments are a tuple, and may be a
/// `&`[`RemoteObject`] where the function takes [`Local`](super::Local) or [`LocalMut`](super::LocalMut). If the `Err` of
/// a function is to fail its call, pass `fallible(function)`.
///
/// Each method waits until all its calls have ended, whether or not some fail; what failed is then told of each worker.
/// A pool belongs to those workers that were there when it was made. If one of them dies, the copies that it had are
/// lost, and the pool says so from then on: [`PoolError::WorkersLost`].
///
/// The workers do what else the session has to do as well: executors, plain calls and other pools may be used beside.
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
    staff: Staff,
    random: Spawner,
    registry: Arc<Registry>,
    /// Workers of the pool that have died.
    lost: Mutex<BTreeSet<ProcessId>>,
}

/// Who works.
enum Staff {
    Workers(Vec<ProcessId>),
    ThisProcess,
}

/// A pool over the session's workers if there is a session, and else a sequential one.
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
        pool => pool,
    }
}

impl WorkerPool {
    /// A pool of the session's workers. Those that are just being started are waited for.
    ///
    /// # Errors
    ///
    /// There is no session.
    pub fn over_session() -> Result<Self> {
        // All that there will be: one that takes the place of another may be on its way.
        let workers = wait_for_workers(usize::MAX, None)?.into_iter().map(|worker| worker.id).collect();
        Ok(WorkerPool::new(Staff::Workers(workers)))
    }

    /// A pool of one worker, which is the caller: no session is needed, nothing is sent, and what is pushed is not
    /// copied.
    pub fn sequential() -> Self {
        WorkerPool::new(Staff::ThisProcess)
    }

    fn new(staff: Staff) -> Self {
        WorkerPool {
            staff,
            random: Spawner::new(DEFAULT_SEED),
            registry: Arc::default(),
            lost: Mutex::default(),
        }
    }

    /// The same pool, whose calls have other random numbers: see [`rng`](super::rng()). Without this, the seed is 42.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.random = Spawner::new(seed);
        self
    }

    /// How many workers there are.
    #[expect(clippy::len_without_is_empty, reason = "a pool always has a worker")]
    pub fn len(&self) -> usize {
        match &self.staff {
            Staff::Workers(workers) => workers.len(),
            Staff::ThisProcess => 1,
        }
    }

    /// Whether the caller is the one worker.
    pub fn is_sequential(&self) -> bool {
        matches!(self.staff, Staff::ThisProcess)
    }

    /// Makes an object known to the workers. It is sent once to each worker that uses it, when it does so first, and
    /// stays there until the handle, and all others of the same object, are removed.
    ///
    /// The same object is the one in the same `Arc`: pushed again, it is not sent again, and
    /// [`count`](RemoteObject::count) tells how many handles there are. As long as one is there, the `Arc` gives nobody
    /// access to change the object.
    ///
    /// # Errors
    ///
    /// The object cannot be encoded, or the object store is full, or a worker of the pool has died.
    pub fn push<T: Portable + Sync>(&self, object: &Arc<T>) -> Result<RemoteObject<T>> {
        self.whole()?;
        if let Some(handle) = self.registry.find(object) {
            return Ok(handle);
        }
        let key = Store::of_process().new_key();
        let source = match &self.staff {
            Staff::Workers(_) => Some(put_ref(&**object)?),
            Staff::ThisProcess => {
                let _ = Store::of_process().keep(key, Place::Here, object.clone());
                None
            }
        };
        let handle = RemoteObject::pushed(key, self.workers().to_vec(), object, source, &self.registry);
        Ok(self.registry.enter(object, key, handle))
    }

    /// Calls the function once on each worker, and gives the results in the order of the workers. The arguments are
    /// sent once; a worker gives them up after the call, except for what was pushed or scattered.
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
    /// An argument cannot be sent, a worker of the pool has died, or calls failed: [`PoolError::Calls`] names each of
    /// them.
    pub fn apply<F: RemoteFn<P>, P: PoolParameters>(
        &self,
        function: F,
        args: impl IntoPoolArgs<P>,
    ) -> Result<Vec<F::Value>> {
        self.on("WorkerPool::apply", 0..self.len(), function, args)
    }

    /// The same, on one worker alone.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](WorkerPool::apply), or there is no worker of this index.
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
        let results = self.on("WorkerPool::apply_only", worker..worker + 1, function, args)?;
        results.into_iter().next().ok_or(no_such)
    }

    fn on<F: RemoteFn<P>, P: PoolParameters>(
        &self,
        method: &'static str,
        chosen: std::ops::Range<usize>,
        function: F,
        args: impl IntoPoolArgs<P>,
    ) -> Result<Vec<F::Value>> {
        self.whole()?;
        let (args, seed) = (args.__into_sent()?, self.random.next());
        let ended = match &self.staff {
            Staff::Workers(workers) => {
                calls::on_workers(function, workers, &workers[chosen.clone()], args, seed)?
            }
            Staff::ThisProcess => calls::in_this_process(function, [args], seed),
        };
        self.outcome(method, ended, |call| {
            let index = chosen.start + call;
            FailurePlace::Worker { index, id: self.workers().get(index).copied() }
        })
    }

    /// Calls the function for each item of the lists ([`each`](super::each)), on whichever worker has room (of the pool, if
    /// scattered objects are among the arguments), and gives the results in the order of the items. Other arguments are the same in all calls, and sent with each: push what is
    /// large.
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
    /// The lists differ in length or there is none; a worker of the pool has died; or calls failed:
    /// [`PoolError::Calls`] names each of them.
    pub fn map<F: RemoteFn<P>, P: PoolParameters>(
        &self,
        function: F,
        args: impl IntoMapArgs<P>,
    ) -> Result<Vec<F::Value>> {
        self.whole()?;
        let (args, seed) = (args.__into_calls()?, self.random.next());
        let ended = match &self.staff {
            Staff::Workers(workers) if args.iter().any(P::__is_bound) => {
                calls::on_own_workers(function, workers, args, seed)?
            }
            Staff::Workers(_) => calls::anywhere(function, args, seed),
            Staff::ThisProcess => calls::in_this_process(function, args, seed),
        };
        self.outcome("WorkerPool::map", ended, FailurePlace::Item)
    }

    /// The workers of the pool; none if it is sequential.
    pub(super) fn workers(&self) -> &[ProcessId] {
        match &self.staff {
            Staff::Workers(workers) => workers,
            Staff::ThisProcess => &[],
        }
    }

    /// An error if workers have died.
    pub(super) fn whole(&self) -> Result<()> {
        let lost = self.lost();
        if lost.is_empty() {
            return Ok(());
        }
        Err(PoolError::WorkersLost { workers: lost.iter().copied().collect() })
    }

    /// All values, or all failures.
    pub(super) fn outcome<T>(
        &self,
        method: &'static str,
        ended: Vec<Ended<T>>,
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
        self.note_lost(&failures);
        Err(PoolError::Calls { method, failures, calls })
    }

    /// Remembers which workers have died, if any did.
    fn note_lost(&self, failures: &[Failure]) {
        let has_died = |failure: &Failure| {
            failure
                .error
                .as_task()
                .is_some_and(|error| matches!(error.kind, ErrorKind::WorkerDied | ErrorKind::WorkerGone))
        };
        if !failures.iter().any(has_died) {
            return;
        }
        let Ok(there) = workers() else {
            return; // the session has ended, and every call says so
        };
        let there: BTreeSet<ProcessId> = there.into_iter().map(|worker| worker.id).collect();
        self.lost().extend(self.workers().iter().filter(|worker| !there.contains(worker)));
    }

    fn lost(&self) -> MutexGuard<'_, BTreeSet<ProcessId>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.staff {
            Staff::Workers(workers) => f.debug_tuple("WorkerPool").field(workers).finish(),
            Staff::ThisProcess => f.write_str("WorkerPool(sequential)"),
        }
    }
}
