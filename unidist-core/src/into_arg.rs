//! What may be passed for a parameter: the value, or refs in its place or in place of its parts.

use crate::args::ArgList;
use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use std::borrow::Borrow;

/// What may be passed for a parameter of type `T`: the value, owned or borrowed, or a ref to it. The call starts when
/// the objects behind all refs are ready, and receives their values.
///
/// Refs may also take the place of the parts of some values. `ref` stands for `ObjectRef<T>` or `&ObjectRef<T>`:
///
/// | Parameter | Also accepts |
/// |---|---|
/// | `Option<T>` | `Option<ref>`, `&Option<ObjectRef<T>>` |
/// | `Vec<T>` | `Vec<ref>`, `[ref; N]`, `&Vec<ref>`, `&[ref]`, `&[ref; N]`, [`refs(iterator)`](refs) |
/// | `[T; N]` | `[ref; N]`, `&[ref; N]` |
/// | `Vec<Vec<T>>` | `Vec<Vec<ref>>`, `&Vec<Vec<ref>>`, `&[Vec<ref>]` |
/// | tuple of 1 to 4 | the tuple with a ref at any number of places |
///
/// Refs deeper inside a value are parts of its type: [`Dep<T>`](crate::Dep) arrives as the value, `ObjectRef<T>` as
/// the ref.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::remote_traits::*;
/// use unidist_core::{get, put};
///
/// fn largest(rows: Vec<Vec<i64>>) -> Option<i64> {
///     rows.into_iter().flatten().max()
/// }
/// fn scaled((factor, value): (i64, Option<i64>)) -> i64 {
///     factor * value.unwrap_or(1)
/// }
///
/// let (one, two) = (put(1)?, put(2)?);
/// let max = largest.remote(vec![vec![&one, &two], vec![&two]]);
/// assert_eq!(get(scaled.remote((10, &max)))?, 20);
/// # Ok(())
/// # }
/// ```
///
/// An empty value has no type of its own, so an empty list or option needs one: `None::<i64>`, `Vec::<i64>::new()`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where the remote function takes `{T}`",
    label = "expected `{T}`, `&{T}`, `ObjectRef<{T}>` or `&ObjectRef<{T}>`",
    note = "arguments of remote calls are sent by value, or as a reference to an object that holds the value",
    note = "refs may also be the items of an `Option`, a `Vec`, an array, a `Vec<Vec<_>>` or a tuple of up to four; \
            of an iterator: `refs(iterator)`; deeper inside a value, declare the part as `Dep<T>` in its type and pass \
            `Dep::from(ref)`"
)]
pub trait IntoArg<T> {
    #[doc(hidden)]
    fn __into_arg(self, out: &mut ArgList);
}

