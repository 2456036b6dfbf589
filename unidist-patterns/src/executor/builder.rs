//! [`Builder`]: options of an executor.

use super::Executor;
use super::error::{Error, Result};
use super::initializer::{Initialize, Initializer, NoInitializer, Setup, TaskEnvironment};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use unidist_config::MaxWorkers;
use unidist_core::{Portable, RemoteFn};

/// Options of an executor: made by [`Executor::builder`].
#[must_use = "no executor is made until `.build()`"]
pub struct Builder<I: Initialize = NoInitializer> {
    max_workers: Option<usize>,
    environment: TaskEnvironment,
    initializer: I,
    args: I::Args,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            max_workers: None,
            environment: TaskEnvironment::default(),
            initializer: NoInitializer,
            args: (),
        }
    }

    /// A function that each worker process calls with these arguments, a tuple, before its first task of this executor.
    ///
    /// If it panics, or if it is [`fallible`](unidist_core::fallible) and returns an error, the executor is broken:
    /// every pending and later call fails with [`Error::Broken`].
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use unidist::executor::Executor;
    ///
    /// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// fn prepare(len: u64) {
    ///     TABLE.get_or_init(|| (0..len).map(|n| n * n).collect());
    /// }
    /// fn look_up(n: usize) -> Option<u64> {
    ///     TABLE.get()?.get(n).copied()
    /// }
    ///
    /// # fn main() -> unidist::Result<()> {
    /// let _session = unidist::init()?;
    /// let executor = Executor::builder().initializer(prepare, (100,)).build()?;
    /// assert_eq!(executor.submit(look_up, (7,))?.result(None)?, Some(49));
    /// # Ok(())
    /// # }
    /// ```
    pub fn initializer<F, Args>(self, function: F, args: Args) -> Builder<Initializer<F, Args>>
    where
        F: RemoteFn<Args, Value = ()>,
        Args: Portable,
    {
        Builder {
            max_workers: self.max_workers,
            environment: self.environment,
            initializer: Initializer::new(function),
            args,
        }
    }
}

impl<I: Initialize> Builder<I> {
    /// The most calls of this executor that run at once. The default is `UNIDIST_MAX_WORKERS`, or else the number of
    /// the session's workers. A call that waits for others (in `get`, `wait`, `result`) does not count meanwhile.
    pub fn max_workers(mut self, count: usize) -> Self {
        self.max_workers = Some(count);
        self
    }

    /// An environment variable for the tasks, which read it with [`executor::env`](super::env()).
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.env.insert(name.into(), value.into());
        self
    }

    /// A working directory for the tasks, which read it with [`executor::wdir`](super::wdir()). The working directory
    /// of the worker process does not change, since the process serves other executors too.
    pub fn wdir(mut self, path: impl Into<PathBuf>) -> Self {
        self.environment.wdir = Some(path.into());
        self
    }

    /// Makes the executor. This needs no session, and runs nothing on workers.
    ///
    /// # Errors
    ///
    /// `max_workers` is 0, or `UNIDIST_MAX_WORKERS` is not a number above 0.
    pub fn build(self) -> Result<Executor<I>> {
        let limit = match self.max_workers {
            Some(count) => Some(NonZeroUsize::new(count).ok_or_else(no_workers)?),
            None => MaxWorkers::get().map_err(unidist_core::Error::from)?,
        };
        let has_setup = I::IS_SOME || !self.environment.env.is_empty() || self.environment.wdir.is_some();
        let setup = has_setup.then_some(Setup { args: self.args, environment: self.environment });
        Ok(Executor::make(limit, self.initializer, setup))
    }
}

fn no_workers() -> Error {
    Error::invalid("Builder::build", "max_workers must be at least 1; leave it out to use all workers")
}

impl<I: Initialize> fmt::Debug for Builder<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_workers", &self.max_workers)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}
