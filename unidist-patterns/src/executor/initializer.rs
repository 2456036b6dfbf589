//! Initializers and environments of executors, on the worker's side.
//!
//! A worker process serves several executors, and may be replaced by another process. Each process therefore has a
//! table with, for every executor that it has worked for, whether the initializer has run and its outcome. The table is
//! the only per-process state of this module.

use super::completion::lock;
use super::error::{Error, Result};
use crate::functions::panic_error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use unidist_core::{
    CallSettings, ErrorKind, ObjectRef, Portable, ProcessId, RemoteFn, TaskError, current_worker, fallible,
    get, is_cancelled, prepare, put_ref, workers,
};

/// The code that runs in each worker before an executor's first task there: [`NoInitializer`], or the [`Initializer`]
/// made by [`Builder::initializer`](super::Builder::initializer).
pub trait Initialize: Copy + Send + Sync + 'static {
    /// The arguments of the initializer.
    type Args: Portable;
    #[doc(hidden)]
    const IS_SOME: bool;
    #[doc(hidden)]
    fn __run(self, args: Self::Args) -> Result<(), TaskError>;
}

/// No initializer.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoInitializer;

impl Initialize for NoInitializer {
    type Args = ();
    const IS_SOME: bool = false;

    fn __run(self, (): ()) -> Result<(), TaskError> {
        Ok(())
    }
}

/// An initializer: a function and the type of its arguments.
pub struct Initializer<F, Args> {
    function: F,
    args: PhantomData<fn(Args)>,
}

impl<F, Args> Initializer<F, Args> {
    pub(super) fn new(function: F) -> Self {
        Initializer { function, args: PhantomData }
    }
}

impl<F: Copy, Args> Copy for Initializer<F, Args> {}

impl<F: Copy, Args> Clone for Initializer<F, Args> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, Args> fmt::Debug for Initializer<F, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Initializer({})", std::any::type_name::<F>())
    }
}

impl<F: RemoteFn<Args, Value = ()>, Args: Portable> Initialize for Initializer<F, Args> {
    type Args = Args;
    const IS_SOME: bool = true;

    fn __run(self, args: Args) -> Result<(), TaskError> {
        self.function.call(args)
    }
}

/// The environment of an executor's tasks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct TaskEnvironment {
    pub(super) env: BTreeMap<String, String>,
    pub(super) wdir: Option<PathBuf>,
}

/// What a worker needs once per executor.
#[derive(Serialize, Deserialize)]
#[serde(bound = "A: Serialize + DeserializeOwned")]
pub(super) struct Setup<A> {
    pub(super) args: A,
    pub(super) environment: TaskEnvironment,
}

/// Sent with each call of an executor that has a setup.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Context<A> {
    pub(super) executor: Arc<str>,
    setup: ObjectRef<Setup<A>>,
}

impl<A> Clone for Context<A> {
    fn clone(&self) -> Self {
        Context { executor: self.executor.clone(), setup: self.setup.clone() }
    }
}

impl<A: Portable> Context<A> {
    /// Puts the setup into the object store.
    pub(super) fn new(setup: &Setup<A>) -> Result<Self> {
        let setup = put_ref(setup)?;
        let object = setup.id().map(|id| id.to_string()).unwrap_or_default();
        // Objects of another session of this process may have the same id.
        let session = RandomState::new().build_hasher().finish();
        Ok(Context { executor: format!("{object}-{session:x}").into(), setup })
    }

    /// Removes the executor's state from all workers, without waiting.
    pub(super) fn forget(&self) -> Result<()> {
        for worker in workers()? {
            let forget = prepare(forget, &CallSettings::new().on_worker(worker.id).num_cpus(0));
            let _ = forget.remote((self.executor.to_string(),));
        }
        Ok(())
    }
}

/// The error of a task whose executor's initializer failed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InitializerFailed {
    pub(super) executor: String,
    pub(super) cause: TaskError,
}

/// With `pyseq` all workers share one process, so the worker is part of the key.
type Key = (Option<ProcessId>, Arc<str>);

enum InitState {
    Running(ThreadId),
    Ended(Result<Arc<TaskEnvironment>, TaskError>),
}

static INITIALIZERS: LazyLock<Mutex<HashMap<Key, InitState>>> = LazyLock::new(Mutex::default);
static CHANGED: Condvar = Condvar::new();

thread_local! {
    static CURRENT: RefCell<Option<Arc<TaskEnvironment>>> = const { RefCell::new(None) };
}

