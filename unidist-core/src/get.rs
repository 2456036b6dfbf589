//! [`get`]: from refs to values.

use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::session::BackendProxy;
use crate::waitable::{Batch, Waitable};
use std::time::{Duration, Instant};
use unidist_backend::Outcome;
use unidist_common::{DataId, Error, Result};

/// Waits for the value of a ref, or of all refs in a slice, array, `Vec` or tuple (of up to six), or in a nesting of
/// these.
///
/// All refs are requested together. Inside a task, the task's CPU slot is free meanwhile. [`get_timeout`] limits the
/// time.
///
/// # Errors
///
/// The first failure, in the order of the refs: of a call, a dependency, a worker or the decoding of the value; or the
/// session has ended.
pub fn get<G: Gettable>(refs: G) -> Result<G::Output> {
    let mut batch = Batch::default();
    refs.__gather(&mut batch);
    let values = batch.fetch().and_then(|fetched| refs.__decode(&mut Fetched(&mut fetched.into_iter())));
    values.map_err(|error| error.of_waiter("get"))
}

/// [`get`] with a time limit: until then, all values must be ready.
///
/// The calls go on after the limit: [`cancel`](crate::cancel()) ends those whose results are no longer wanted.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use std::time::Duration;
/// use unidist_core::remote_traits::*;
/// use unidist_core::{Error, get_timeout};
///
/// let answer = (|x: i64| x + 2).remote(40);
/// match get_timeout(&answer, Duration::from_secs(1)) {
///     Err(Error::TimedOut { .. }) => println!("not yet"),
///     other => println!("{}", other?),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::TimedOut`] if a call has neither a value nor a failure in time, or else those of [`get`].
pub fn get_timeout<G: Gettable>(refs: G, timeout: Duration) -> Result<G::Output> {
    let mut batch = Batch::default();
    refs.__gather(&mut batch);
    let fetched = batch.await_all(timeout).and_then(|()| batch.fetch());
    let values = fetched.and_then(|fetched| refs.__decode(&mut Fetched(&mut fetched.into_iter())));
    values.map_err(|error| error.of_waiter("get_timeout"))
}

/// What [`get`] takes.
#[diagnostic::on_unimplemented(
    message = "`get` cannot be called with `{Self}`",
    label = "expected `ObjectRef<T>`, `&ObjectRef<T>`, a slice, array or `Vec` of refs, a tuple of refs, or a nesting \
             of these",
    note = "the refs of an iterator: `refs(iterator)`"
)]
pub trait Gettable: Waitable {
    /// The values.
    type Output;
    #[doc(hidden)]
    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<Self::Output>;
}

/// The outcomes of the refs of one `get`, in order.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "an implementation detail of `get`")]
pub struct Fetched<'a>(&'a mut dyn Iterator<Item = Result<Outcome>>);

impl Batch<'_> {
    /// Waits until all have an outcome.
    fn await_all(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now().checked_add(timeout);
        let mut places: Vec<usize> =
            (0..self.0.len()).filter(|&place| self.0[place].held().is_ok()).collect();
        while let Some(Ok((backend, _))) = places.first().map(|&place| self.0[place].held()) {
            let (own, others): (Vec<_>, Vec<_>) =
                places.into_iter().partition(|&place| self.belongs(place, backend));
            let ids: Vec<DataId> = own.into_iter().filter_map(|place| self.0[place].id()).collect();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let ready = backend.wait(&ids, ids.len(), left)?.len();
            if ready < ids.len() {
                return Err(Error::TimedOut {
                    call: "get_timeout".to_owned(),
                    message: format!(
                        "{} of {} values were not ready within {timeout:?}: wait longer, or cancel the calls",
                        ids.len() - ready,
                        self.0.len()
                    ),
                });
            }
            places = others;
        }
        Ok(())
    }

    fn fetch(self) -> Result<Vec<Result<Outcome>>> {
        let mut results: Vec<Option<Result<Outcome>>> =
            self.0.iter().map(|core| core.held().err().map(|error| Err(error.clone()))).collect();
        // One pass for each session that the refs belong to: nearly always one in all.
        while let Some(first) = results.iter().position(Option::is_none) {
            let Ok((backend, _)) = self.0[first].held() else { break };
            let places: Vec<usize> = (first..results.len())
                .filter(|&place| results[place].is_none() && self.belongs(place, backend))
                .collect();
            let ids: Vec<DataId> = places.iter().filter_map(|&place| self.0[place].id()).collect();
            let outcomes = backend.get(&ids)?;
            if outcomes.len() != places.len() {
                return Err(Error::system("cannot get the values", "the backend returned too few of them"));
            }
            for (place, outcome) in places.into_iter().zip(outcomes) {
                results[place] = Some(Ok(outcome));
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    fn belongs(&self, place: usize, backend: &BackendProxy) -> bool {
        self.0[place].held().is_ok_and(|(own, _)| own.is_same(backend))
    }
}

impl<T: Portable> Gettable for ObjectRef<T> {
    type Output = T;

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<T> {
        let outcome = fetched.0.next().unwrap_or_else(|| {
            Err(Error::system("cannot get the values", "the backend returned too few of them"))
        });
        ObjectRef::decode(&self.core, &outcome??)
    }
}

impl<G: Gettable + ?Sized> Gettable for &G {
    type Output = G::Output;

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<G::Output> {
        (**self).__decode(fetched)
    }
}

impl<G: Gettable> Gettable for [G] {
    type Output = Vec<G::Output>;

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<Vec<G::Output>> {
        self.iter().map(|item| item.__decode(fetched)).collect()
    }
}

impl<G: Gettable> Gettable for Vec<G> {
    type Output = Vec<G::Output>;

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<Vec<G::Output>> {
        self[..].__decode(fetched)
    }
}

impl<G: Gettable, const N: usize> Gettable for [G; N] {
    type Output = Vec<G::Output>;

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<Vec<G::Output>> {
        self[..].__decode(fetched)
    }
}

macro_rules! tuple {
    ($($G:ident $place:tt),*) => {
        impl<$($G: Gettable),*> Gettable for ($($G,)*) {
            type Output = ($($G::Output,)*);

            fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<Self::Output> {
                Ok(($(self.$place.__decode(fetched)?,)*))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
