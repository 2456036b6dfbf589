//! Closures with values sent along.

use crate::args::ArgList;
use crate::call::Function;
use crate::fn_item::refuse_captures;
use crate::into_arg::IntoArg;
use crate::object_ref::ObjectRef;
use crate::options::Chosen;
use crate::outcome::{Fallback, Plain};
use crate::portable::Portable;
use crate::serialize_context::{self, Encoded, Role};
use crate::session;
use crate::split::SplitInto;
use crate::submit::submit;
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use unidist_common::{Error, Target};

/// A closure with the values sent along, made by `closure!([a, b] |x: T| ..)`.
///
/// The values are encoded once, however many calls are made. What the closure returns is stored whole: a ref to a
/// `Result` is a ref to the `Result`.
pub struct Bound<B, F, Args> {
    values: Result<Encoded, Error>,
    types: PhantomData<fn(B, F, Args)>,
}

impl<B: Portable, F, Args> Bound<B, F, Args> {
    fn new(values: &B) -> Self {
        Bound { values: serialize_context::encode(values, Role::Argument), types: PhantomData }
    }

    fn arguments(&self, count: usize) -> ArgList {
        let mut arguments = ArgList::new(session::current("remote"), count + 1);
        arguments.prepend(self.values.as_ref());
        arguments
    }
}

impl<B, F, Args> fmt::Debug for Bound<B, F, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bound<{}>({})", type_name::<F>(), type_name::<B>())
    }
}

macro_rules! bound {
    ($bind:ident $count:literal; $($A:ident $X:ident $x:ident),*) => {
        #[doc(hidden)]
        pub fn $bind<B: Portable, $($A,)* R, F: Fn(B, $($A),*) -> R + Copy>(values: B, _: F) -> Bound<B, F, ($($A,)*)> {
            Bound::new(&values)
        }

        impl<B: Portable, F, $($A: Portable),*> Bound<B, F, ($($A,)*)> {
            /// Calls the closure on a worker, and returns at once with a ref to the result.
            pub fn remote<$($X: IntoArg<$A>,)* R: Portable>(&self $(, $x: $X)*) -> ObjectRef<R>
            where
                F: Fn(B, $($A),*) -> R + Copy + Send + Sync + 'static,
            {
                self.call::<$($X,)* R, 1>($($x),*)
            }

            /// Calls the closure on a worker without a ref to the result, which is not kept. An error is logged once.
            pub fn send<$($X: IntoArg<$A>,)* R: Portable>(&self $(, $x: $X)*)
            where
                F: Fn(B, $($A),*) -> R + Copy + Send + Sync + 'static,
            {
                self.call::<$($X,)* R, 0>($($x),*)
            }

            /// A call that keeps its first `N` results.
            #[allow(unused_mut, reason = "no parameters, no change")]
            fn call<$($X: IntoArg<$A>,)* R: Portable + SplitInto<N>, const N: usize>(&self $(, $x: $X)*) -> R::Refs
            where
                F: Fn(B, $($A),*) -> R + Copy + Send + Sync + 'static,
            {
                const { refuse_captures::<F>() };
                let mut arguments = self.arguments($count);
                $($x.__into_arg(&mut arguments);)*
                submit::<Function<F, (B, $($A,)*), R, Fallback<Plain>, N>, _>(
                    arguments,
                    Chosen::default(),
                    Target::Pool,
                    N as u32,
                )
            }
        }
    };
}

bound!(bind0 0;);
bound!(bind1 1; A1 X1 x1);
bound!(bind2 2; A1 X1 x1, A2 X2 x2);

impl<B: Portable, F, A: Portable> Bound<B, F, (A,)> {
    /// Calls the closure once for each item, and returns the refs in the order of the items.
    pub fn map<X: IntoArg<A>, R: Portable>(&self, items: impl IntoIterator<Item = X>) -> Vec<ObjectRef<R>>
    where
        F: Fn(B, A) -> R + Copy + Send + Sync + 'static,
    {
        items.into_iter().map(|item| self.remote(item)).collect()
    }
}

/// A closure that can be called remotely, optionally with a list of variables whose clones are sent along.
///
/// A closure is sent as its type, so captured values would be lost. `closure!` rejects captures already in `cargo
/// check`; the variables in the list are sent as an argument. Parameters need their types.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::closure;
/// use unidist_core::remote_traits::*;
///
/// let double = closure!(|x: i64| 2 * x);
/// let six = double.remote(3);
///
/// let (factor, words) = (10, vec!["a".to_string()]);
/// let scale = closure!([factor, words] |x: i64| x * factor + words.len() as i64);
/// let refs = scale.map(0..4);
/// # Ok(())
/// # }
/// ```
///
/// A closure that captures a zero-sized value counts as one without captures.
#[macro_export]
macro_rules! closure {
    ([$($value:ident),* $(,)?] || $body:expr) => {{
        let values = ($(::core::clone::Clone::clone(&$value),)*);
        let function = $crate::__private::typed0(&values, |($($value,)*)| $body);
        if false { let _: fn(_) -> _ = function; } // rejects captures that are not in the list
        $crate::__private::bind0(values, function)
    }};
    ([$($value:ident),* $(,)?] |$x:ident : $X:ty $(,)?| $body:expr) => {{
        let values = ($(::core::clone::Clone::clone(&$value),)*);
        let function = $crate::__private::typed1(&values, |($($value,)*), $x: $X| $body);
        if false { let _: fn(_, _) -> _ = function; } // rejects captures that are not in the list
        $crate::__private::bind1(values, function)
    }};
    ([$($value:ident),* $(,)?] |$x:ident : $X:ty, $y:ident : $Y:ty $(,)?| $body:expr) => {{
        let values = ($(::core::clone::Clone::clone(&$value),)*);
        let function = $crate::__private::typed2(&values, |($($value,)*), $x: $X, $y: $Y| $body);
        if false { let _: fn(_, _, _) -> _ = function; } // rejects captures that are not in the list
        $crate::__private::bind2(values, function)
    }};
    (|| $body:expr) => {{
        let function = || $body;
        if false { let _: fn() -> _ = function; } // rejects captures
        function
    }};
    (|$($x:ident : $X:ty),+ $(,)?| $body:expr) => {{
        let function = |$($x: $X),+| $body;
        if false { let _: fn($($crate::__infer!($X)),+) -> _ = function; } // rejects captures
        function
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __infer {
    ($X:ty) => {
        _
    };
}

macro_rules! typed {
    ($typed:ident $($A:ident),*) => {
        /// The closure, with the type of its first parameter inferred from the values.
        #[doc(hidden)]
        pub fn $typed<B, $($A,)* R, F: Fn(B, $($A),*) -> R + Copy>(_: &B, function: F) -> F {
            function
        }
    };
}

typed!(typed0);
typed!(typed1 A1);
typed!(typed2 A1, A2);
