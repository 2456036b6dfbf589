//! The state of an actor while its methods run.

use crate::outcome::{AnyError, FallbackOutcome, SentError, SpecificOutcome};
use crate::received_args::ReceivedArgs;
use crate::started::{LocalFuture, Started};
use std::rc::Rc;
use tokio::sync::RwLock;
use unidist_common::TaskError;

/// The state of an actor. The lock is fair, so the order of calls is kept.
#[doc(hidden)]
pub type State<A> = RwLock<A>;

/// Runs a synchronous `&mut self` method: at once, or when the state is free.
#[doc(hidden)]
pub fn exclusive<A: 'static, V: 'static>(
    state: Rc<State<A>>,
    inputs: ReceivedArgs,
    method: fn(&mut A, ReceivedArgs) -> Result<V, TaskError>,
) -> Started<V> {
    if let Ok(mut free) = state.try_write() {
        return Started::Done(method(&mut free, inputs));
    }
    Started::Later(Box::pin(async move { method(&mut *state.write().await, inputs) }))
}

/// Runs a synchronous `&self` method: at once, or when no call changes the state.
#[doc(hidden)]
pub fn shared<A: 'static, V: 'static>(
    state: Rc<State<A>>,
    inputs: ReceivedArgs,
    method: fn(&A, ReceivedArgs) -> Result<V, TaskError>,
) -> Started<V> {
    if let Ok(free) = state.try_read() {
        return Started::Done(method(&free, inputs));
    }
    Started::Later(Box::pin(async move { method(&*state.read().await, inputs) }))
}

/// An asynchronous method.
#[doc(hidden)]
pub fn later<V>(method: impl Future<Output = Result<V, TaskError>> + 'static) -> Started<V> {
    Started::Later(Box::pin(method) as LocalFuture<V>)
}

/// Chooses, for a method that returns a `Result`, the family of outcomes: this one first.
#[doc(hidden)]
pub trait SentErrorKind: Sized {
    /// The kind.
    fn __unidist_kind(&self) -> SentTag {
        SentTag
    }
}

/// The second choice.
#[doc(hidden)]
pub trait AnyErrorKind: Sized {
    /// The kind.
    fn __unidist_kind(&self) -> AnyTag {
        AnyTag
    }
}

// The value may be an actor's state, which cannot be sent: only the error decides.
impl<T, E> SentErrorKind for Result<T, E> where Result<(), E>: SpecificOutcome<SentError> {}
impl<T, E> AnyErrorKind for &Result<T, E> where Result<(), E>: FallbackOutcome<AnyError> {}

/// The error can be sent.
#[doc(hidden)]
#[derive(Debug)]
pub struct SentTag;

/// The error is kept as text.
#[doc(hidden)]
#[derive(Debug)]
pub struct AnyTag;

impl SentTag {
    /// The method's result, with its error as that of the call.
    pub fn finish<T, E>(self, result: Result<T, E>) -> Result<T, TaskError>
    where
        E: crate::portable::SendableError,
    {
        result.map_err(|error| crate::outcome::sent(&error))
    }
}

impl AnyTag {
    /// The method's result, with its error as that of the call.
    pub fn finish<T, E>(self, result: Result<T, E>) -> Result<T, TaskError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        result.map_err(|error| crate::outcome::any(&*error.into()))
    }
}
