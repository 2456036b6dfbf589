//! [`collect`] and [`compose`]: futures that are made of futures.

use super::callbacks::{Callbacks, is_any_here};
use super::error::{Error, Result};
use super::future::{Future, Source};
use super::notice::{End, Notice, Then, ended, lock};
use super::waiting;
use crate::functions::panicked;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use unidist_core::{ErrorKind, ObjectRef, TaskError, current_call};

/// One future of the results of many, in order.
///
/// It fails as soon as one of them does, with that failure, or is cancelled when one is; the others are cancelled then,
/// as far as they have not started. Cancelling it cancels them all.
///
/// ```
/// use unidist::executor::{Executor, collect};
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let executor = Executor::new()?;
/// let futures = (0..4).map(|n| executor.submit(|n: u64| n * n, (n,))).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(collect(futures).result(None)?, [0, 1, 4, 9]);
/// # Ok(())
/// # }
/// ```
pub fn collect<T: Send + 'static>(futures: impl IntoIterator<Item = Future<T>>) -> Future<Vec<T>> {
    let sources: Vec<Future<T>> = futures.into_iter().collect();
    let is_empty = sources.is_empty();
    let collected = Arc::new(Collected {
        callbacks: sources.first().map_or_else(Arc::default, |first| first.0.callbacks().clone()),
        pending: AtomicUsize::new(sources.len()),
        sources,
        first_failed: OnceLock::new(),
        notice: if is_empty { ended(End::Value) } else { Arc::default() },
    });
    for (place, source) in collected.sources.iter().enumerate() {
        let told = collected.clone();
        source.0.tell(Box::new(move |end| Collected::note(&told, place, end)));
    }
    Future(collected)
}

struct Collected<T> {
    sources: Vec<Future<T>>,
    pending: AtomicUsize,
    first_failed: OnceLock<usize>,
    notice: Arc<Notice>,
    callbacks: Arc<Callbacks>,
}

impl<T: Send + 'static> Collected<T> {
    fn note(collected: &Arc<Self>, place: usize, end: End) {
        let is_first_failed = end != End::Value && collected.first_failed.set(place).is_ok();
        let is_last = collected.pending.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last && collected.first_failed.get().is_none() {
            collected.notice.settle(End::Value);
        }
        if is_first_failed && collected.notice.settle(end) {
            let collected = collected.clone();
            collected.callbacks.clone().run(Box::new(move || collected.cancel_sources()));
        }
    }

    fn cancel_sources(&self) {
        for source in &self.sources {
            source.0.cancel();
        }
    }
}

impl<T: Send + 'static> Source<Vec<T>> for Collected<T> {
    fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        if current_call().is_some() || is_any_here() {
            for source in &self.sources {
                if self.notice.end().is_some() {
                    break;
                }
                if !source.0.wait(deadline)? {
                    return Ok(false);
                }
            }
        }
        Ok(self.notice.wait(deadline))
    }

    fn outcome(&self) -> Result<Vec<T>> {
        self.wait(None)?;
        match self.failure() {
            Some(error) => Err(error),
            None => waiting::outcomes(&self.sources),
        }
    }

    fn end(&self) -> Option<End> {
        self.notice.end()
    }

    fn failure(&self) -> Option<Error> {
        if self.notice.end() == Some(End::Value) {
            return None;
        }
        let first = self.first_failed.get().and_then(|place| self.sources.get(*place));
        Some(first.and_then(|first| first.0.failure()).unwrap_or(Error::Cancelled))
    }

    fn is_running(&self) -> bool {
        self.notice.end().is_none() && self.sources.iter().any(Future::running)
    }

    fn cancel(&self) -> bool {
        if self.notice.settle(End::Cancelled) {
            self.cancel_sources();
        }
        self.notice.end() == Some(End::Cancelled)
    }

    fn tell(&self, then: Then) {
        self.notice.tell(then);
    }

    fn reference(&self) -> Option<&ObjectRef<Vec<T>>> {
        None
    }

    fn callbacks(&self) -> &Arc<Callbacks> {
        &self.callbacks
    }
}

