//! Conversion of arguments into parameters: values unchanged, remote objects into the worker's own copy.

use super::error::{PoolError, Result};
use super::local::{Local, LocalError, LocalMut};
use super::local_copies::{CopyOwner, LocalCopies, LocalCopy, ObjectKey};
use super::remote_object::RemoteObject;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use unidist_core::{Dep, ObjectRef, Portable, TaskError, get};

/// A parameter of a function that a pool calls: any value that can be sent, [`Local`] or [`LocalMut`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a function that a pool calls",
    label = "neither a value that can be sent nor `Local<T>` or `LocalMut<T>`",
    note = "values that can be sent are `serde::Serialize + serde::de::DeserializeOwned + Send + 'static`"
)]
pub trait PoolParameter: Sized + 'static {
    /// What is sent in place of the parameter.
    #[doc(hidden)]
    type Sent: Portable;
    /// Fetches the worker's copy. It may wait, and other calls may run meanwhile; so this happens for all parameters
    /// before one of them takes a copy exclusively.
    #[doc(hidden)]
    fn __fetch(_sent: &Self::Sent, _place: &AtOwner) -> Result<(), TaskError> {
        Ok(())
    }
    #[doc(hidden)]
    fn __arrive(sent: Self::Sent, owner: &AtOwner) -> Result<Self, TaskError>;
    /// Whether only the pool's own workers have the object.
    #[doc(hidden)]
    fn __is_bound(_sent: &Self::Sent) -> bool {
        false
    }
}

/// Whose copies a call uses.
#[doc(hidden)]
#[derive(Debug)]
pub struct AtOwner(pub(super) CopyOwner);

#[diagnostic::do_not_recommend]
impl<A: Portable> PoolParameter for A {
    type Sent = A;

