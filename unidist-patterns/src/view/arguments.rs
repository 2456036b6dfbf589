//! Arguments of a view's calls: values, refs, or names in the engine's namespace.

use super::error::ViewError;
use super::namespace;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;
use unidist_core::{Dep, ObjectRef, Portable, TaskError, get};

/// An argument given by name: each engine uses the value of this name in its own namespace.
///
/// ```
/// use unidist::view::{Client, Distribution, Reference, Result};
///
/// # fn main() -> Result<()> {
/// let _session = unidist::init()?;
/// let all = Client::new()?.view(..)?;
/// all.scatter("part", &[1, 2, 3, 4, 5, 6], Distribution::Block).get(None)?;
/// let sums = all.apply_sync(|part: Vec<i32>| part.iter().sum::<i32>(), (Reference::new("part"),))?;
/// assert_eq!(sums.iter().sum::<i32>(), 21);
/// # Ok(())
/// # }
/// ```
pub struct Reference<T> {
    name: String,
    value: PhantomData<fn() -> T>,
}

impl<T> Reference<T> {
    /// A reference to this name.
    pub fn new(name: impl Into<String>) -> Self {
        Reference { name: name.into(), value: PhantomData }
    }
}

impl<T> Clone for Reference<T> {
    fn clone(&self) -> Self {
        Reference { name: self.name.clone(), value: PhantomData }
    }
}

impl<T> fmt::Debug for Reference<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference<{}>({})", std::any::type_name::<T>(), self.name)
    }
}

/// An argument as it is sent.
#[doc(hidden)]
#[derive(Serialize, Deserialize)]
#[serde(bound = "A: Portable")]
#[allow(missing_debug_implementations, reason = "an implementation detail")]
pub enum Sent<A> {
    Value(A),
    Named(String),
    Object(Dep<A>),
}

impl<A: Portable> Sent<A> {
    fn resolve(self) -> Result<A, TaskError> {
        match self {
            Sent::Value(value) => Ok(value),
            Sent::Named(name) => namespace().and_then(|names| names.get(&name)).map_err(failed),
            // The object is ready: the call has waited for it.
            Sent::Object(object) => get(&object.object_ref()).map_err(TaskError::from),
        }
    }

    fn is_object(&self) -> bool {
        matches!(self, Sent::Object(_))
    }
}

/// The failure of a task that cannot use a name.
pub(crate) fn failed(error: ViewError) -> TaskError {
    TaskError::new(unidist_core::ErrorKind::Failed, error.to_string()).with_payload(&error)
}

/// An argument for a parameter of type `A`: a value, owned or borrowed; a ref to one; a [`Reference`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where the function of a view takes `{A}`",
    label = "expected `{A}`, `&{A}`, `ObjectRef<{A}>` or `Reference<{A}>`"
)]
pub trait IntoViewArg<A> {
    #[doc(hidden)]
    fn __sent(self) -> Sent<A>;
}

#[diagnostic::do_not_recommend]
impl<A: Portable> IntoViewArg<A> for A {
    fn __sent(self) -> Sent<A> {
        Sent::Value(self)
    }
}

#[diagnostic::do_not_recommend]
impl<A: Portable + Clone> IntoViewArg<A> for &A {
    fn __sent(self) -> Sent<A> {
        Sent::Value(self.clone())
    }
}

#[diagnostic::do_not_recommend]
impl<A: Portable + Clone> IntoViewArg<A> for Reference<A> {
    fn __sent(self) -> Sent<A> {
        Sent::Named(self.name)
    }
}

#[diagnostic::do_not_recommend]
impl<A: Portable> IntoViewArg<A> for ObjectRef<A> {
    fn __sent(self) -> Sent<A> {
        Sent::Object(self.into())
    }
}

#[diagnostic::do_not_recommend]
impl<A: Portable> IntoViewArg<A> for &ObjectRef<A> {
    fn __sent(self) -> Sent<A> {
        Sent::Object(self.into())
    }
}

#[diagnostic::do_not_recommend]
impl IntoViewArg<String> for &str {
    fn __sent(self) -> Sent<String> {
        Sent::Value(self.to_owned())
    }
}

/// The parameters of a function that a view can call: a tuple of up to six.
pub trait ViewArgs: Send + 'static {
    #[doc(hidden)]
    type Wire: Wire<Args = Self>;
}

/// A tuple of arguments, one for each parameter.
pub trait IntoViewArgs<Args: ViewArgs> {
    #[doc(hidden)]
    fn __wire(self) -> Args::Wire;
}

/// Arguments as they are sent.
#[doc(hidden)]
pub trait Wire: Portable {
    type Args;
    fn resolve(self) -> Result<Self::Args, TaskError>;
    /// Whether there is a ref among them that the call waits for.
    fn has_objects(&self) -> bool;
}

macro_rules! arity {
    ($($A:ident $T:ident $place:tt),*) => {
        impl<$($A: Portable),*> ViewArgs for ($($A,)*) {
            type Wire = Call<($(Sent<$A>,)*)>;
        }

        impl<$($A: Portable),*> Wire for Call<($(Sent<$A>,)*)> {
            type Args = ($($A,)*);

            #[allow(clippy::unused_unit, reason = "for the empty tuple")]
            fn resolve(self) -> Result<Self::Args, TaskError> {
                Ok(($(self.0.$place.resolve()?,)*))
            }

            fn has_objects(&self) -> bool {
                false $(|| self.0.$place.is_object())*
            }
        }

        #[diagnostic::do_not_recommend]
        impl<$($A: Portable, $T: IntoViewArg<$A>),*> IntoViewArgs<($($A,)*)> for ($($T,)*) {
            fn __wire(self) -> Call<($(Sent<$A>,)*)> {
                Call(($(self.$place.__sent(),)*))
            }
        }
    };
}

/// The arguments of a call, as one value.
#[doc(hidden)]
#[derive(Serialize, Deserialize)]
#[allow(missing_debug_implementations, reason = "an implementation detail")]
pub struct Call<W>(W);

arity!();
arity!(A1 T1 0);
arity!(A1 T1 0, A2 T2 1);
arity!(A1 T1 0, A2 T2 1, A3 T3 2);
arity!(A1 T1 0, A2 T2 1, A3 T3 2, A4 T4 3);
arity!(A1 T1 0, A2 T2 1, A3 T3 2, A4 T4 3, A5 T5 4);
arity!(A1 T1 0, A2 T2 1, A3 T3 2, A4 T4 3, A5 T5 4, A6 T6 5);
