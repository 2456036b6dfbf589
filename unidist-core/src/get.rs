//! [`get`]: from refs to values.

use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::reference::RefCore;
use crate::session::BackendProxy;
use unidist_backend::Outcome;
use unidist_common::{DataId, Error, Result};

/// Waits for the value of a ref, or of all refs in a slice, array, `Vec` or tuple (of up to six of these).
///
/// All refs are requested together. Inside a task, the task's CPU slot is free meanwhile.
///
/// # Errors
///
/// The first failure, in the order of the refs: of a call, a dependency, a worker or the decoding of the value; or the
/// session has ended.
pub fn get<G: Gettable>(refs: G) -> Result<G::Output> {
    let mut batch = Batch::default();
    refs.__gather(&mut batch);
    let mut fetched = batch.fetch()?.into_iter();
    refs.__decode(&mut Fetched(&mut fetched))
}

/// The arguments of [`get`].
#[diagnostic::on_unimplemented(
    message = "`get` cannot be called with `{Self}`",
    label = "expected `ObjectRef<T>`, `&ObjectRef<T>`, a slice, array or `Vec` of refs, or a tuple of these"
)]
pub trait Gettable {
    /// The values.
    type Output;
    #[doc(hidden)]
    fn __gather<'a>(&'a self, batch: &mut Batch<'a>);
    #[doc(hidden)]
    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<Self::Output>;
}

/// The refs of one `get`, in order.
#[doc(hidden)]
#[derive(Default)]
#[allow(missing_debug_implementations, reason = "an implementation detail of `get`")]
pub struct Batch<'a>(Vec<&'a RefCore>);

/// Their outcomes, in the same order.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "an implementation detail of `get`")]
pub struct Fetched<'a>(&'a mut dyn Iterator<Item = Result<Outcome>>);

impl Batch<'_> {
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

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        batch.0.push(&self.core);
    }

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<T> {
        let outcome = fetched.0.next().unwrap_or_else(|| {
            Err(Error::system("cannot get the values", "the backend returned too few of them"))
        });
        ObjectRef::decode(&self.core, &outcome??)
    }
}

impl<G: Gettable + ?Sized> Gettable for &G {
    type Output = G::Output;

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        (**self).__gather(batch);
    }

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<G::Output> {
        (**self).__decode(fetched)
    }
}

impl<G: Gettable> Gettable for [G] {
    type Output = Vec<G::Output>;

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        self.iter().for_each(|item| item.__gather(batch));
    }

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<Vec<G::Output>> {
        self.iter().map(|item| item.__decode(fetched)).collect()
    }
}

impl<G: Gettable> Gettable for Vec<G> {
    type Output = Vec<G::Output>;

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        self[..].__gather(batch);
    }

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<Vec<G::Output>> {
        self[..].__decode(fetched)
    }
}

impl<G: Gettable, const N: usize> Gettable for [G; N] {
    type Output = Vec<G::Output>;

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        self[..].__gather(batch);
    }

    fn __decode(&self, fetched: &mut Fetched<'_>) -> Result<Vec<G::Output>> {
        self[..].__decode(fetched)
    }
}

macro_rules! tuple {
    ($($G:ident $place:tt),*) => {
        impl<$($G: Gettable),*> Gettable for ($($G,)*) {
            type Output = ($($G::Output,)*);

            fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
                $(self.$place.__gather(batch);)*
            }

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