    fn __arrive(sent: A, _place: &AtOwner) -> Result<A, TaskError> {
        Ok(sent)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable + Sync> PoolParameter for Local<T> {
    type Sent = SentObject<T>;

    fn __fetch(sent: &SentObject<T>, owner: &AtOwner) -> Result<(), TaskError> {
        sent.copy_at(owner.0).map(drop)
    }

    fn __arrive(sent: SentObject<T>, owner: &AtOwner) -> Result<Self, TaskError> {
        Local::of(&*sent.copy_at(owner.0)?)
    }

    fn __is_bound(sent: &SentObject<T>) -> bool {
        sent.source.is_none()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable + Sync> PoolParameter for LocalMut<T> {
    type Sent = SentObject<T>;

    fn __fetch(sent: &SentObject<T>, owner: &AtOwner) -> Result<(), TaskError> {
        sent.copy_at(owner.0).map(drop)
    }

    fn __arrive(sent: SentObject<T>, owner: &AtOwner) -> Result<Self, TaskError> {
        LocalMut::of(sent.copy_at(owner.0)?)
    }

    fn __is_bound(sent: &SentObject<T>) -> bool {
        sent.source.is_none()
    }
}

/// A remote object as an argument of a call.
#[doc(hidden)]
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SentObject<T> {
    pub(super) key: ObjectKey,
    /// Where a worker without a copy gets one.
    pub(super) source: Option<ObjectRef<T>>,
}

impl<T> Clone for SentObject<T> {
    fn clone(&self) -> Self {
        SentObject { key: self.key, source: self.source.clone() }
    }
}

impl<T: Portable + Sync> SentObject<T> {
    fn copy_at(&self, owner: CopyOwner) -> Result<Arc<LocalCopy<T>>, TaskError> {
        let store = LocalCopies::of_process();
        let found = match (store.find(self.key, owner), &self.source) {
            (None, Some(source)) => store.insert(self.key, owner, Arc::new(get(source)?)),
            (found, _) => found,
        };
        found.ok_or_else(LocalError::not_here::<T>)
    }
}

/// An argument for a parameter of type `P`: a `P`; a `&RemoteObject<T>` for [`Local`] and [`LocalMut`]; a ref for a
/// [`Dep`]; a `&str` for a `String`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where the function takes `{P}`",
    label = "expected `{P}`",
    note = "a `&RemoteObject<T>` is passed where the function takes `Local<T>` or `LocalMut<T>`, and a list \
            (`each(..)`) only to `map`"
)]
pub trait IntoPoolArg<P: PoolParameter> {
    #[doc(hidden)]
    fn __into_sent(self) -> Result<P::Sent>;
}

#[diagnostic::do_not_recommend]
impl<A: Portable> IntoPoolArg<A> for A {
    fn __into_sent(self) -> Result<A> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl IntoPoolArg<String> for &str {
    fn __into_sent(self) -> Result<String> {
        Ok(self.to_owned())
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoPoolArg<Dep<T>> for &ObjectRef<T> {
    fn __into_sent(self) -> Result<Dep<T>> {
        Ok(self.into())
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable + Sync> IntoPoolArg<Local<T>> for &RemoteObject<T> {
    fn __into_sent(self) -> Result<SentObject<T>> {
        self.sent()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable + Sync> IntoPoolArg<LocalMut<T>> for &RemoteObject<T> {
    fn __into_sent(self) -> Result<SentObject<T>> {
        self.sent_mut()
    }
}

/// A list; each call of [`map`](super::WorkerPool::map) gets one item. Made by [`each`].
#[derive(Clone, Debug)]
pub struct Each<I>(I);

/// Marks an argument of [`map`](super::WorkerPool::map) as a list.
pub fn each<I: IntoIterator>(list: I) -> Each<I> {
    Each(list)
}

/// An argument of [`map`](super::WorkerPool::map) for a parameter of type `P`: a list ([`each`]) of arguments, or one
/// argument for all calls.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed to `map` where the function takes `{P}`",
    label = "expected `each(..)` of it, or a `{P}` that is `Clone`",
    note = "a `&RemoteObject<T>` is passed where the function takes `Local<T>` or `LocalMut<T>`"
)]
pub trait IntoMapArg<P: PoolParameter> {
    #[doc(hidden)]
    fn __into_column(self) -> Result<Column<P::Sent>>;
}

macro_rules! constant {
    ($([$($bounds:tt)*] $P:ty, $A:ty;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($bounds)*> IntoMapArg<$P> for $A {
            fn __into_column(self) -> Result<Column<<$P as PoolParameter>::Sent>> {
                Ok(Column::Constant(IntoPoolArg::<$P>::__into_sent(self)?, Clone::clone))
            }
        }
    )*};
}

constant! {
    [A: Portable + Clone] A, A;
    [] String, &str;
    [T: Portable + Sync] Local<T>, &RemoteObject<T>;
    [T: Portable + Sync] LocalMut<T>, &RemoteObject<T>;
}

#[diagnostic::do_not_recommend]
impl<P: PoolParameter, I: IntoIterator<Item: IntoPoolArg<P>>> IntoMapArg<P> for Each<I> {
    fn __into_column(self) -> Result<Column<P::Sent>> {
        let items = self.0.into_iter().map(IntoPoolArg::__into_sent);
        Ok(Column::Each(items.collect::<Result<Vec<_>>>()?.into_iter()))
    }
}

/// The arguments for one parameter in all calls of a `map`.
#[doc(hidden)]
#[derive(Debug)]
pub enum Column<S> {
    /// The same in all calls, with a function that clones it.
    Constant(S, fn(&S) -> S),
    /// One item for each call.
    Each(std::vec::IntoIter<S>),
}

impl<S> Column<S> {
    fn len(&self) -> Option<usize> {
        match self {
            Column::Constant(..) => None,
            Column::Each(items) => Some(items.len()),
        }
    }

    /// The argument of the next call.
    fn next(&mut self) -> Option<S> {
        match self {
            Column::Constant(value, copy) => Some(copy(value)),
            Column::Each(items) => items.next(),
        }
    }
}

/// The parameters of a function, as a tuple.
#[doc(hidden)]
pub trait PoolParameters: Sized + 'static {
    type Sent: Portable;
    fn __arrive(sent: Self::Sent, owner: &AtOwner) -> Result<Self, TaskError>;
    fn __is_bound(sent: &Self::Sent) -> bool;
}

/// A tuple of arguments, each [`IntoPoolArg`] of a parameter of the function: `()`, `(a,)`, `(a, b)`, up to six.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed to a function of the parameters `{P}`",
    note = "arguments are a tuple, `(x,)` for one and `()` for none"
)]
pub trait IntoPoolArgs<P: PoolParameters> {
    #[doc(hidden)]
    fn __into_sent(self) -> Result<P::Sent>;
}

/// A tuple of arguments, each [`IntoMapArg`] of a parameter of the function, at least one of them a list.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed to a function of the parameters `{P}`",
    note = "arguments are a tuple, `(each(list),)` for one list"
)]
pub trait IntoMapArgs<P: PoolParameters> {
    #[doc(hidden)]
    fn __into_calls(self) -> Result<Vec<P::Sent>>;
}

/// The number of calls for lists of these lengths.
fn calls(lengths: impl IntoIterator<Item = Option<usize>>) -> Result<usize> {
    let lengths: Vec<usize> = lengths.into_iter().flatten().collect();
    match lengths.first() {
        None => Err(PoolError::NoList),
        Some(first) if lengths.iter().all(|length| length == first) => Ok(*first),
        Some(_) => Err(PoolError::UnequalLists { lengths }),
    }
}

macro_rules! arity {
    ($($P:ident $A:ident $a:ident),*) => {
        #[diagnostic::do_not_recommend]
        impl<$($P: PoolParameter),*> PoolParameters for ($($P,)*) {
            type Sent = ($($P::Sent,)*);

            fn __arrive(($($a,)*): Self::Sent, _place: &AtOwner) -> Result<Self, TaskError> {
                $($P::__fetch(&$a, _place)?;)*
                Ok(($($P::__arrive($a, _place)?,)*))
            }

            fn __is_bound(($($a,)*): &Self::Sent) -> bool {
                [$($P::__is_bound($a)),*].contains(&true)
            }
        }

        impl<$($P: PoolParameter, $A: IntoPoolArg<$P>),*> IntoPoolArgs<($($P,)*)> for ($($A,)*) {
            fn __into_sent(self) -> Result<($($P::Sent,)*)> {
                let ($($a,)*) = self;
                Ok(($($a.__into_sent()?,)*))
            }
        }

        impl<$($P: PoolParameter, $A: IntoMapArg<$P>),*> IntoMapArgs<($($P,)*)> for ($($A,)*) {
            fn __into_calls(self) -> Result<Vec<($($P::Sent,)*)>> {
                let ($($a,)*) = self;
                $(let mut $a = $a.__into_column()?;)*
                let calls = calls([$($a.len()),*])?;
                Ok((0..calls).map_while(|_| Some(($($a.next()?,)*))).collect())
            }
        }
    };
}

arity!();
arity!(P1 A1 a1);
arity!(P1 A1 a1, P2 A2 a2);
arity!(P1 A1 a1, P2 A2 a2, P3 A3 a3);
arity!(P1 A1 a1, P2 A2 a2, P3 A3 a3, P4 A4 a4);
arity!(P1 A1 a1, P2 A2 a2, P3 A3 a3, P4 A4 a4, P5 A5 a5);
arity!(P1 A1 a1, P2 A2 a2, P3 A3 a3, P4 A4 a4, P5 A5 a5, P6 A6 a6);
