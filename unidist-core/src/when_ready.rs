//! A callback for a value, instead of a wait.

use crate::callbacks;
use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::reference::RefCore;
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use unidist_backend::Outcome;
use unidist_common::{Error, ErrorKind, Result, TaskError};

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
    /// `then` runs on the callback thread, which the process starts with its first callback. Callbacks, and the wakers of
    /// futures of refs, run there one after the other and never within another function of unidist, so `then` may take
    /// locks that other threads hold during `get` or `.remote`. It should do little, such as send its argument to a
    /// channel, and should not block: the callbacks behind it wait. If it panics, the message goes to standard error and
    /// everything else goes on.
    ///
    /// Each callback is called, at the latest when the session ends, which waits until all of them have returned: do not
    /// end a session while you hold a lock that a callback takes. The value is decoded by [`Ready::get`].
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
            Ok((backend, id)) => {
                backend.on_ready(id, Box::new(move |outcome| call_later(core, outcome, then)));
            }
            Err(error) => {
                let outcome = Err(TaskError::from(error.clone()));
                call_later(core, outcome, then);
            }
        }
    }
}

fn call_later<T: 'static>(core: RefCore, outcome: Outcome, then: impl FnOnce(Ready<T>) + Send + 'static) {
    let outcome = outcome.map_err(|error| match error.kind {
        ErrorKind::SessionEnded => TaskError::session_ended(), // by whatever way it was learned
        _ => error,
    });
    callbacks::run("a callback", move || then(Ready { core, outcome, value: PhantomData }));
}
