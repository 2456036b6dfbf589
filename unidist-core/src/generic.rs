#![allow(unsafe_code)] // a shim has only the type of its function: see `fn_item`
//! Calls of functions passed as parameters: the basis of `map` and similar functions.

use crate::args::ArgList;
use crate::fn_item::{fn_item_value, refuse_captures};
use crate::into_arg::IntoArg;
use crate::object_ref::ObjectRef;
use crate::outcome;
use crate::portable::{Portable, SendableError};
use crate::received_args::ReceivedArgs;
use crate::registry::{self, Callable, Shim};
use crate::session;
use crate::split::SplitInto;
use crate::started::Started;
use crate::submit::{self, CallSettings, Template};
use std::any::{TypeId, type_name};
use std::fmt;
use std::fmt::Debug;
use std::marker::PhantomData;
use unidist_common::{Error, Result, Target, TaskError};

/// A function that can be called on a worker with `Args`, a tuple: every function and closure of up to six parameters
/// that captures nothing, and what [`fallible`] makes of one.
///
/// Generic code takes `f: impl RemoteFn<(A,)>` where its user may give any such function, and hands it to [`prepare`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called remotely with the arguments `{Args}`",
    label = "not a function of these parameters, or its parameters or result cannot be sent",
    note = "arguments are a tuple, `(x,)` for one; a closure captures nothing and needs the types of its parameters \
            (`|x: i64| x + 1`); values are sent that are Serialize + DeserializeOwned + Send + 'static"
)]
pub trait RemoteFn<Args>: Copy + Send + Sync + 'static {
    /// The type of the result's value.
    type Value: Portable;

    /// Calls the function locally.
    ///
    /// # Errors
    ///
    /// That of the function, if it is [`fallible`].
    fn call(self, args: Args) -> Result<Self::Value, TaskError>;

    #[doc(hidden)]
    fn __subject() -> TypeId {
        TypeId::of::<Self>()
    }

    #[doc(hidden)]
    fn __name() -> &'static str {
        type_name::<Self>()
    }
}

/// A function whose `Err` is the failure of its call: made by [`fallible`].
#[derive(Clone, Copy)]
pub struct Fallible<F>(F);

/// Makes an `Err` that the function returns the failure of the call.
///
/// Functions that take any function ([`map`](crate::map), [`prepare`]) cannot tell a `Result` from other values, and
/// store it whole. With `fallible`, a ref to the result is a ref to the `Ok` value, and the ref yields an `Err` as an
/// [`Error`], from which [`downcast`](Error::downcast) restores the function's own error.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{CallSettings, fallible, get, prepare};
///
/// fn parse(text: String) -> Result<i64, String> {
///     text.parse().map_err(|_| format!("{text} is no number"))
/// }
///
/// let parse = prepare(fallible(parse), &CallSettings::new());
/// assert_eq!(get(parse.remote(("42".to_owned(),)))?, 42);
/// let error = get(parse.remote(("forty-two".to_owned(),))).unwrap_err();
/// assert_eq!(error.downcast::<String>().as_deref(), Some("forty-two is no number"));
/// # Ok(())
/// # }
/// ```
pub fn fallible<F: Copy>(function: F) -> Fallible<F> {
    Fallible(function)
}

impl<F> Debug for Fallible<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fallible({})", type_name::<F>())
    }
}

macro_rules! arity {
    ($($A:ident $a:ident),*) => {
        #[diagnostic::do_not_recommend]
        impl<F, $($A,)* R> RemoteFn<($($A,)*)> for F
        where
            F: Fn($($A),*) -> R + Copy + Send + Sync + 'static,
            R: Portable,
        {
            type Value = R;

            fn call(self, ($($a,)*): ($($A,)*)) -> Result<R, TaskError> {
                Ok(self($($a),*))
            }
        }

        #[diagnostic::do_not_recommend]
        impl<F, $($A,)* R, E> RemoteFn<($($A,)*)> for Fallible<F>
        where
            F: Fn($($A),*) -> Result<R, E> + Copy + Send + Sync + 'static,
            R: Portable,
            E: SendableError,
        {
            type Value = R;

            fn call(self, ($($a,)*): ($($A,)*)) -> Result<R, TaskError> {
                (self.0)($($a),*).map_err(|error| outcome::sent(&error))
            }

            fn __subject() -> TypeId {
                TypeId::of::<F>()
            }

            fn __name() -> &'static str {
                type_name::<F>()
            }
        }
    };
}

