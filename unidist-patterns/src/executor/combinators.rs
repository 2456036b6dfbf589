//! [`collect`] and [`compose`]: futures made from other futures.

use super::callbacks::{Callbacks, is_callback_thread};
use super::completion::{Completion, EndStatus, OnEnd, already_ended, lock};
use super::error::{Error, Result};
use super::future::{Future, Source};
use super::waiting;
use crate::functions::panic_error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use unidist_core::{ErrorKind, ObjectRef, TaskError, current_call};

/// A future of the results of several futures, in order.
///
/// It fails as soon as one of them fails, with the same error, and is cancelled as soon as one is cancelled; the others
/// are then cancelled if they have not started. Cancelling it cancels all of them.
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
        completion: if is_empty { already_ended(EndStatus::Value) } else { Arc::default() },
    });
    for (place, source) in collected.sources.iter().enumerate() {
        let this = collected.clone();
        source.0.on_end(Box::new(move |end| Collected::source_ended(&this, place, end)));
    }
    Future(collected)
}

struct Collected<T> {
    sources: Vec<Future<T>>,
    pending: AtomicUsize,
    first_failed: OnceLock<usize>,
    completion: Arc<Completion>,
    callbacks: Arc<Callbacks>,
}

impl<T: Send + 'static> Collected<T> {
    fn source_ended(collected: &Arc<Self>, place: usize, end: EndStatus) {
        let is_first_failed = end != EndStatus::Value && collected.first_failed.set(place).is_ok();
        let is_last = collected.pending.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last && collected.first_failed.get().is_none() {
            collected.completion.complete(EndStatus::Value);
        }
        if is_first_failed && collected.completion.complete(end) {
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
        if current_call().is_some() || is_callback_thread() {
            for source in &self.sources {
                if self.completion.end().is_some() {
                    break;
                }
                if !source.0.wait(deadline)? {
                    return Ok(false);
                }
            }
        }
        Ok(self.completion.wait(deadline))
    }

    fn outcome(&self) -> Result<Vec<T>> {
        self.wait(None)?;
        match self.failure() {
            Some(error) => Err(error),
            None => waiting::outcomes(&self.sources),
        }
    }

    fn end(&self) -> Option<EndStatus> {
        self.completion.end()
    }

    fn failure(&self) -> Option<Error> {
        if self.completion.end() == Some(EndStatus::Value) {
            return None;
        }
        let first = self.first_failed.get().and_then(|place| self.sources.get(*place));
        Some(first.and_then(|first| first.0.failure()).unwrap_or(Error::Cancelled))
    }

    fn is_running(&self) -> bool {
        self.completion.end().is_none() && self.sources.iter().any(Future::running)
    }

    fn cancel(&self) -> bool {
        if self.completion.complete(EndStatus::Cancelled) {
            self.cancel_sources();
        }
        self.completion.end() == Some(EndStatus::Cancelled)
    }

    fn on_end(&self, then: OnEnd) {
        self.completion.on_end(then);
    }

    fn reference(&self) -> Option<&ObjectRef<Vec<T>>> {
        None
    }

    fn callbacks(&self) -> &Arc<Callbacks> {
        &self.callbacks
    }
}

/// A future of the result of `on_value`, called with the value of another future. A failure is passed on unchanged.
///
/// The function may be any closure. It is called in this process, on the executor's callback thread, as soon as the
/// value is ready. If it waits for another composed future that has not ended, that wait fails with an error of kind
/// [`Deadlock`](ErrorKind::Deadlock). If it panics, the new future fails. Cancelling the new future cancels the
/// original.
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

/// Like [`compose`], with a function for failures: it may give a value instead, or another failure.
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
    let composed = Arc::new(Composed {
        source: future.clone(),
        outcome: Mutex::new(None),
        completion: Completion::default(),
    });
    let this = composed.clone();
    future.0.on_end(Box::new(move |end| {
        if end == EndStatus::Cancelled {
            this.completion.complete(EndStatus::Cancelled);
            return;
        }
        let callbacks = this.source.0.callbacks().clone();
        callbacks.run(Box::new(move || {
            this.run(|outcome| match outcome {
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
    completion: Completion,
}

impl<T: Send + 'static, U: Clone> Composed<T, U> {
    fn run(&self, hook: impl FnOnce(Result<T>) -> Result<U>) {
        if self.completion.end().is_some() {
            return; // cancelled meanwhile
        }
        let hooked = catch_unwind(AssertUnwindSafe(|| hook(self.source.0.outcome())));
        let outcome = hooked.unwrap_or_else(|panic| Err(panic_error(&*panic).into()));
        let end = match &outcome {
            Ok(_) => EndStatus::Value,
            Err(Error::Cancelled) => EndStatus::Cancelled,
            Err(_) => EndStatus::Failed,
        };
        *lock(&self.outcome) = Some(outcome);
        self.completion.complete(end);
    }
}

impl<T: Send + 'static, U: Clone + Send + 'static> Source<U> for Composed<T, U> {
    fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        if self.completion.end().is_none() && self.callbacks().is_here() {
            let message = "a callback waits for a composed future whose function runs on the same thread after it: \
                           compose the two futures instead";
            return Err(TaskError::new(ErrorKind::Deadlock, message).into());
        }
        // In a task, this releases the CPU slot; the wait after it is short.
        if current_call().is_some() && !self.source.0.wait(deadline)? {
            return Ok(false);
        }
        Ok(self.completion.wait(deadline))
    }

    fn outcome(&self) -> Result<U> {
        self.wait(None)?;
        match self.completion.end() {
            Some(EndStatus::Cancelled) => Err(Error::Cancelled),
            _ => lock(&self.outcome).clone().unwrap_or(Err(Error::Cancelled)),
        }
    }

    fn end(&self) -> Option<EndStatus> {
        self.completion.end()
    }

    fn failure(&self) -> Option<Error> {
        match self.completion.end() {
            Some(EndStatus::Value) => None,
            _ => self.outcome().err(),
        }
    }

    fn is_running(&self) -> bool {
        self.completion.end().is_none() && self.source.running()
    }

    fn cancel(&self) -> bool {
        if self.completion.complete(EndStatus::Cancelled) {
            self.source.cancel();
        }
        self.completion.end() == Some(EndStatus::Cancelled)
    }

    fn on_end(&self, then: OnEnd) {
        self.completion.on_end(then);
    }

    fn reference(&self) -> Option<&ObjectRef<U>> {
        None
    }

    fn callbacks(&self) -> &Arc<Callbacks> {
        self.source.0.callbacks()
    }
}
