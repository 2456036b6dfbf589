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
//!     Ok(()) // dropping the executor waits for pending calls
//! }
//! ```
//!
//! - Any function, and any closure that captures nothing, can be submitted, with its arguments as a tuple. Its return
//!   value is the result, even if it is a `Result`; with [`fallible`](unidist_core::fallible) around the function, an
//!   `Err` fails the call.
//! - All executors of a program share the workers of its session and take turns at them, those made inside tasks
//!   included. `max_workers` limits how many calls of an executor run at once.
//! - [`wait`] and [`as_completed`] wait for many futures; [`collect`] and [`compose`] make futures of futures.

mod builder;
mod call;
mod callbacks;
mod combinators;
mod completion;
mod error;
mod future;
mod initializer;
mod map;
mod map_calls;
mod shared;
mod waiting;

pub use builder::Builder;
pub use combinators::{collect, compose, compose_with};
pub use error::{Error, Result};
pub use future::{Awaiting, Future};
pub use initializer::{Initialize, Initializer, NoInitializer, env, wdir};
pub use map::{MapOptions, Results};
pub use waiting::{AsCompleted, ReturnWhen, Waited, as_completed, wait};

use crate::functions::name_of;
use call::Call;
use completion::lock;
use initializer::{Context, Setup};
use once_cell::sync::OnceCell;
use shared::Shared;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use unidist_core::{CallSettings, Group, ObjectRef, Portable, RemoteFn, prepare, workers};

/// Runs calls on the workers of the session.
///
/// Nothing runs on workers before the first call. Dropping the executor waits for all pending calls and, outside of
/// tasks, for the callbacks of their futures, as Python's `with` does; to cancel pending calls instead, use
/// [`shutdown`](Executor::shutdown). If the thread is panicking, the drop cancels calls that have not started.
///
/// The type parameter is the type of the initializer, if there is one, as a `HashMap` has a type parameter for its
/// hasher. A function that takes any executor is generic: `fn run<I: Initialize>(executor: &Executor<I>)`.
pub struct Executor<I: Initialize = NoInitializer> {
    shared: Arc<Shared>,
    initializer: I,
    /// The group of the calls, made for the first one.
    group: OnceCell<Group>,
    /// The setup of the workers, until the first call puts it into the object store.
    setup: Mutex<Option<Setup<I::Args>>>,
    /// What calls pass to workers that need a setup; made for the first call.
    context: OnceCell<Option<Context<I::Args>>>,
}

impl Executor {
    /// An executor of all workers, or of `UNIDIST_MAX_WORKERS` of them.
    ///
    /// # Errors
    ///
    /// `UNIDIST_MAX_WORKERS` is not a number above 0. A missing session is reported by the first call.
    pub fn new() -> Result<Self> {
        Executor::builder().build()
    }

    /// A builder for an executor with an initializer, a limit or an environment.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<I: Initialize> Executor<I> {
    fn make(limit: Option<NonZeroUsize>, initializer: I, setup: Option<Setup<I::Args>>) -> Self {
        Executor {
            shared: Shared::new(limit),
            initializer,
            group: OnceCell::new(),
            setup: Mutex::new(setup),
            context: OnceCell::new(),
        }
    }

    /// Calls `f` on a worker with these arguments, a tuple. A [`Dep`](unidist_core::Dep) among them arrives as its
    /// value.
    ///
    /// An argument or a result that cannot be encoded fails only this call.
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
        Ok(Future::of_call(Call::register(&self.shared, reference)))
    }

    /// Calls `f` for each item on all workers, and gives the results in order. [`options`](Executor::options) offers
    /// chunks, time-outs and unordered results.
    ///
    /// Each item is a `Result`, and an error does not end the iterator. To stop at the first error, collect into a
    /// `Result`, or leave the loop with `?`: dropping the iterator cancels calls that have not started.
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

    /// Like [`map`](Executor::map), for tuples of arguments; `zip` combines several iterators into one of tuples.
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

    /// Options for one `map` or `starmap`: chunks, a time-out, unordered results, a bounded look-ahead.
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

    /// The most calls of this executor that run at once.
    ///
    /// # Errors
    ///
    /// There is no session.
    pub fn num_workers(&self) -> Result<usize> {
        let cpus = Shared::cpus("num_workers")?;
        Ok(self.shared.limit.map_or(cpus, |limit| limit.get().min(cpus)))
    }

    /// Runs the initializer on all workers now, instead of before their first call of this executor; with `wait`,
    /// returns when all have run it. This is rarely needed.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](Executor::submit); with `wait`, [`Error::Broken`] if the initializer fails.
    pub fn bootup(&self, wait: bool) -> Result<()> {
        self.check("bootup")?;
        self.settings()?;
        self.context()?;
        let mut futures = Vec::new();
        for worker in workers()? {
            let settings = self.settings()?.on_worker(worker.id);
            let call = self.calls_with::<_, ()>(|| (), settings, Some("bootup"))?(());
            futures.push(Future::of_call(Call::register(&self.shared, call)));
        }
        if wait {
            futures.iter().try_for_each(|future| future.result(None))?;
        }
        Ok(())
    }

    /// Shuts the executor down: every later call is an error.
    ///
    /// With `cancel_futures`, calls that have not started are cancelled. With `wait`, this returns when no call is
    /// pending; otherwise it returns at once, and the drop waits.
    pub fn shutdown(&self, wait: bool, cancel_futures: bool) {
        self.shared.refuse_calls();
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

    /// What calls pass to workers, if these need a setup. If the setup cannot be sent, each call reports that.
    fn context(&self) -> Result<Option<Context<I::Args>>> {
        let context = self.context.get_or_try_init(|| -> Result<_> {
            let mut setup = lock(&self.setup);
            let context = setup.as_ref().map(Context::new).transpose()?;
            *setup = None;
            if let Some(context) = &context {
                let _ = self.shared.id.set(context.executor.clone());
            }
            Ok(context)
        });
        context.cloned()
    }

    fn settings(&self) -> Result<CallSettings> {
        let group = self.group.get_or_try_init(|| self.shared.group())?;
        Ok(CallSettings::new().group(group))
    }

    /// A function that submits calls of `f`, under `name` if one is given.
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
        let context = self.context()?;
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

/// Submits calls of one function.
type Calls<T, Args> = Box<dyn Fn(Args) -> ObjectRef<T>>;

impl<I: Initialize> Drop for Executor<I> {
    fn drop(&mut self) {
        self.shutdown(true, std::thread::panicking());
        if let Some(Some(context)) = self.context.get()
            && let Err(error) = context.forget()
        {
            log::debug!("cannot make the workers forget an executor: {error}");
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
    fn executor_and_futures_are_send_and_sync() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Executor>();
        check::<Future<std::cell::Cell<u8>>>();
        check::<Awaiting<u8>>();
        check::<Error>();
    }
}
