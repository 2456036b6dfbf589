//! `.await` on a ref, on any executor.

use crate::callbacks;
use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::reference::RefCore;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use unidist_backend::Outcome;
use unidist_common::{Error, Result};

/// The future of a ref's value, made by `.await` or [`IntoFuture::into_future`].
///
/// A ref is not a future itself; give combinators (`select`, `FuturesUnordered`, `tokio::spawn`)
/// `reference.into_future()`. The future requests the value at its first poll and can be dropped at any time. Its waker is
/// called on the thread on which callbacks run: see [`ObjectRef::when_ready`].
pub struct Fetch<T> {
    core: RefCore,
    /// `None` before the first poll.
    shared: Option<Arc<Mutex<Shared>>>,
    value: PhantomData<fn() -> T>,
}

#[derive(Default)]
struct Shared {
    outcome: Option<Outcome>,
    /// The waker, and whether it is the runner's own.
    waker: Option<(Waker, bool)>,
}

impl<T: Portable> Future for Fetch<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let shared = match &self.shared {
            Some(shared) => shared.clone(),
            None => {
                let shared = match request(&self.core) {
                    Ok(shared) => shared,
                    Err(error) => return Poll::Ready(Err(error.of_waiter("await"))),
                };
                self.shared = Some(shared.clone());
                shared
            }
        };
        let waker = (context.waker().clone(), callbacks::is_runners(context.waker()));
        let mut state = lock(&shared);
        match state.outcome.take() {
            Some(outcome) => {
                drop(state);
                self.shared = None; // a poll after completion requests the value again
                Poll::Ready(match outcome {
                    Ok(payload) => ObjectRef::decode(&self.core, &payload),
                    Err(error) => Err(Error::from(error).of_waiter("await")),
                })
            }
            None => {
                let before = state.waker.replace(waker);
                drop(state);
                drop(before); // without the lock: it is code of the program
                Poll::Pending
            }
        }
    }
}

fn request(core: &RefCore) -> Result<Arc<Mutex<Shared>>> {
    let (backend, id) = core.held().map_err(Clone::clone)?;
    let shared = Arc::<Mutex<Shared>>::default();
    let (answer, kept) = (shared.clone(), core.clone());
    backend.on_ready(
        id,
        Box::new(move |outcome| {
            let waker = {
                let mut state = lock(&answer);
                state.outcome = Some(outcome);
                state.waker.take()
            };
            if let Some((waker, is_runners)) = waker {
                callbacks::wake(waker, is_runners);
            }
            drop(kept); // keeps the object alive until now
        }),
    );
    Ok(shared)
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Portable> IntoFuture for ObjectRef<T> {
    type Output = Result<T>;
    type IntoFuture = Fetch<T>;

    fn into_future(self) -> Fetch<T> {
        Fetch { core: self.core, shared: None, value: PhantomData }
    }
}

impl<T: Portable> IntoFuture for &ObjectRef<T> {
    type Output = Result<T>;
    type IntoFuture = Fetch<T>;

    fn into_future(self) -> Fetch<T> {
        self.clone().into_future()
    }
}

impl<T> fmt::Debug for Fetch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetch({})", self.core)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn fetch_is_send_sync_and_unpin() {
        fn check<F: Send + Sync + Unpin + 'static>() {}
        check::<Fetch<String>>();
        check::<Fetch<Rc<u8>>>(); // the value is decoded by the thread that polls
    }
}
