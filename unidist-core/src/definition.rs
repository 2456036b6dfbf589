//! Functions whose definition sets the number of refs of a call: `#[remote(num_returns = 2)]`.
//!
//! The attribute makes a type of the function's name, with `remote` and `options` of its own. (All other
//! functions have them from one trait, so their return types cannot depend on the function.)

use crate::args::ArgList;
use crate::into_arg::IntoArg;
use crate::options::{Chosen, option_methods};
use crate::portable::Portable;
use crate::received_args::ReceivedArgs;
use crate::registry::{Callable, Shim};
use crate::session;
use crate::split::{Refs, SplitInto};
use crate::started::Started;
use crate::submit::submit;
use std::any::{TypeId, type_name};
use std::fmt;
use std::marker::PhantomData;
use unidist_common::{Target, TaskError};

/// Such a function: implemented for the type that `#[remote]` makes.
#[doc(hidden)]
pub trait Definition: 'static {
    /// What the refs of a call refer to, together.
    type Value: 'static;
    /// Whether the function returns a future.
    const ASYNCHRONOUS: bool;
    /// The type of the function itself, by which its name and its default options are found.
    fn subject() -> TypeId;
    /// Decodes the arguments and calls the function.
    fn start(inputs: ReceivedArgs) -> Started<Self::Value>;
}

/// Runs a synchronous function.
#[doc(hidden)]
pub fn now<V>(call: impl FnOnce() -> Result<V, TaskError>) -> Started<V> {
    Started::Done(call())
}

/// A call of `D` that gives `N` objects.
struct DefinedCall<D, const N: usize>(PhantomData<fn(D)>);

impl<D: Definition<Value: SplitInto<N>>, const N: usize> Callable for DefinedCall<D, N> {
    const ASYNCHRONOUS: bool = D::ASYNCHRONOUS;

    const SHIM: Shim = Shim::Function(|inputs| D::start(inputs).and_then(SplitInto::<N>::__encode));

    fn subject() -> TypeId {
        D::subject()
    }

    fn name() -> &'static str {
        type_name::<D>()
    }

    fn variant() -> (&'static str, u32) {
        ("", N as u32)
    }
}

/// A call, with options, of a function that was defined with `num_returns`: made by `f.options()`.
#[must_use = "nothing runs until `.remote(..)`"]
pub struct FunctionOptions<D, Args, const N: usize> {
    chosen: Chosen,
    call: PhantomData<fn(D, Args)>,
}

impl<D: Definition, Args, const N: usize> FunctionOptions<D, Args, N> {
    #[doc(hidden)]
    #[allow(clippy::new_without_default, reason = "made by the macro alone")]
    pub fn new() -> Self {
        FunctionOptions { chosen: Chosen::default(), call: PhantomData }
    }

    option_methods!(call);

    /// Stores the result as `M` objects, in place of the `N` of the definition: 1 is the whole value, 0 stores nothing.
    pub fn num_returns<const M: usize>(self) -> FunctionOptions<D, Args, M>
    where
        D::Value: SplitInto<M>,
    {
        FunctionOptions { chosen: self.chosen, call: PhantomData }
    }
}

impl<D, Args, const N: usize> fmt::Debug for FunctionOptions<D, Args, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionOptions")
            .field("function", &type_name::<D>())
            .field("num_returns", &N)
            .field("chosen", &self.chosen)
            .finish()
    }
}

macro_rules! arity {
    ($count:literal; $($T:ident $X:ident $x:ident),*) => {
        #[allow(unused_mut, clippy::too_many_arguments, reason = "as many as the function has")]
        impl<D: Definition, $($T: Portable,)* const N: usize> FunctionOptions<D, ($($T,)*), N> {
            /// Calls the function with these options.
            pub fn remote<$($X: IntoArg<$T>,)* R>(self $(, $x: $X)*) -> R
            where
                D::Value: SplitInto<N, Refs = R>,
                R: Refs,
            {
                let mut arguments = ArgList::new(session::current("remote"), $count);
                $($x.__into_arg(&mut arguments);)*
                submit::<DefinedCall<D, N>, _>(arguments, self.chosen, Target::Pool, N as u32)
            }

            /// Calls the function with these options without refs to the results, which are not kept. An error is
            /// logged once.
            pub fn send<$($X: IntoArg<$T>),*>(self $(, $x: $X)*) {
                FunctionOptions::<D, ($($T,)*), 0> { chosen: self.chosen, call: PhantomData }.remote($($x),*)
            }
        }
    };
}

arity!(0;);
arity!(1; A1 X1 x1);
arity!(2; A1 X1 x1, A2 X2 x2);
arity!(3; A1 X1 x1, A2 X2 x2, A3 X3 x3);
arity!(4; A1 X1 x1, A2 X2 x2, A3 X3 x3, A4 X4 x4);
arity!(5; A1 X1 x1, A2 X2 x2, A3 X3 x3, A4 X4 x4, A5 X5 x5);
arity!(6; A1 X1 x1, A2 X2 x2, A3 X3 x3, A4 X4 x4, A5 X5 x5, A6 X6 x6);
