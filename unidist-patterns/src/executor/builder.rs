//! How an executor is made.

use super::Executor;
use super::error::{Error, Result};
use super::initializer::{Initialize, Initializer, NoInitializer, Setup, Surroundings};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use unidist_config::MaxWorkers;
use unidist_core::{Portable, RemoteFn};

/// What an executor is to be like: made by [`Executor::builder`].
#[must_use = "nothing is made until `.build()`"]
pub struct Builder<I: Initialize = NoInitializer> {
    max_workers: Option<usize>,
    surroundings: Surroundings,
    initializer: I,
    args: I::Args,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            max_workers: None,
            surroundings: Surroundings::default(),
            initializer: NoInitializer,
            args: (),
        }
    }

    /// A function that each worker process calls with these arguments, a tuple, before the first task of this executor
    /// there.
    ///
    /// If it panics, or, being [`fallible`](unidist_core::fallible), returns an error, the executor is broken: every pending
    /// and later call fails with [`Error::Broken`].
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
            surroundings: self.surroundings,
            initializer: Initializer::new(function),
            args,
        }
    }
}

impl<I: Initialize> Builder<I> {
    /// How many calls of this executor run at once, at most. Unless it is said here or by `UNIDIST_MAX_WORKERS`, there are
    /// as many as the session has workers. A call that waits for others (in `get`, `wait`, `result`) does not count
    /// meanwhile.
    pub fn max_workers(mut self, count: usize) -> Self {
        self.max_workers = Some(count);
        self
    }

    /// An environment variable for the tasks, which ask for it with [`executor::env`](super::env()).
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.surroundings.env.insert(name.into(), value.into());
        self
    }

    /// A working directory for the tasks, which ask for it with [`executor::wdir`](super::wdir()). That of the worker
    /// process stays what it is, since the process serves others too.
    pub fn wdir(mut self, path: impl Into<PathBuf>) -> Self {
        self.surroundings.wdir = Some(path.into());
        self
    }

    /// The executor. Nothing is done on workers yet, and there need not be a session.
    ///
    /// # Errors
    ///
    /// `max_workers` is 0, or `UNIDIST_MAX_WORKERS` is no number above 0.
    pub fn build(self) -> Result<Executor<I>> {
        let limit = match self.max_workers {
            Some(count) => Some(NonZeroUsize::new(count).ok_or_else(no_workers)?),
            None => MaxWorkers::get().map_err(unidist_core::Error::from)?,
        };
        let has_setup = I::IS_SOME || !self.surroundings.env.is_empty() || self.surroundings.wdir.is_some();
        let setup = has_setup.then_some(Setup { args: self.args, surroundings: self.surroundings });
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
            .field("surroundings", &self.surroundings)
            .finish_non_exhaustive()
    }
}
