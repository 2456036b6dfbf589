#![allow(unsafe_code)] // a shim has only the type of its function: see `fn_item`
//! `.remote(..)`, `.send(..)` and `.options()` on every function and every closure without captures, of up to six parameters.

use crate::args::ArgList;
use crate::fn_item::{fn_item_value, refuse_captures};
use crate::into_arg::IntoArg;
use crate::object_ref::ObjectRef;
use crate::options::{Chosen, option_methods};
use crate::outcome::{Fallback, FallbackOutcome, Outcome, Plain, Specific, SpecificOutcome};
use crate::portable::Portable;
use crate::received_args::ReceivedArgs;
use crate::registry::{Callable, Shim};
use crate::session;
use crate::split::{Refs, SplitInto};
use crate::submit::submit;
use std::any::{TypeId, type_name};
use std::fmt;
use std::marker::PhantomData;
use unidist_common::Target;

/// `F` called with `Args`, returning `Ret`, interpreted as `K` and stored as `N` objects.
pub(crate) struct Function<F, Args, Ret, K, const N: usize>(PhantomData<fn(F, Args, Ret, K)>);

/// A call with options, made by `f.options()`.
#[must_use = "nothing runs until `.remote(..)`"]
pub struct CallOptions<F, Args, Ret, K, const N: usize> {
    chosen: Chosen,
    call: PhantomData<fn(F, Args, Ret, K)>,
}

impl<F, Args, Ret, K, const N: usize> CallOptions<F, Args, Ret, K, N> {
    pub(crate) fn new() -> Self {
        CallOptions { chosen: Chosen::default(), call: PhantomData }
    }

    option_methods!(call);

    /// Stores a tuple of `M` values as `M` objects, each with a ref of its own; 0 stores nothing.
    pub fn num_returns<const M: usize>(self) -> CallOptions<F, Args, Ret, K, M>
    where
        Ret: Outcome<K>,
        Ret::Value: SplitInto<M>,
    {
        CallOptions { chosen: self.chosen, call: PhantomData }
    }
}

impl<F, Args, Ret, K, const N: usize> fmt::Debug for CallOptions<F, Args, Ret, K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("function", &type_name::<F>())
            .field("num_returns", &N)
            .field("chosen", &self.chosen)
            .finish()
    }
}

