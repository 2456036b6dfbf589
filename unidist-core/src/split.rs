//! The number of objects that a result becomes: `num_returns`.

use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::serialize_context::{self, Role};
use crate::submit::Submitted;
use unidist_common::{Error, Object, TaskError};

/// The result of `.remote(..)`: a ref, a tuple of refs, or `()`.
pub trait Refs: Sized {
    #[doc(hidden)]
    fn __make(submitted: &Submitted) -> Self;
}

impl<T> Refs for ObjectRef<T> {
    fn __make(submitted: &Submitted) -> Self {
        submitted.object_ref(0)
    }
}

impl Refs for () {
    fn __make(_: &Submitted) {}
}

/// What can be stored as `N` objects: anything as one, a tuple of `N` values as `N`, anything as none.
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` cannot have `num_returns` {N}",
    label = "the return type must be a tuple of {N} values, or a `Result` of such a tuple",
    note = "`num_returns` is 1 for the whole result, 2 to 6 for the values of a tuple of this length, 0 for no \
            result"
)]
pub trait SplitInto<const N: usize>: Sized {
    /// The refs that the caller gets.
    type Refs: Refs;
    #[doc(hidden)]
    fn __encode(self) -> Result<Vec<Object>, TaskError>;
}

#[diagnostic::do_not_recommend]
impl<T: Portable> SplitInto<1> for T {
    type Refs = ObjectRef<T>;

    fn __encode(self) -> Result<Vec<Object>, TaskError> {
        Ok(vec![encoded(&self)?])
    }
}

#[diagnostic::do_not_recommend]
impl<T> SplitInto<0> for T {
    type Refs = ();

    fn __encode(self) -> Result<Vec<Object>, TaskError> {
        Ok(Vec::new())
    }
}

macro_rules! split {
    ($count:literal; $($T:ident $place:tt),*) => {
        impl<$($T),*> Refs for ($(ObjectRef<$T>,)*) {
            fn __make(submitted: &Submitted) -> Self {
                ($(submitted.object_ref($place),)*)
            }
        }

        #[diagnostic::do_not_recommend]
        impl<$($T: Portable),*> SplitInto<$count> for ($($T,)*) {
            type Refs = ($(ObjectRef<$T>,)*);

            fn __encode(self) -> Result<Vec<Object>, TaskError> {
                // All are encoded first: that runs user code, which may block, and a nested turn would drop the held
                // references.
                let parts = [$(serialize_context::encode(&self.$place, Role::Object)?),*];
                Ok(parts.into_iter().map(serialize_context::into_result).collect())
            }
        }
    };
}

split!(2; A 0, B 1);
split!(3; A 0, B 1, C 2);
split!(4; A 0, B 1, C 2, D 3);
split!(5; A 0, B 1, C 2, D 3, E 4);
split!(6; A 0, B 1, C 2, D 3, E 4, F 5);

fn encoded<T: Portable>(value: &T) -> Result<Object, Error> {
    serialize_context::encode(value, Role::Object).map(serialize_context::into_result)
}
