//! `map` and `starmap`: one function, many arguments.

use super::error::{Error, Result};
use super::initializer::Initialize;
use super::map_calls::{MapCalls, MapReply, NextCall};
use super::{Executor, map_calls};
use crate::functions::name_of;
use std::fmt;
use std::time::{Duration, Instant};
use unidist_core::{Portable, RemoteFn, TaskError, current_worker, session};

/// Options of a map: made by [`Executor::options`].
#[derive(Debug)]
#[must_use = "nothing runs until `.map(..)` or `.starmap(..)`"]
pub struct MapOptions<'e, I: Initialize> {
    executor: &'e Executor<I>,
    chunksize: usize,
    timeout: Option<Duration>,
    is_unordered: bool,
    buffersize: Option<usize>,
}

impl<'e, I: Initialize> MapOptions<'e, I> {
    pub(super) fn new(executor: &'e Executor<I>) -> Self {
        MapOptions { executor, chunksize: 1, timeout: None, is_unordered: false, buffersize: None }
    }

    /// The number of items per call, 1 by default. For items of a few microseconds, chunks of hundreds are a good size.
    /// If an item panics, all results of its chunk fail; an error returned by a [`fallible`](unidist_core::fallible)
    /// function fails only its item.
    pub fn chunksize(mut self, items: usize) -> Self {
        self.chunksize = items;
        self
    }

    /// How long after the call of `map` its results have to be there. OnEnd the iterator gives [`Error::TimedOut`],
    /// cancels what has not started, and ends.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Gives the results as they arrive.
    pub fn unordered(mut self) -> Self {
        self.is_unordered = true;
        self
    }

    /// The most calls whose results have not been taken from the iterator. Items are consumed as results are taken, so
    /// there may be infinitely many.
    ///
    /// ```
    /// use unidist::executor::Executor;
    ///
    /// # fn main() -> unidist::Result<()> {
    /// let _session = unidist::init()?;
    /// let executor = Executor::new()?;
    /// let squares = executor.options().buffersize(8).map(|n: u64| n * n, 0..)?;
    /// let first = squares.take_while(|square| square.as_ref().is_ok_and(|square| *square < 50));
    /// assert_eq!(first.collect::<Result<Vec<u64>, _>>()?, [0, 1, 4, 9, 16, 25, 36, 49]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn buffersize(mut self, calls: usize) -> Self {
        self.buffersize = Some(calls);
        self
    }

    /// [`Executor::map`] with these options.
    ///
    /// # Errors
    ///
    /// Those of [`Executor::map`]; or `chunksize` or `buffersize` is 0.
    pub fn map<'a, F, A, Items>(self, f: F, items: Items) -> Result<Results<'a, F::Value>>
    where
        F: RemoteFn<(A,)>,
        A: Portable,
        Items: IntoIterator<Item = A, IntoIter: 'a>,
    {
        self.run("map", f, items.into_iter().map(|item| (item,)))
    }

    /// [`Executor::starmap`] with these options.
    ///
    /// # Errors
    ///
    /// Those of [`Executor::starmap`]; or `chunksize` or `buffersize` is 0.
    pub fn starmap<'a, F, Args, Items>(self, f: F, items: Items) -> Result<Results<'a, F::Value>>
    where
        F: RemoteFn<Args>,
        Args: Portable,
        Items: IntoIterator<Item = Args, IntoIter: 'a>,
    {
        self.run("starmap", f, items.into_iter())
    }

    fn run<'a, F: RemoteFn<Args>, Args: Portable>(
        self,
        call: &'static str,
        f: F,
        mut items: impl Iterator<Item = Args> + 'a,
    ) -> Result<Results<'a, F::Value>> {
        self.check(call)?;
        let executor = self.executor;
        executor.check(call)?;
        let config = map_calls::MapConfig {
            shared: executor.shared().clone(),
            call,
            buffersize: self.buffersize.unwrap_or(usize::MAX),
            limit: self.timeout.unwrap_or(Duration::MAX),
            deadline: self.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            is_unordered: self.is_unordered,
        };
        if self.chunksize == 1 {
            let submit = executor.calls(f, None)?;
            let next_call: NextCall<'a, F::Value> = Box::new(move || Some((submit(items.next()?), 1)));
            return Ok(Results(Box::new(MapCalls::start(config, next_call))));
        }
        let chunk = move |chunk: Vec<Args>| -> Vec<Result<F::Value, TaskError>> {
            chunk.into_iter().map(|args| f.call(args).map_err(|error| as_single_call::<F>(error))).collect()
        };
        let submit = executor.calls::<_, (Vec<Args>,)>(chunk, Some(name_of::<F>()))?;
        let chunksize = self.chunksize;
        let next_call: NextCall<'a, Vec<Result<F::Value, TaskError>>> = Box::new(move || {
            let chunk: Vec<Args> = items.by_ref().take(chunksize).collect();
            let len = chunk.len();
            (len > 0).then(|| (submit((chunk,)), len))
        });
        Ok(Results(Box::new(MapCalls::start(config, next_call))))
    }

    fn check(&self, call: &'static str) -> Result<()> {
        if self.chunksize < 1 {
            return Err(Error::invalid(call, "chunksize must be at least 1"));
        }
        if self.buffersize == Some(0) {
            return Err(Error::invalid(call, "buffersize must be at least 1"));
        }
        Ok(())
    }
}

/// The failure of an item in a chunk, described like that of a single call.
fn as_single_call<F>(error: TaskError) -> TaskError {
    let place = |worker| {
        let host =
            session::current("map").and_then(|session| session.cluster()).map(|cluster| cluster.local_ip);
        host.map_or_else(|_| format!("{worker}"), |host| format!("{worker} on {host}"))
    };
    let worker = current_worker().map(place).unwrap_or_default();
    error.of_function(name_of::<F>()).on_worker(&worker)
}

impl<T: Portable> MapReply<T> for Vec<Result<T, TaskError>> {
    fn for_each_result(self, mut give: impl FnMut(Result<T, TaskError>)) {
        self.into_iter().for_each(&mut give);
    }
}

/// The results of a map, in order unless it is unordered. A failed item gives an error, and the next results follow.
///
/// Dropping it cancels calls that have not started.
#[must_use = "dropping the results cancels calls that have not started"]
pub struct Results<'a, T>(Box<dyn Iterator<Item = Result<T>> + 'a>);

impl<T> Iterator for Results<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T> fmt::Debug for Results<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Results")
    }
}