arity!();
arity!(A1 a1);
arity!(A1 a1, A2 a2);
arity!(A1 a1, A2 a2, A3 a3);
arity!(A1 a1, A2 a2, A3 a3, A4 a4);
arity!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5);
arity!(A1 a1, A2 a2, A3 a3, A4 a4, A5 a5, A6 a6);

/// `F` called with `Args`, sent as one value; its first `N` results are kept.
struct Generic<F, Args, const N: usize>(PhantomData<fn(F, Args)>);

impl<F, Args, const N: usize> Callable for Generic<F, Args, N>
where
    F: RemoteFn<Args>,
    F::Value: SplitInto<N>,
    Args: Portable,
{
    const SHIM: Shim = Shim::Function(|mut inputs: ReceivedArgs| {
        let args: Args = match inputs.next() {
            Ok(args) => args,
            Err(error) => return Started::Done(Err(error)),
        };
        // SAFETY: this callable is registered by its call sites, which have a value of `F`.
        let function: F = unsafe { fn_item_value::<F>() };
        Started::Done(function.call(args)).and_then(SplitInto::<N>::__encode)
    });

    fn subject() -> TypeId {
        F::__subject()
    }

    fn name() -> &'static str {
        F::__name()
    }

    fn variant() -> (&'static str, u32) {
        (type_name::<(F, Args)>(), N as u32)
    }
}

/// A function with settings for its calls, made by [`prepare`], which does once what is the same for all calls.
#[must_use = "nothing runs until `.remote(..)` or `.send(..)`"]
pub struct Prepared<F, Args> {
    template: Result<Template, Error>,
    /// The template of calls without results.
    silent: Result<Template, Error>,
    call: PhantomData<fn(F, Args)>,
}

/// Prepares many calls of this function with these settings.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{CallSettings, ObjectRef, get, prepare};
///
/// let square = prepare(|x: i64| x * x, &CallSettings::new().name("square").priority(1));
/// let squares: Vec<ObjectRef<i64>> = (0..1000).map(|x| square.remote((x,))).collect();
/// assert_eq!(get(&squares)?[30], 900);
/// # Ok(())
/// # }
/// ```
pub fn prepare<F: RemoteFn<Args>, Args: Portable>(function: F, settings: &CallSettings) -> Prepared<F, Args> {
    const { refuse_captures::<F>() };
    let _ = function; // only its type is sent
    registry::enter_callable::<Generic<F, Args, 1>>();
    registry::enter_callable::<Generic<F, Args, 0>>();
    let template = submit::prepare(TypeId::of::<Generic<F, Args, 1>>(), settings.chosen());
    let silent = submit::prepare(TypeId::of::<Generic<F, Args, 0>>(), settings.chosen());
    Prepared { template, silent, call: PhantomData }
}

impl<F: RemoteFn<Args>, Args: Portable> Prepared<F, Args> {
    /// Calls the function on a worker, and returns at once with a ref to the result. The arguments are a tuple, or a
    /// ref to one; an [`ObjectRef`] among them arrives as such, a [`Dep`](crate::Dep) as the value.
    pub fn remote(&self, args: impl IntoArg<Args>) -> ObjectRef<F::Value> {
        let mut arguments = ArgList::new(session::current("remote"), 1);
        args.__into_arg(&mut arguments);
        submit::call(self.template.as_ref(), arguments, Target::Pool, 1).object_ref(0)
    }

    /// Calls the function on a worker without a ref to the result, which is not kept. An error is logged once.
    pub fn send(&self, args: impl IntoArg<Args>) {
        let mut arguments = ArgList::new(session::current("send"), 1);
        args.__into_arg(&mut arguments);
        let _ = submit::call(self.silent.as_ref(), arguments, Target::Pool, 0);
    }
}

impl<F, Args> Clone for Prepared<F, Args> {
    fn clone(&self) -> Self {
        Prepared { template: self.template.clone(), silent: self.silent.clone(), call: PhantomData }
    }
}

impl<F, Args> Debug for Prepared<F, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({})", type_name::<F>())
    }
}