/// Runs a task of an executor; before the first one in this process, runs the initializer.
pub(super) fn run_task<I: Initialize, R>(
    initializer: I,
    context: &Context<I::Args>,
    task: impl FnOnce() -> Result<R, TaskError>,
) -> Result<R, TaskError> {
    let environment = ensure_initialized(initializer, context)?;
    with_environment(environment, task)
}

fn with_environment<R>(environment: Arc<TaskEnvironment>, code: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<TaskEnvironment>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _outer = Restore(CURRENT.replace(Some(environment)));
    code()
}

fn ensure_initialized<I: Initialize>(
    initializer: I,
    context: &Context<I::Args>,
) -> Result<Arc<TaskEnvironment>, TaskError> {
    let key = (current_worker(), context.executor.clone());
    let mut initializers = lock(&INITIALIZERS);
    loop {
        match initializers.get(&key) {
            None => break,
            Some(InitState::Ended(outcome)) => return outcome.clone(),
            Some(InitState::Running(thread)) if *thread == thread::current().id() => {
                let message = "the initializer of an executor waits for a call of the same executor";
                return Err(TaskError::new(ErrorKind::Deadlock, message));
            }
            Some(InitState::Running(_)) => {
                initializers = CHANGED.wait(initializers).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
    initializers.insert(key.clone(), InitState::Running(thread::current().id()));
    drop(initializers);
    let outcome = run_initializer(initializer, context);
    match &outcome {
        // The call that ran the initializer was cancelled: the next call runs it again.
        Err(_) if is_cancelled() => drop(lock(&INITIALIZERS).remove(&key)),
        _ => drop(lock(&INITIALIZERS).insert(key, InitState::Ended(outcome.clone()))),
    }
    CHANGED.notify_all();
    outcome
}

fn run_initializer<I: Initialize>(
    initializer: I,
    context: &Context<I::Args>,
) -> Result<Arc<TaskEnvironment>, TaskError> {
    let failed = |cause: TaskError| {
        let message = format!("the initializer of the executor failed: {cause}");
        let failed = InitializerFailed { executor: context.executor.to_string(), cause };
        TaskError::new(ErrorKind::Failed, message).with_payload(&failed)
    };
    // Decoding the arguments runs user code, too.
    let initialize = || -> Result<Arc<TaskEnvironment>, TaskError> {
        let Setup { args, environment } = get(&context.setup)?;
        let environment = Arc::new(environment);
        with_environment(environment.clone(), || initializer.__run(args))?;
        Ok(environment)
    };
    catch_unwind(AssertUnwindSafe(initialize))
        .unwrap_or_else(|panic| Err(panic_error(&*panic)))
        .map_err(failed)
}

fn forget(executor: String) {
    lock(&INITIALIZERS).remove(&(current_worker(), executor.into()));
}

/// The value of an environment variable of the current task's executor ([`Builder::env`](super::Builder::env)), or else
/// of the process.
///
/// A worker process serves several executors, so an executor's variables are not set in the process.
///
/// ```
/// use unidist::executor::{self, Executor};
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let executor = Executor::builder().env("SCALE", "10").build()?;
/// let scaled = |x: i64| Some(x * executor::env("SCALE")?.parse::<i64>().ok()?);
/// assert_eq!(executor.submit(scaled, (4,))?.result(None)?, Some(40));
/// # Ok(())
/// # }
/// ```
pub fn env(name: &str) -> Option<String> {
    let given = CURRENT.with_borrow(|current| current.as_ref()?.env.get(name).cloned());
    given.or_else(|| std::env::var(name).ok())
}

/// The working directory of the current task's executor ([`Builder::wdir`](super::Builder::wdir)), or else of the
/// process.
///
/// # Errors
///
/// The process has no working directory, or no permission to read it.
pub fn wdir() -> Result<PathBuf> {
    match CURRENT.with_borrow(|current| current.as_ref()?.wdir.clone()) {
        Some(given) => Ok(given),
        None => std::env::current_dir().map_err(|error| {
            Error::Other(unidist_core::Error::system("cannot read the working directory", error))
        }),
    }
}

/// Calls of an executor that has a setup. The type of the closure is sent; `f` and `initializer` have no size.
pub(super) fn initialized<F: RemoteFn<Args>, Args: Portable, I: Initialize>(
    f: F,
    initializer: I,
    context: Context<I::Args>,
    settings: &CallSettings,
) -> impl Fn(Args) -> ObjectRef<F::Value> + Send + use<F, Args, I> {
    let task = move |context: Context<I::Args>, args: Args| -> Result<F::Value, TaskError> {
        run_task(initializer, &context, || f.call(args))
    };
    let prepared = prepare(fallible(task), settings);
    move |args| prepared.remote((context.clone(), args))
}