macro_rules! arity {
    ($count:literal $Specific:ident $Any:ident; $($A:ident $X:ident $x:ident),*) => {
        impl<F, $($A,)* Ret, K, const N: usize> Callable for Function<F, ($($A,)*), Ret, K, N>
        where
            F: Fn($($A),*) -> Ret + Copy + Send + Sync + 'static,
            $($A: Portable,)*
            Ret: Outcome<K> + 'static,
            Ret::Value: SplitInto<N>,
            K: 'static,
        {
            const ASYNCHRONOUS: bool = Ret::__IS_FUTURE;

            #[allow(unused_mut, reason = "no parameters, no change")]
            const SHIM: Shim = Shim::Function(|mut _inputs: ReceivedArgs| {
                $(let $x: $A = match _inputs.next() {
                    Ok(argument) => argument,
                    Err(error) => return crate::started::Started::Done(Err(error)),
                };)*
                // SAFETY: this callable is registered by its call sites, which have a value of `F`.
                let function: F = unsafe { fn_item_value::<F>() };
                function($($x),*).__start().and_then(SplitInto::<N>::__encode)
            });

            fn subject() -> TypeId {
                TypeId::of::<F>()
            }

            fn name() -> &'static str {
                type_name::<F>()
            }

            fn variant() -> (&'static str, u32) {
                (type_name::<K>(), N as u32)
            }
        }

        #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
        impl<F, $($A,)* Ret, K, const N: usize> CallOptions<F, ($($A,)*), Ret, K, N>
        where
            F: Fn($($A),*) -> Ret + Copy + Send + Sync + 'static,
            Ret: Outcome<K> + 'static,
            K: 'static,
        {
            /// Calls the function with these options.
            #[allow(unused_mut, reason = "no parameters, no change")]
            pub fn remote<$($X: IntoArg<$A>,)* R>(self $(, $x: $X)*) -> R
            where
                $($A: Portable,)*
                Ret::Value: SplitInto<N, Refs = R>,
                R: Refs,
            {
                const { refuse_captures::<F>() };
                let mut arguments = ArgList::new(session::current("remote"), $count);
                $($x.__into_arg(&mut arguments);)*
                submit::<Function<F, ($($A,)*), Ret, K, N>, _>(arguments, self.chosen, Target::Pool, N as u32)
            }

            /// Calls the function with these options; there is no ref to the result, as with
            /// `f.send(..)`.
            pub fn send<$($X: IntoArg<$A>),*>(self $(, $x: $X)*)
            where
                $($A: Portable,)*
            {
                CallOptions::<F, ($($A,)*), Ret, K, 0> { chosen: self.chosen, call: PhantomData }.remote($($x),*)
            }
        }

        /// Remote calls of functions that return a `Result` whose error can be sent.
        #[diagnostic::on_unimplemented(
            message = "`{Self}` cannot be called remotely like this",
            label = "the type of its result is unknown here, or cannot be sent",
            note = "a closure needs the types of its parameters (`|x: i64| x + 1`), a generic function its own \
                    (`f::<i64>.remote(..)`)"
        )]
        #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
        pub trait $Specific<$($A,)* Ret: Outcome<Specific<K>>, K>: Sized {
            /// Options for a call: `f.options().num_cpus(2).remote(..)`.
            fn options(self) -> CallOptions<Self, ($($A,)*), Ret, Specific<K>, 1>;

            /// Calls the function on a worker, and returns at once with a ref to the result.
            fn remote<$($X: IntoArg<$A>),*>(self $(, $x: $X)*) -> ObjectRef<Ret::Value>
            where
                $($A: Portable),*;

            /// Calls the function on a worker without a ref to the result, which is not kept. An error is logged once.
            fn send<$($X: IntoArg<$A>),*>(self $(, $x: $X)*)
            where
                $($A: Portable),*;
        }

        #[diagnostic::do_not_recommend]
        impl<F, $($A,)* Ret, K: 'static> $Specific<$($A,)* Ret, K> for F
        where
            F: Fn($($A),*) -> Ret + Copy + Send + Sync + 'static,
            Ret: SpecificOutcome<K> + 'static,
            $($A: 'static),*
        {
            fn options(self) -> CallOptions<F, ($($A,)*), Ret, Specific<K>, 1> {
                CallOptions::new()
            }

            fn remote<$($X: IntoArg<$A>),*>(self $(, $x: $X)*) -> ObjectRef<<Ret as SpecificOutcome<K>>::Value>
            where
                $($A: Portable),*
            {
                CallOptions::<F, ($($A,)*), Ret, Specific<K>, 1>::new().remote($($x),*)
            }

            fn send<$($X: IntoArg<$A>),*>(self $(, $x: $X)*)
            where
                $($A: Portable),*
            {
                CallOptions::<F, ($($A,)*), Ret, Specific<K>, 0>::new().remote($($x),*)
            }
        }

        /// Remote calls of all other functions. (Whether the result can be sent is asked by the methods, so that the
        /// answer is a compile error about the result.)
        #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
        pub trait $Any<$($A,)* Ret, K>: Sized {
            /// Options for a call: `f.options().num_cpus(2).remote(..)`.
            fn options(&self) -> CallOptions<Self, ($($A,)*), Ret, Fallback<K>, 1>
            where
                Ret: FallbackOutcome<K>;

            /// Calls the function on a worker, and returns at once with a ref to the result.
            fn remote<$($X: IntoArg<$A>),*>(&self $(, $x: $X)*) -> ObjectRef<Ret::Value>
            where
                Ret: FallbackOutcome<K>,
                $($A: Portable),*;

            /// Calls the function on a worker without a ref to the result, which is not kept. An error is logged once.
            fn send<$($X: IntoArg<$A>),*>(&self $(, $x: $X)*)
            where
                Ret: FallbackOutcome<K>,
                $($A: Portable),*;
        }

        #[diagnostic::do_not_recommend]
        impl<F, $($A,)* Ret, K: 'static> $Any<$($A,)* Ret, K> for F
        where
            F: Fn($($A),*) -> Ret + Copy + Send + Sync + 'static,
            Ret: 'static,
            $($A: 'static),*
        {
            fn options(&self) -> CallOptions<F, ($($A,)*), Ret, Fallback<K>, 1>
            where
                Ret: FallbackOutcome<K>,
            {
                CallOptions::new()
            }

            fn remote<$($X: IntoArg<$A>),*>(&self $(, $x: $X)*) -> ObjectRef<Ret::Value>
            where
                Ret: FallbackOutcome<K>,
                $($A: Portable),*
            {
                CallOptions::<F, ($($A,)*), Ret, Fallback<K>, 1>::new().remote($($x),*)
            }

            fn send<$($X: IntoArg<$A>),*>(&self $(, $x: $X)*)
            where
                Ret: FallbackOutcome<K>,
                $($A: Portable),*
            {
                CallOptions::<F, ($($A,)*), Ret, Fallback<K>, 0>::new().remote($($x),*)
            }
        }
    };
}

