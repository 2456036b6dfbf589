//! [`Future`]: the result of a submitted call, or of a combination of futures.

use super::call::Call;
use super::callbacks::Callbacks;
use super::completion::{EndStatus, OnEnd, lock};
use super::error::{Error, Result};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use unidist_core::ObjectRef;

/// The implementation behind a future.
pub(super) trait Source<T>: Send + Sync {
    /// Waits for the end. Returns whether it came before the deadline.
    fn wait(&self, deadline: Option<Instant>) -> Result<bool>;
    /// The outcome; waits for it.
    fn outcome(&self) -> Result<T>;
    /// How it ended, if it has.
    fn end(&self) -> Option<EndStatus>;
    /// Why there is no value, once it has ended.
    fn failure(&self) -> Option<Error>;
    fn is_running(&self) -> bool;
    /// Cancels it if it has not started. Returns whether it is cancelled.
    fn cancel(&self) -> bool;
    fn on_end(&self, then: OnEnd);
    /// The ref, if it is a single call.
    fn reference(&self) -> Option<&ObjectRef<T>>;
    fn callbacks(&self) -> &Arc<Callbacks>;
}

/// The result of a submitted call. All clones are the same future.
///
/// ```
/// use unidist::executor::Executor;
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let executor = Executor::new()?;
/// let future = executor.submit(i64::pow, (3, 4))?;
/// assert_eq!(future.result(None)?, 81);
/// assert!(future.done() && !future.cancelled());
/// # Ok(())
/// # }
/// ```
///
/// It can be awaited in any async runtime.
#[must_use = "the call runs in any case, but its result and failure are only available here"]
pub struct Future<T>(pub(super) Arc<dyn Source<T>>);

impl<T: Send + 'static> Future<T> {
    pub(super) fn of_call(call: Arc<Call<T>>) -> Self
    where
        T: unidist_core::Portable,
    {
        Future(call)
    }

    /// The value; waits for it, at most for `timeout`. May be called repeatedly.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], [`Error::Cancelled`], [`Error::Broken`], or the failure of the call.
    pub fn result(&self, timeout: Option<Duration>) -> Result<T> {
        self.wait_until_deadline(timeout)?;
        self.0.outcome()
    }

    /// The failure of the call, or `None` if it has a value; waits for the end, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], or, as in Python, [`Error::Cancelled`].
    pub fn exception(&self, timeout: Option<Duration>) -> Result<Option<Error>> {
        self.wait_until_deadline(timeout)?;
        self.0.wait(None)?;
        match self.0.failure() {
            Some(Error::Cancelled) => Err(Error::Cancelled),
            failure => Ok(failure),
        }
    }

    /// Whether it has ended: with a value, failed or cancelled.
    pub fn done(&self) -> bool {
        self.0.end().is_some()
    }

    /// Whether the call is running on a worker.
    pub fn running(&self) -> bool {
        self.0.is_running()
    }

    /// Whether it was cancelled.
    pub fn cancelled(&self) -> bool {
        self.0.end() == Some(EndStatus::Cancelled)
    }

    /// Cancels the call if it has not started. Returns whether it is cancelled.
    ///
    /// Executors do not stop running calls; [`cancel`](unidist_core::cancel()) of plain refs does.
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }

    /// Calls `then` with this future when it has ended, or soon if it has already ended.
    ///
    /// Callbacks run one after the other on a thread of the executor. A callback may block, which delays the next ones.
    /// A panic is logged.
    pub fn add_done_callback(&self, then: impl FnOnce(Future<T>) + Send + 'static) {
        let (future, callbacks) = (self.clone(), self.0.callbacks().clone());
        self.0.on_end(Box::new(move |_| callbacks.run(Box::new(move || then(future)))));
    }

    /// The ref of the call, for example as an argument of another call; `None` for a combined future.
    pub fn object_ref(&self) -> Option<&ObjectRef<T>> {
        self.0.reference()
    }

    fn wait_until_deadline(&self, timeout: Option<Duration>) -> Result<()> {
        match timeout {
            Some(limit) if !self.0.wait(Instant::now().checked_add(limit))? => {
                Err(Error::TimedOut { what: "the result", limit })
            }
            _ => Ok(()),
        }
    }
}

impl<T> Clone for Future<T> {
    fn clone(&self) -> Self {
        Future(self.0.clone())
    }
}

impl<T> PartialEq for Future<T> {
    /// Whether both are the same future.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl<T> Eq for Future<T> {}

impl<T> AsRef<[Future<T>]> for Future<T> {
    fn as_ref(&self) -> &[Future<T>] {
        std::slice::from_ref(self)
    }
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Future<{}>({:?})", std::any::type_name::<T>(), self.0.end())
    }
}

/// A future that is being awaited.
pub struct Awaiting<T> {
    future: Future<T>,
    /// `None` before the first poll.
    waker: Option<Arc<Mutex<Option<Waker>>>>,
}

impl<T: Send + 'static> std::future::Future for Awaiting<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        match &self.waker {
            Some(waker) => *lock(waker) = Some(context.waker().clone()),
            None => {
                let waker = Arc::new(Mutex::new(Some(context.waker().clone())));
                self.waker = Some(waker.clone());
                self.future.0.on_end(Box::new(move |_| {
                    let waker = lock(&waker).take();
                    waker.into_iter().for_each(Waker::wake);
                }));
            }
        }
        match self.future.0.end() {
            Some(_) => Poll::Ready(self.future.0.outcome()),
            None => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for Awaiting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.future.fmt(f)
    }
}

impl<T: Send + 'static> IntoFuture for Future<T> {
    type Output = Result<T>;
    type IntoFuture = Awaiting<T>;

    fn into_future(self) -> Awaiting<T> {
        Awaiting { future: self, waker: None }
    }
}

impl<T: Send + 'static> IntoFuture for &Future<T> {
    type Output = Result<T>;
    type IntoFuture = Awaiting<T>;

    fn into_future(self) -> Awaiting<T> {
        self.clone().into_future()
    }
}
