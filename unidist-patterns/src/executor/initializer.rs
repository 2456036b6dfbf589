//! What an executor's tasks find in the worker: its initializer has run there, and its environment can be asked for.
//!
//! A worker process serves several executors, and may be replaced by another; so each keeps, for every executor that it
//! has worked for, whether the initializer has run there and what came of it. This table is the only state of this module
//! that belongs to a process.

use super::error::{Error, Result};
use super::notice::lock;
use crate::functions::panicked;
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

/// What runs in each worker before the first task of an executor there: [`NoInitializer`], or the [`Initializer`] that
/// [`Builder::initializer`](super::Builder::initializer) makes.
pub trait Initialize: Copy + Send + Sync + 'static {
    /// What it is called with.
    type Args: Portable;
    #[doc(hidden)]
    const IS_SOME: bool;
    #[doc(hidden)]
    fn __run(self, args: Self::Args) -> Result<(), TaskError>;
}

/// Nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoInitializer;

impl Initialize for NoInitializer {
    type Args = ();
    const IS_SOME: bool = false;

    fn __run(self, (): ()) -> Result<(), TaskError> {
        Ok(())
    }
}

/// A function that is called with `Args`.
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

/// What tasks of an executor can ask for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Surroundings {
    pub(super) env: BTreeMap<String, String>,
    pub(super) wdir: Option<PathBuf>,
}

/// What a worker needs once, to work for an executor.
#[derive(Serialize, Deserialize)]
#[serde(bound = "A: Serialize + DeserializeOwned")]
pub(super) struct Setup<A> {
    pub(super) args: A,
    pub(super) surroundings: Surroundings,
}

/// What travels with each call of an executor that has a setup.
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
    /// Puts the setup where workers find it.
    pub(super) fn new(setup: &Setup<A>) -> Result<Self> {
        let setup = put_ref(setup)?;
        let object = setup.id().map(|id| id.to_string()).unwrap_or_default();
        // Objects of another session of this process have the same ids.
        let session = RandomState::new().build_hasher().finish();
        Ok(Context { executor: format!("{object}-{session:x}").into(), setup })
    }

    /// Has all workers forget the executor. Nobody waits for it.
    pub(super) fn forget(&self) -> Result<()> {
        for worker in workers()? {
            let forget = prepare(forget, &CallSettings::new().on_worker(worker.id).num_cpus(0));
            let _ = forget.remote((self.executor.to_string(),));
        }
        Ok(())
    }
}

/// Why a task could not even begin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InitializerFailed {
    pub(super) executor: String,
    pub(super) cause: TaskError,
}

/// `pyseq` has workers in name alone, so that the worker is part of the key.
type Key = (Option<ProcessId>, Arc<str>);

enum State {
    Running(ThreadId),
    Ended(Result<Arc<Surroundings>, TaskError>),
}

static KNOWN: LazyLock<Mutex<HashMap<Key, State>>> = LazyLock::new(Mutex::default);
static CHANGED: Condvar = Condvar::new();

thread_local! {
    static CURRENT: RefCell<Option<Arc<Surroundings>>> = const { RefCell::new(None) };
}

/// Runs a task of an executor, after the initializer if it is the first one here.
pub(super) fn within<I: Initialize, R>(
    initializer: I,
    context: &Context<I::Args>,
    task: impl FnOnce() -> Result<R, TaskError>,
) -> Result<R, TaskError> {
    let surroundings = ready(initializer, context)?;
    surrounded(surroundings, task)
}

fn surrounded<R>(surroundings: Arc<Surroundings>, code: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<Surroundings>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _outer = Restore(CURRENT.replace(Some(surroundings)));
    code()
}

fn ready<I: Initialize>(initializer: I, context: &Context<I::Args>) -> Result<Arc<Surroundings>, TaskError> {
    let key = (current_worker(), context.executor.clone());
    let mut known = lock(&KNOWN);
    loop {
        match known.get(&key) {
            None => break,
            Some(State::Ended(outcome)) => return outcome.clone(),
            Some(State::Running(thread)) if *thread == thread::current().id() => {
                let message = "the initializer of an executor waits for a call of that executor";
                return Err(TaskError::new(ErrorKind::Deadlock, message));
            }
            Some(State::Running(_)) => {
                known = CHANGED.wait(known).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
    known.insert(key.clone(), State::Running(thread::current().id()));
    drop(known);
    let outcome = run(initializer, context);
    match &outcome {
        // The call was cancelled that was to make the worker ready: the next one does.
        Err(_) if is_cancelled() => drop(lock(&KNOWN).remove(&key)),
        _ => drop(lock(&KNOWN).insert(key, State::Ended(outcome.clone()))),
    }
    CHANGED.notify_all();
    outcome
}

fn run<I: Initialize>(initializer: I, context: &Context<I::Args>) -> Result<Arc<Surroundings>, TaskError> {
    let failed = |cause: TaskError| {
        let message = format!("the initializer of the executor failed: {cause}");
        let failed = InitializerFailed { executor: context.executor.to_string(), cause };
        TaskError::new(ErrorKind::Failed, message).with_payload(&failed)
    };
    // The program's own code decodes the arguments, too.
    let run = || -> Result<Arc<Surroundings>, TaskError> {
        let Setup { args, surroundings } = get(&context.setup)?;
        let surroundings = Arc::new(surroundings);
        surrounded(surroundings.clone(), || initializer.__run(args))?;
        Ok(surroundings)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(&*panic))).map_err(failed)
}

fn forget(executor: String) {
    lock(&KNOWN).remove(&(current_worker(), executor.into()));
}

/// The value of an environment variable that the executor whose task this is was given
/// ([`Builder::env`](super::Builder::env)); otherwise that of the process.
///
/// A worker process serves several executors, so no variable of the process can belong to one of them.
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

/// The working directory that the executor whose task this is was given ([`Builder::wdir`](super::Builder::wdir));
/// otherwise that of the process.
///
/// # Errors
///
/// The process has none, or may not see it.
pub fn wdir() -> Result<PathBuf> {
    match CURRENT.with_borrow(|current| current.as_ref()?.wdir.clone()) {
        Some(given) => Ok(given),
        None => std::env::current_dir()
            .map_err(|error| Error::Other(unidist_core::Error::system("the working directory", error))),
    }
}

/// A task of an executor that has a setup: what is sent is this function's type, `f` and `initializer` have no size.
pub(super) fn initialized<F: RemoteFn<Args>, Args: Portable, I: Initialize>(
    f: F,
    initializer: I,
    context: Context<I::Args>,
    settings: &CallSettings,
) -> impl Fn(Args) -> ObjectRef<F::Value> + Send + use<F, Args, I> {
    let task = move |context: Context<I::Args>, args: Args| -> Result<F::Value, TaskError> {
        within(initializer, &context, || f.call(args))
    };
    let prepared = prepare(fallible(task), settings);
    move |args| prepared.remote((context.clone(), args))
}
