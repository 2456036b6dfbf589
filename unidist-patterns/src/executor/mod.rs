//! An executor and its futures, as in Python's `concurrent.futures` and mpi4py.futures.
//!
//! ```
//! use unidist::executor::{Executor, as_completed};
//!
//! fn slow_square(n: u64) -> u64 {
//!     n * n
//! }
//!
//! fn main() -> unidist::Result<()> {
//!     let _session = unidist::init()?;
//!     let executor = Executor::new()?;
//!     let future = executor.submit(slow_square, (7,))?;
//!     assert_eq!(future.result(None)?, 49);
//!
//!     let squares = executor.map(slow_square, 0..100)?;
//!     assert_eq!(squares.sum::<Result<u64, _>>()?, 328_350);
//!
//!     let futures = (0..3).map(|n| executor.submit(slow_square, (n,))).collect::<Result<Vec<_>, _>>()?;
//!     for future in as_completed(&futures, None) {
//!         println!("{}", future?.result(None)?);
//!     }
//!     Ok(()) // the drop of the executor waits for what is pending
//! }
//! ```
//!
//! - Any function, and any closure that captures nothing, can be submitted, with its arguments as a tuple. What it returns
//!   is the result, a `Result` too; with [`fallible`](unidist_core::fallible) around the function, an `Err` is the failure of
//!   the call.
//! - All executors of a program share the workers of its session, and take turns at them. One that is made inside a task
//!   shares them too. `max_workers` limits how many calls of an executor run at once.
//! - [`wait`] and [`as_completed`] wait for many futures; [`collect`] and [`compose`] make futures of futures.

mod builder;
mod call;
mod callbacks;
mod composing;
mod error;
mod flow;
mod future;
mod initializer;
mod map;
mod notice;
mod shared;
mod waiting;

pub use builder::Builder;
pub use composing::{collect, compose, compose_with};
pub use error::{Error, Result};
pub use future::{Awaiting, Future};
pub use initializer::{Initialize, Initializer, NoInitializer, env, wdir};
pub use map::{MapOptions, Results};
pub use waiting::{AsCompleted, ReturnWhen, Waited, as_completed, wait};

use crate::functions::name_of;
use call::Call;
use initializer::{Context, Setup};
use notice::lock;
use shared::Shared;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use unidist_core::{CallSettings, Group, ObjectRef, Portable, RemoteFn, prepare, workers};

/// Runs calls on the workers of the session.
///
/// Nothing is done on workers before the first call. The drop waits for all pending calls, and (outside of tasks) for the
/// callbacks of their futures, as Python's `with` does; calls that are not wanted any more have to be cancelled
/// ([`shutdown`](Executor::shutdown)). If the thread panics, the drop cancels what has not started.
///
/// The parameter is the type of its initializer, if it has one, much as a `HashMap` has that of its hasher; a function that
/// takes any executor is generic: `fn run<I: Initialize>(executor: &Executor<I>)`.
pub struct Executor<I: Initialize = NoInitializer> {
    shared: Arc<Shared>,
    initializer: I,
    start: Mutex<Start<I::Args>>,
}

/// What is made for the first call.
struct Start<A> {
    group: Option<Group>,
    /// What is to be put where workers find it.
    setup: Option<Setup<A>>,
    context: Option<Context<A>>,
}

impl Executor {
    /// An executor of all workers, or of `UNIDIST_MAX_WORKERS` of them.
    ///
    /// # Errors
    ///
    /// `UNIDIST_MAX_WORKERS` is no number above 0. That there is no session is seen by the first call.
    pub fn new() -> Result<Self> {
        Executor::builder().build()
    }

    /// An executor with an initializer, a limit, an environment.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<I: Initialize> Executor<I> {
    fn make(limit: Option<NonZeroUsize>, initializer: I, setup: Option<Setup<I::Args>>) -> Self {
        let start = Mutex::new(Start { group: None, setup, context: None });
        Executor { shared: Shared::new(limit), initializer, start }
    }

    /// Has a worker call `f` with these arguments, a tuple: a [`Dep`](unidist_core::Dep) among them arrives as its value.
    ///
    /// An argument or a result that cannot be encoded fails this call alone.
    ///
    /// # Errors
    ///
    /// There is no session, or the executor is [shut down](Error::ShutDown) or [broken](Error::Broken).
    pub fn submit<F, Args>(&self, f: F, args: Args) -> Result<Future<F::Value>>
    where
        F: RemoteFn<Args>,
        Args: Portable,
    {
        self.check("submit")?;
        let reference = self.calls(f, None)?(args);
        Ok(Future::of_call(Call::enter(&self.shared, reference)))
    }

    /// Calls `f` with each item, on all workers, and gives the results in order: see [`options`](Executor::options) for
    /// other ways.
    ///
    /// Each result is a `Result`, and one that is an error does not end the iterator. To have the first error end it, collect
    /// into a `Result`, or leave the loop with `?`: dropping the iterator cancels what has not started.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](Executor::submit).
    pub fn map<'a, F, A, Items>(&self, f: F, items: Items) -> Result<Results<'a, F::Value>>
    where
        F: RemoteFn<(A,)>,
        A: Portable,
        Items: IntoIterator<Item = A, IntoIter: 'a>,
    {
        self.options().map(f, items)
    }