/// The refs of an iterator, as a list that can be passed for a `Vec<T>`.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use std::collections::BTreeMap;
/// use unidist_core::remote_traits::*;
/// use unidist_core::{ObjectRef, get, put, refs};
///
/// let prices: BTreeMap<&str, ObjectRef<f64>> = [("pear", put(2.5)?), ("plum", put(1.5)?)].into();
/// let total = (|prices: Vec<f64>| prices.iter().sum::<f64>()).remote(refs(prices.values()));
/// assert_eq!(get(total)?, 4.0);
/// # Ok(())
/// # }
/// ```
pub fn refs<T, R: Borrow<ObjectRef<T>>>(iterator: impl IntoIterator<Item = R>) -> Vec<ObjectRef<T>> {
    iterator.into_iter().map(|reference| reference.borrow().clone()).collect()
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<T> for T {
    fn __into_arg(self, out: &mut ArgList) {
        out.value(&self);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<T> for &T {
    fn __into_arg(self, out: &mut ArgList) {
        out.value(self);
    }
}

#[diagnostic::do_not_recommend]
impl IntoArg<String> for &str {
    fn __into_arg(self, out: &mut ArgList) {
        out.text(self);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<T> for ObjectRef<T> {
    fn __into_arg(self, out: &mut ArgList) {
        out.reference(&self.core);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<T> for &ObjectRef<T> {
    fn __into_arg(self, out: &mut ArgList) {
        out.reference(&self.core);
    }
}

// The forms below name the type of their refs: an implementation for all that can be refs, by a trait of its own, would
// overlap with that for values.

macro_rules! options {
    ($($Form:ty),*) => {
        $(
            #[diagnostic::do_not_recommend]
            impl<T: Portable> IntoArg<Option<T>> for $Form {
                fn __into_arg(self, out: &mut ArgList) {
                    match Option::as_ref(&self) {
                        Some(reference) => out.parts(|parts| {
                            parts.some();
                            parts.reference(reference);
                        }),
                        None => out.value(&None::<()>),
                    }
                }
            }
        )*
    };
}

options!(Option<ObjectRef<T>>, Option<&ObjectRef<T>>, &Option<ObjectRef<T>>);

macro_rules! lists {
    ($([$($len:tt)*] $Form:ty),*) => {
        $(
            #[diagnostic::do_not_recommend]
            impl<T: Portable $($len)*> IntoArg<Vec<T>> for $Form {
                fn __into_arg(self, out: &mut ArgList) {
                    out.list(self.iter().map(Borrow::<ObjectRef<T>>::borrow));
                }
            }
        )*
    };
}

lists!(
    [] Vec<ObjectRef<T>>, [] &Vec<ObjectRef<T>>, [] &[ObjectRef<T>],
    [] Vec<&ObjectRef<T>>, [] &Vec<&ObjectRef<T>>, [] &[&ObjectRef<T>],
    [, const N: usize] [ObjectRef<T>; N], [, const N: usize] &[ObjectRef<T>; N],
    [, const N: usize] [&ObjectRef<T>; N], [, const N: usize] &[&ObjectRef<T>; N]
);

macro_rules! arrays {
    ($($Form:ty),*) => {
        $(
            #[diagnostic::do_not_recommend]
            impl<T: Portable, const N: usize> IntoArg<[T; N]> for $Form {
                fn __into_arg(self, out: &mut ArgList) {
                    out.parts(|parts| self.iter().for_each(|reference| parts.reference::<T>(reference)));
                }
            }
        )*
    };
}

arrays!([ObjectRef<T>; N], &[ObjectRef<T>; N], [&ObjectRef<T>; N], &[&ObjectRef<T>; N]);

macro_rules! lists_of_lists {
    ($($Form:ty),*) => {
        $(
            #[diagnostic::do_not_recommend]
            impl<T: Portable> IntoArg<Vec<Vec<T>>> for $Form {
                fn __into_arg(self, out: &mut ArgList) {
                    out.parts(|parts| {
                        parts.list(self.len());
                        for list in self.iter() {
                            parts.list(list.len());
                            list.iter().for_each(|reference| parts.reference::<T>(reference));
                        }
                    });
                }
            }
        )*
    };
}

lists_of_lists!(
    Vec<Vec<ObjectRef<T>>>,
    &Vec<Vec<ObjectRef<T>>>,
    &[Vec<ObjectRef<T>>],
    Vec<Vec<&ObjectRef<T>>>,
    &Vec<Vec<&ObjectRef<T>>>,
    &[Vec<&ObjectRef<T>>]
);

/// A tuple with a value, a ref or a borrowed ref at each place, but not with values alone.
macro_rules! tuples {
    ($($A:ident $a:ident),*) => {
        tuples!(@values [] $($A $a),*);
    };
    // One more place of each sort. As long as there is no ref, `@values` remembers it.
    (@values [$($done:tt)*] $A:ident $a:ident $(, $($rest:tt)*)?) => {
        tuples!(@values [$($done)* ($A $a value [$A])] $($($rest)*)?);
        tuples!(@refs [$($done)* ($A $a reference [ObjectRef<$A>])] $($($rest)*)?);
        tuples!(@refs [$($done)* ($A $a reference [&ObjectRef<$A>])] $($($rest)*)?);
    };
    (@refs [$($done:tt)*] $A:ident $a:ident $(, $($rest:tt)*)?) => {
        tuples!(@refs [$($done)* ($A $a value [$A])] $($($rest)*)?);
        tuples!(@refs [$($done)* ($A $a reference [ObjectRef<$A>])] $($($rest)*)?);
        tuples!(@refs [$($done)* ($A $a reference [&ObjectRef<$A>])] $($($rest)*)?);
    };
    (@values [$($done:tt)*]) => {};
    (@refs [$(($A:ident $a:ident $add:ident [$Form:ty]))*]) => {
        #[diagnostic::do_not_recommend]
        impl<$($A: Portable),*> IntoArg<($($A,)*)> for ($($Form,)*) {
            fn __into_arg(self, out: &mut ArgList) {
                let ($($a,)*) = self;
                out.parts(|parts| {
                    $(parts.$add(&$a);)*
                });
            }
        }
    };
}

tuples!(A a);
tuples!(A a, B b);
tuples!(A a, B b, C c);
tuples!(A a, B b, C c, D d);