/// A future of what `on_value` makes of the value of another one. A failure is passed on as it is.
///
/// The function is called in this process, on the thread for callbacks of the executor, as soon as the value is there; it
/// may be any closure. If it waits for another future of this kind that has not ended, that is an error of kind
/// [`Deadlock`](ErrorKind::Deadlock). That it panics is the failure of the new future. Cancelling that cancels the other one.
///
/// ```
/// use unidist::executor::{Executor, compose};
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let executor = Executor::new()?;
/// let unit = "m".to_owned();
/// let text = compose(&executor.submit(|n: u64| n + 1, (41,))?, move |n| Ok(format!("{n} {unit}")));
/// assert_eq!(text.result(None)?, "42 m");
/// # Ok(())
/// # }
/// ```
pub fn compose<T, U>(future: &Future<T>, on_value: impl FnOnce(T) -> Result<U> + Send + 'static) -> Future<U>
where
    T: Send + 'static,
    U: Clone + Send + 'static,
{
    compose_with(future, on_value, Err)
}

/// The same with a function for the other case: it may give a value in place of the failure, or another failure.
///
/// ```
/// use unidist::executor::{Executor, compose_with};
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let executor = Executor::new()?;
/// let divided = executor.submit(|n: i64| 1 / n, (0,))?;
/// assert_eq!(compose_with(&divided, Ok, |_| Ok(0)).result(None)?, 0);
/// # Ok(())
/// # }
/// ```
pub fn compose_with<T, U>(
    future: &Future<T>,
    on_value: impl FnOnce(T) -> Result<U> + Send + 'static,
    on_failure: impl FnOnce(Error) -> Result<U> + Send + 'static,
) -> Future<U>
where
    T: Send + 'static,
    U: Clone + Send + 'static,
{
    let composed =
        Arc::new(Composed { source: future.clone(), outcome: Mutex::new(None), notice: Notice::default() });
    let told = composed.clone();
    future.0.tell(Box::new(move |end| {
        if end == End::Cancelled {
            told.notice.settle(End::Cancelled);
            return;
        }
        let callbacks = told.source.0.callbacks().clone();
        callbacks.run(Box::new(move || {
            told.run(|outcome| match outcome {
                Ok(value) => on_value(value),
                Err(error) => on_failure(error),
            });
        }));
    }));
    Future(composed)
}

struct Composed<T, U> {
    source: Future<T>,
    outcome: Mutex<Option<Result<U>>>,
    notice: Notice,
}

impl<T: Send + 'static, U: Clone> Composed<T, U> {
    fn run(&self, hook: impl FnOnce(Result<T>) -> Result<U>) {
        if self.notice.end().is_some() {
            return; // it was cancelled meanwhile
        }
        let hooked = catch_unwind(AssertUnwindSafe(|| hook(self.source.0.outcome())));
        let outcome = hooked.unwrap_or_else(|panic| Err(panicked(&*panic).into()));
        let end = match &outcome {
            Ok(_) => End::Value,
            Err(Error::Cancelled) => End::Cancelled,
            Err(_) => End::Failed,
        };
        *lock(&self.outcome) = Some(outcome);
        self.notice.settle(end);
    }
}

impl<T: Send + 'static, U: Clone + Send + 'static> Source<U> for Composed<T, U> {
    fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        if self.notice.end().is_none() && self.callbacks().is_here() {
            let message = "a callback waits for a future whose function runs on the same thread, after it; \
                           compose the two instead";
            return Err(TaskError::new(ErrorKind::Deadlock, message).into());
        }
        // In a task this gives the CPU slot back; the rest is not for long.
        if current_call().is_some() && !self.source.0.wait(deadline)? {
            return Ok(false);
        }
        Ok(self.notice.wait(deadline))
    }

    fn outcome(&self) -> Result<U> {
        self.wait(None)?;
        match self.notice.end() {
            Some(End::Cancelled) => Err(Error::Cancelled),
            _ => lock(&self.outcome).clone().unwrap_or(Err(Error::Cancelled)),
        }
    }

    fn end(&self) -> Option<End> {
        self.notice.end()
    }

    fn failure(&self) -> Option<Error> {
        match self.notice.end() {
            Some(End::Value) => None,
            _ => self.outcome().err(),
        }
    }

    fn is_running(&self) -> bool {
        self.notice.end().is_none() && self.source.running()
    }

    fn cancel(&self) -> bool {
        if self.notice.settle(End::Cancelled) {
            self.source.cancel();
        }
        self.notice.end() == Some(End::Cancelled)
    }

    fn tell(&self, then: Then) {
        self.notice.tell(then);
    }

    fn reference(&self) -> Option<&ObjectRef<U>> {
        None
    }

    fn callbacks(&self) -> &Arc<Callbacks> {
        self.source.0.callbacks()
    }
}