    /// The same for tuples of arguments. (`zip` makes tuples of several iterators.)
    ///
    /// ```
    /// use unidist::executor::Executor;
    ///
    /// # fn main() -> unidist::Result<()> {
    /// let _session = unidist::init()?;
    /// let executor = Executor::new()?;
    /// let powers = executor.starmap(u64::pow, (2..5).zip([10, 5, 2]))?;
    /// assert_eq!(powers.collect::<Result<Vec<_>, _>>()?, [1024, 243, 16]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`submit`](Executor::submit).
    pub fn starmap<'a, F, Args, Items>(&self, f: F, items: Items) -> Result<Results<'a, F::Value>>
    where
        F: RemoteFn<Args>,
        Args: Portable,
        Items: IntoIterator<Item = Args, IntoIter: 'a>,
    {
        self.options().starmap(f, items)
    }

    /// Options for one `map` or `starmap`: in chunks, with a limit of time, unordered, with a bounded look-ahead.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unidist::executor::Executor;
    ///
    /// # fn main() -> unidist::Result<()> {
    /// let _session = unidist::init()?;
    /// let executor = Executor::new()?;
    /// let options = executor.options().chunksize(100).timeout(Duration::from_secs(60)).unordered();
    /// let sum = options.map(|n: u64| n / 2, 0..1000)?.sum::<Result<u64, _>>()?;
    /// assert_eq!(sum, 249_500);
    /// # Ok(())
    /// # }
    /// ```
    pub fn options(&self) -> MapOptions<'_, I> {
        MapOptions::new(self)
    }

    /// How many calls of this executor run at once, at most.
    ///
    /// # Errors
    ///
    /// There is no session.
    pub fn num_workers(&self) -> Result<usize> {
        let cpus = Shared::cpus("num_workers")?;
        Ok(self.shared.limit.map_or(cpus, |limit| limit.get().min(cpus)))
    }

    /// Has all workers run the initializer now, rather than before their first call of this executor; with `wait`, returns
    /// when they have. There is seldom a reason to.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](Executor::submit); with `wait`, [`Error::Broken`] if the initializer fails.
    pub fn bootup(&self, wait: bool) -> Result<()> {
        self.check("bootup")?;
        self.started()?;
        let mut futures = Vec::new();
        for worker in workers()? {
            let settings = self.settings()?.on_worker(worker.id);
            let call = self.calls_with::<_, ()>(|| (), settings, Some("bootup"))?(());
            futures.push(Future::of_call(Call::enter(&self.shared, call)));
        }
        if wait {
            futures.iter().try_for_each(|future| future.result(None))?;
        }
        Ok(())
    }

    /// Refuses calls from now on: every later one is an error.
    ///
    /// With `cancel_futures`, what has not started is cancelled. With `wait`, this returns when nothing is pending any more;
    /// otherwise at once, and the drop waits.
    pub fn shutdown(&self, wait: bool, cancel_futures: bool) {
        self.shared.shut();
        if cancel_futures {
            self.shared.cancel_unstarted();
        }
        if wait {
            self.shared.wait_for_all();
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn check(&self, call: &'static str) -> Result<()> {
        self.shared.check(call)
    }

    /// The group of the calls, and what workers need; both are made for the first call.
    fn started(&self) -> Result<(Group, Option<Context<I::Args>>)> {
        let mut start = lock(&self.start);
        let group = match &start.group {
            Some(group) => group.clone(),
            None => start.group.insert(self.shared.group()?).clone(),
        };
        if let Some(setup) = &start.setup {
            let context = Context::new(setup)?; // if it cannot be sent, each call says so
            start.setup = None;
            let _ = self.shared.id.set(context.executor.clone());
            start.context = Some(context);
        }
        Ok((group, start.context.clone()))
    }

    fn settings(&self) -> Result<CallSettings> {
        Ok(CallSettings::new().group(&self.started()?.0))
    }

    /// What calls `f`, under another name than its own if one is given.
    fn calls<F, Args>(&self, f: F, name: Option<&str>) -> Result<Calls<F::Value, Args>>
    where
        F: RemoteFn<Args>,
        Args: Portable,
    {
        self.calls_with(f, self.settings()?, name)
    }

    fn calls_with<F, Args>(
        &self,
        f: F,
        mut settings: CallSettings,
        name: Option<&str>,
    ) -> Result<Calls<F::Value, Args>>
    where
        F: RemoteFn<Args>,
        Args: Portable,
    {
        let context = self.started()?.1;
        if let Some(name) = name.or(context.is_some().then_some(name_of::<F>())) {
            settings = settings.name(name);
        }
        Ok(match context {
            Some(context) => Box::new(initializer::initialized(f, self.initializer, context, &settings)),
            None => {
                let prepared = prepare(f, &settings);
                Box::new(move |args| prepared.remote(args))
            }
        })
    }
}

/// Makes calls of one function.
type Calls<T, Args> = Box<dyn Fn(Args) -> ObjectRef<T>>;

impl<I: Initialize> Drop for Executor<I> {
    fn drop(&mut self) {
        self.shutdown(true, std::thread::panicking());
        if let Some(context) = &lock(&self.start).context
            && let Err(error) = context.forget()
        {
            log::debug!("workers are not told to forget an executor: {error}");
        }
    }
}

impl<I: Initialize> fmt::Debug for Executor<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("max_workers", &self.shared.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_go_anywhere() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Executor>();
        check::<Future<std::cell::Cell<u8>>>();
        check::<Awaiting<u8>>();
        check::<Error>();
    }
}
