//! A call that has been started.

use std::pin::Pin;
use unidist_common::TaskError;

/// The rest of an asynchronous call, which stays on the thread on which it was started.
pub(crate) type LocalFuture<T> = Pin<Box<dyn Future<Output = Result<T, TaskError>>>>;

/// What starting a call gives.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "a future says nothing")]
pub enum Started<T> {
    /// Its end.
    Done(Result<T, TaskError>),
    /// Something to poll.
    Later(LocalFuture<T>),
}

impl<T: 'static> Started<T> {
    /// The same with what becomes of the value.
    pub(crate) fn and_then<U: 'static>(self, then: fn(T) -> Result<U, TaskError>) -> Started<U> {
        match self {
            Started::Done(result) => Started::Done(result.and_then(then)),
            Started::Later(future) => Started::Later(Box::pin(async move { then(future.await?) })),
        }
    }

    /// The end, without leaving the asynchronous code that asks for it.
    pub(crate) async fn end(self) -> Result<T, TaskError> {
        match self {
            Started::Done(result) => result,
            Started::Later(future) => future.await,
        }
    }
}
