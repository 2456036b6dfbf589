//! How the return value of a function becomes a value or an error.
//!
//! Two families, so that `.remote` can prefer the first:
//!
//! 1. [`SpecificOutcome`]: `Result<T, E>` with an `E` that can be sent, which [`downcast`](TaskError::downcast)
//!    restores; and futures of it.
//! 2. [`FallbackOutcome`]: any value; `Result<T, E>` with any other error, whose text and sources are kept; and
//!    futures of these.
//!
//! The parameter `K` of each trait selects the case. It is inferred, and is part of the key of a callable.

use crate::portable::{Portable, SendableError};
use crate::serialize_context;
use crate::started::Started;
use std::any::{Any, type_name};
use std::error::Error as StdError;
use unidist_common::{Error, ErrorKind, ErrorPayload, TaskError};

/// `Result<T, E>`, where `E` can be sent.
#[derive(Debug)]
pub struct SentError;
/// A value.
#[derive(Debug)]
pub struct Plain;
/// `Result<T, E>`, where `E` is any error.
#[derive(Debug)]
pub struct AnyError;
/// A future of an outcome of kind `K`.
#[derive(Debug)]
pub struct Later<K>(K);

/// The first family.
#[diagnostic::on_unimplemented(
    message = "the result of this remote call has no definite type, or cannot be sent: `{Self}`",
    label = "the type of the result is unknown here",
    note = "a closure needs the types of its parameters (`|x: i64| x + 1`), a generic function its own \
            (`f::<i64>.remote(..)`)"
)]
pub trait SpecificOutcome<K>: Sized {
    /// The type of the result's value.
    type Value: Portable;
    #[doc(hidden)]
    const __IS_FUTURE: bool = false;
    #[doc(hidden)]
    fn __start(self) -> Started<Self::Value>;
}

/// The second family.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a remote function",
    label = "neither `{Self}` nor a value inside it (of a `Result` or a future) can be sent to another process",
    note = "for your own type: `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait FallbackOutcome<K>: Sized {
    /// The type of the result's value.
    type Value: Portable;
    #[doc(hidden)]
    const __IS_FUTURE: bool = false;
    #[doc(hidden)]
    fn __start(self) -> Started<Self::Value>;
}

#[diagnostic::do_not_recommend]
impl<T: Portable, E: SendableError> SpecificOutcome<SentError> for Result<T, E> {
    type Value = T;

    fn __start(self) -> Started<T> {
        Started::Done(self.map_err(|error| sent(&error)))
    }
}

#[diagnostic::do_not_recommend]
impl<F, K: 'static> SpecificOutcome<Later<K>> for F
where
    F: Future<Output: SpecificOutcome<K>> + 'static,
{
    type Value = <F::Output as SpecificOutcome<K>>::Value;

    const __IS_FUTURE: bool = true;

    fn __start(self) -> Started<Self::Value> {
        Started::Later(Box::pin(async move { SpecificOutcome::__start(self.await).end().await }))
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> FallbackOutcome<Plain> for T {
    type Value = T;

    fn __start(self) -> Started<T> {
        Started::Done(Ok(self))
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable, E: Into<Box<dyn StdError + Send + Sync>>> FallbackOutcome<AnyError> for Result<T, E> {
    type Value = T;

    fn __start(self) -> Started<T> {
        Started::Done(self.map_err(|error| any(&*error.into())))
    }
}

#[diagnostic::do_not_recommend]
impl<F, K: 'static> FallbackOutcome<Later<K>> for F
where
    F: Future<Output: FallbackOutcome<K>> + 'static,
{
    type Value = <F::Output as FallbackOutcome<K>>::Value;

    const __IS_FUTURE: bool = true;

    fn __start(self) -> Started<Self::Value> {
        Started::Later(Box::pin(async move { FallbackOutcome::__start(self.await).end().await }))
    }
}

/// The failure of a function that returned `error`, which can be sent.
pub(crate) fn sent<E: SendableError>(error: &E) -> TaskError {
    let any = error as &dyn Any;
    if let Some(error) = any.downcast_ref::<TaskError>() {
        return error.clone(); // it is one already
    }
    if let Some(Error::Task(cause)) = any.downcast_ref::<Error>() {
        return failed("").because((**cause).clone()); // a nested `get(..)?` keeps its own error
    }
    if let Some(text) = any.downcast_ref::<&'static str>() {
        return sent(&(*text).to_owned()); // `downcast` restores a `String`
    }
    if let Some(Error::SessionEnded { .. }) = any.downcast_ref::<Error>() {
        return TaskError::session_ended(); // the call ends because the session does
    }
    let message = match (any.downcast_ref::<Error>(), any.downcast_ref::<String>()) {
        (Some(error), _) => error.to_string(),
        (_, Some(text)) => text.clone(),
        _ => format!("{error:?}"),
    };
    TaskError { payload: payload(error), ..failed(message) }
}

/// The error value, encoded, if its receiver can restore it.
fn payload<E: SendableError>(error: &E) -> Option<ErrorPayload> {
    let type_name = type_name::<E>();
    match serialize_context::encode_error(error) {
        Ok(bytes) => Some(ErrorPayload { type_name: type_name.to_owned(), bytes: bytes.into() }),
        Err(why) => {
            log::warn!("of an error value of type `{type_name}` only the text is sent: {why}");
            None
        }
    }
}

/// The failure of a function that returned `error`, of which the text is kept.
pub(crate) fn any(error: &(dyn StdError + 'static)) -> TaskError {
    let mut task_error = failed("");
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<Error>() {
            Some(Error::Task(cause)) => return task_error.because((**cause).clone()),
            Some(Error::SessionEnded { .. }) => return TaskError::session_ended(),
            _ if task_error.message.is_empty() => task_error.message = error.to_string(),
            _ => task_error.chain.push(error.to_string()),
        }
        next = error.source();
    }
    task_error
}

fn failed(message: impl Into<String>) -> TaskError {
    TaskError::new(ErrorKind::Failed, message)
}

/// The first family, as a kind of [`Outcome`].
#[derive(Debug)]
pub struct Specific<K>(K);
/// The second family, as a kind of [`Outcome`].
#[derive(Debug)]
pub struct Fallback<K>(K);

/// Both families in one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a remote function",
    label = "not serialisable with serde (Serialize + DeserializeOwned + Send + 'static), nor a Result or a future of \
             such a value"
)]
pub trait Outcome<K>: Sized {
    /// The type of the result's value.
    type Value: Portable;
    #[doc(hidden)]
    const __IS_FUTURE: bool = false;
    #[doc(hidden)]
    fn __start(self) -> Started<Self::Value>;
}

#[diagnostic::do_not_recommend]
impl<R: SpecificOutcome<K>, K> Outcome<Specific<K>> for R {
    type Value = R::Value;

    const __IS_FUTURE: bool = R::__IS_FUTURE;

    fn __start(self) -> Started<R::Value> {
        SpecificOutcome::__start(self)
    }
}

#[diagnostic::do_not_recommend]
impl<R: FallbackOutcome<K>, K> Outcome<Fallback<K>> for R {
    type Value = R::Value;

    const __IS_FUTURE: bool = R::__IS_FUTURE;

    fn __start(self) -> Started<R::Value> {
        FallbackOutcome::__start(self)
    }
}