arity!(0 Remote0 RemoteAny0;);
arity!(1 Remote1 RemoteAny1; A1 X1 x1);
arity!(2 Remote2 RemoteAny2; A1 X1 x1, A2 X2 x2);
arity!(3 Remote3 RemoteAny3; A1 X1 x1, A2 X2 x2, A3 X3 x3);
arity!(4 Remote4 RemoteAny4; A1 X1 x1, A2 X2 x2, A3 X3 x3, A4 X4 x4);
arity!(5 Remote5 RemoteAny5; A1 X1 x1, A2 X2 x2, A3 X3 x3, A4 X4 x4, A5 X5 x5);
arity!(6 Remote6 RemoteAny6; A1 X1 x1, A2 X2 x2, A3 X3 x3, A4 X4 x4, A5 X5 x5, A6 X6 x6);

/// A `remote` for functions with too many parameters, whose compile error explains the limit.
macro_rules! too_many {
    ($TooMany:ident; $($A:ident $x:ident),*) => {
        /// Functions with too many parameters for a remote call.
        #[allow(clippy::too_many_arguments, reason = "that is what it is for")]
        pub trait $TooMany<$($A,)* Ret>: Sized {
            /// Cannot be called.
            fn remote(self $(, $x: $A)*) -> ObjectRef<Ret>
            where
                Self: AtMostSixParameters;
        }

        #[diagnostic::do_not_recommend]
        impl<F, $($A,)* Ret> $TooMany<$($A,)* Ret> for F
        where
            F: Fn($($A),*) -> Ret + Copy + Send + Sync + 'static,
        {
            fn remote(self $(, $x: $A)*) -> ObjectRef<Ret>
            where
                Self: AtMostSixParameters,
            {
                let _ = ($($x,)*);
                self.never()
            }
        }
    };
}

/// Implemented by no function with more parameters.
#[diagnostic::on_unimplemented(
    message = "a remote function can have six parameters at most",
    label = "this one has more: put them in a struct or a tuple"
)]
pub trait AtMostSixParameters {
    #[doc(hidden)]
    fn never<R>(&self) -> R;
}

too_many!(TooMany7; A1 x1, A2 x2, A3 x3, A4 x4, A5 x5, A6 x6, A7 x7);
too_many!(TooMany8; A1 x1, A2 x2, A3 x3, A4 x4, A5 x5, A6 x6, A7 x7, A8 x8);

/// Calls `f` once for each item, and returns the refs in the order of the items.
///
/// The return value of `f` is stored whole: a ref to a `Result` is a ref to the `Result`, not to the value in it.
pub fn map<F, A, X, R>(f: F, items: impl IntoIterator<Item = X>) -> Vec<ObjectRef<R>>
where
    F: Fn(A) -> R + Copy + Send + Sync + 'static,
    A: Portable,
    X: IntoArg<A>,
    R: Portable,
{
    let _ = f; // only its type is sent
    let call = |item| CallOptions::<F, (A,), R, Fallback<Plain>, 1>::new().remote(item);
    items.into_iter().map(call).collect()
}
