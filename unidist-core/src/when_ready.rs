//! A callback for a value, instead of a wait.

use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::reference::RefCore;
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use unidist_backend::Outcome;
use unidist_common::{Error, Result, TaskError};

/// The outcome of a call that has ended, before decoding.
pub struct Ready<T> {
    core: RefCore,
    outcome: Outcome,
    value: PhantomData<fn() -> T>,
}

impl<T: Portable> Ready<T> {
    /// The value.
    ///
    /// # Errors
    ///
    /// The call failed, or the value cannot be decoded.
    pub fn get(&self) -> Result<T> {
        match &self.outcome {
            Ok(payload) => ObjectRef::decode(&self.core, payload),
            Err(error) => Err(Error::from(error.clone()).of_waiter("get")),
        }
    }

    /// The error, if there is no value.
    pub fn error(&self) -> Option<&TaskError> {
        self.outcome.as_ref().err()
    }
}

impl<T> fmt::Debug for Ready<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ready<{}>({})", type_name::<T>(), self.core)
    }
}

impl<T: Portable> ObjectRef<T> {
    /// Calls `then` once, when the call has ended with a value or a failure; at once if it has already.
    ///
    /// `then` runs on a thread of the session: it should do little, such as send its argument to a channel, and must
    /// not block. The value is decoded by [`Ready::get`].
    ///
    /// ```no_run
    /// use std::sync::mpsc;
    /// use unidist_core::remote_traits::*;
    ///
    /// # fn main() -> unidist_core::Result<()> {
    /// let (sender, arrived) = mpsc::channel();
    /// for n in 0..10 {
    ///     let (call, sender) = ((|x: u64| x * x).remote(n), sender.clone());
    ///     call.when_ready(move |ready| drop(sender.send((n, ready))));
    /// }
    /// drop(sender);
    /// for (n, ready) in arrived {
    ///     println!("the square of {n} is {}", ready.get()?); // in order of completion
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn when_ready(&self, then: impl FnOnce(Ready<T>) + Send + 'static) {
        let core = self.core.clone();
        match self.core.held() {
            Ok((backend, id)) => backend
                .on_ready(id, Box::new(move |outcome| then(Ready { core, outcome, value: PhantomData }))),
            Err(error) => then(Ready { outcome: Err(as_task_error(error)), core, value: PhantomData }),
        }
    }
}

fn as_task_error(error: &Error) -> TaskError {
    TaskError::from(error.clone())
}
