//! A started call.

use std::pin::Pin;
use unidist_common::TaskError;

/// The future of an asynchronous call. It stays on the thread on which the call was started.
pub(crate) type LocalFuture<T> = Pin<Box<dyn Future<Output = Result<T, TaskError>>>>;

/// The result of starting a call.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "a future says nothing")]
pub enum Started<T> {
    /// The call has ended.
    Done(Result<T, TaskError>),
    /// The call continues as a future.
    Later(LocalFuture<T>),
}

impl<T: 'static> Started<T> {
    /// Applies `then` to the value.
    pub(crate) fn and_then<U: 'static>(self, then: fn(T) -> Result<U, TaskError>) -> Started<U> {
        match self {
            Started::Done(result) => Started::Done(result.and_then(then)),
            Started::Later(future) => Started::Later(Box::pin(async move { then(future.await?) })),
        }
    }

    /// Waits for the end, within asynchronous code.
    pub(crate) async fn end(self) -> Result<T, TaskError> {
        match self {
            Started::Done(result) => result,
            Started::Later(future) => future.await,
        }
    }
}
