//! Calls of an actor's constructor and methods.

use super::handle::{Actor, ActorHandle, ActorRef};
use super::state::State;
use crate::args::ArgList;
use crate::into_arg::IntoArg;
use crate::options::{Chosen, option_methods};
use crate::portable::Portable;
use crate::received_args::ReceivedArgs;
use crate::reference::RefCore;
use crate::registry::{self, Callable, Shim};
use crate::session;
use crate::split::{Refs, SplitInto};
use crate::started::Started;
use crate::submit::{submit, submit_constructor};
use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use unidist_common::{ActorId, Error, ErrorKind, FunctionKey, Result, Target, TaskError, TaskOptions};

/// An actor's constructor: a marker type that `#[remote]` makes.
#[doc(hidden)]
pub trait Constructor<A: Actor>: 'static {
    /// Its path.
    const NAME: &'static str;
    /// The name given to the actor class.
    const EXPLICIT_NAME: Option<&'static str>;
    /// Sets the default options of the class.
    fn defaults(options: &mut TaskOptions);
    /// Decodes the arguments and makes the state.
    fn build(inputs: ReceivedArgs) -> Result<A, TaskError>;
}

/// A method of an actor: a marker type that `#[remote]` makes. (The actor is a parameter, because a private type may
/// not be an associated one.)
#[doc(hidden)]
pub trait Method<A: Actor>: 'static {
    /// What a ref to the result is a ref to.
    type Value: 'static;
    /// Its path.
    const NAME: &'static str;
    /// The name given to it, after that of the class.
    const EXPLICIT_NAME: Option<&'static str>;
    /// Whether it can have to wait.
    const ASYNCHRONOUS: bool;
    /// Sets its default options.
    fn defaults(options: &mut TaskOptions) {
        let _ = options;
    }
    /// Decodes the arguments and calls the method.
    fn call(state: Rc<State<A>>, inputs: ReceivedArgs) -> Started<Self::Value>;
}

struct Construction<A, M>(PhantomData<fn(A, M)>);

impl<A: Actor, M: Constructor<A>> Callable for Construction<A, M> {
    const SHIM: Shim = Shim::Constructor(|inputs| {
        let state = M::build(inputs)?;
        Ok(Rc::new(State::new(state)) as Rc<dyn Any>)
    });

    fn subject() -> TypeId {
        TypeId::of::<M>()
    }

    fn name() -> &'static str {
        M::NAME
    }

    fn explicit_name() -> Option<&'static str> {
        M::EXPLICIT_NAME
    }

    fn defaults(options: &mut TaskOptions) {
        M::defaults(options);
    }
}

/// The key of a constructor.
///
/// # Errors
///
/// The platform has no table of functions, or two remote functions have the same name.
#[doc(hidden)]
pub fn constructor_key<A: Actor, M: Constructor<A>>() -> Result<FunctionKey> {
    registry::enter_callable::<Construction<A, M>>();
    registry::of(TypeId::of::<Construction<A, M>>()).map(|registered| registered.key)
}

struct MethodCall<A, M, const N: usize>(PhantomData<fn(A, M)>);

impl<A: Actor, M: Method<A>, const N: usize> Callable for MethodCall<A, M, N>
where
    M::Value: SplitInto<N>,
{
    const SHIM: Shim = Shim::Method {
        call: |state, inputs| match state.downcast::<State<A>>() {
            Ok(state) => M::call(state, inputs).and_then(SplitInto::<N>::__encode),
            Err(_) => {
                let message =
                    format!("it is a method of a `{}`, and the actor has another type", type_name::<A>());
                Started::Done(Err(TaskError::new(ErrorKind::UnknownFunction, message)))
            }
        },
        asynchronous: M::ASYNCHRONOUS,
    };

    fn subject() -> TypeId {
        TypeId::of::<M>()
    }

    fn name() -> &'static str {
        M::NAME
    }

    fn explicit_name() -> Option<&'static str> {
        M::EXPLICIT_NAME
    }

    fn variant() -> (&'static str, u32) {
        ("", N as u32)
    }

    fn defaults(options: &mut TaskOptions) {
        M::defaults(options);
    }
}

/// A remote method of an actor, a field of what its handle derefs to. It gives `N` refs for each call.
pub struct ActorMethod<A, M, Args, const N: usize = 1> {
    core: RefCore,
    types: PhantomData<fn(A, M, Args)>,
}

impl<A: Actor, M: Method<A>, Args, const N: usize> ActorMethod<A, M, Args, N> {
    #[doc(hidden)]
    pub fn new(actor: &ActorRef) -> Self {
        ActorMethod { core: actor.0.clone(), types: PhantomData }
    }

    /// Options for a call: `actor.method.options().name("x").remote(..)`.
    pub fn options(&self) -> MethodOptions<A, M, Args, N> {
        MethodOptions { core: self.core.clone(), chosen: Chosen::default(), types: PhantomData }
    }
}

impl<A, M: Method<A>, Args, const N: usize> fmt::Debug for ActorMethod<A, M, Args, N>
where
    A: Actor,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorMethod({} of {})", M::NAME, self.core)
    }
}

/// A call of a method with options, made by [`ActorMethod::options`].
#[must_use = "nothing runs until `.remote(..)`"]
pub struct MethodOptions<A, M, Args, const N: usize> {
    core: RefCore,
    chosen: Chosen,
    types: PhantomData<fn(A, M, Args)>,
}

impl<A: Actor, M: Method<A>, Args, const N: usize> MethodOptions<A, M, Args, N> {
    option_methods!(method);

    /// Stores a tuple of `K` values as `K` objects, each with a ref of its own; 0 stores nothing.
    pub fn num_returns<const K: usize>(self) -> MethodOptions<A, M, Args, K>
    where
        M::Value: SplitInto<K>,
    {
        MethodOptions { core: self.core, chosen: self.chosen, types: PhantomData }
    }
}

impl<A, M, Args, const N: usize> fmt::Debug for MethodOptions<A, M, Args, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodOptions")
            .field("actor", &self.core)
            .field("num_returns", &N)
            .field("chosen", &self.chosen)
            .finish()
    }
}

/// An actor to be started with options, made by `T::options()`.
#[must_use = "nothing runs until `.remote(..)`"]
pub struct ActorOptions<A, M, Args> {
    chosen: Chosen,
    types: PhantomData<fn(A, M, Args)>,
}

impl<A: Actor, M: Constructor<A>, Args> ActorOptions<A, M, Args> {
    #[doc(hidden)]
    #[allow(clippy::new_without_default, reason = "made by the macro alone")]
    pub fn new() -> Self {
        ActorOptions { chosen: Chosen::default(), types: PhantomData }
    }

    option_methods!(actor);
}

impl<A, M, Args> fmt::Debug for ActorOptions<A, M, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorOptions")
            .field("actor", &type_name::<A>())
            .field("chosen", &self.chosen)
            .finish()
    }
}

/// Where a call of a method goes, and its first arguments: none.
fn addressed(core: &RefCore, method: &str, count: usize) -> (ArgList, Target) {
    match core.held() {
        Ok((backend, id)) => {
            (ArgList::new(Ok(backend.clone()), count), Target::Actor(ActorId::of_handle(id)))
        }
        Err(error) => {
            let error = match error {
                // That there is no session says nothing about the actor.
                Error::NotInitialized { .. } | Error::SessionEnded { .. } | Error::Forked { .. } => {
                    error.clone()
                }
                error => TaskError::new(ErrorKind::ActorDied, "the actor could not be started")
                    .of_function(method)
                    .because(error.clone().into())
                    .into(),
            };
            (ArgList::new(Err(error), 0), Target::Pool)
        }
    }
}

macro_rules! arity {
    ($count:literal; $($T:ident $X:ident $x:ident),*) => {
        #[allow(unused_mut, clippy::too_many_arguments, reason = "as many as the method has")]
        impl<A: Actor, M: Method<A>, $($T: Portable,)* const N: usize> ActorMethod<A, M, ($($T,)*), N> {
            /// Calls the method on the actor, and returns at once with a ref to the result.
            pub fn remote<$($X: IntoArg<$T>,)* R>(&self $(, $x: $X)*) -> R
            where
                M::Value: SplitInto<N, Refs = R>,
                R: Refs,
            {
                self.options().remote($($x),*)
            }

            /// Calls the method on the actor without a ref to the result, which is not kept. An error is logged once.
            pub fn send<$($X: IntoArg<$T>),*>(&self $(, $x: $X)*) {
                self.options().send($($x),*)
            }
        }

        #[allow(unused_mut, clippy::too_many_arguments, reason = "as many as the method has")]
        impl<A: Actor, M: Method<A>, $($T: Portable,)* const N: usize> MethodOptions<A, M, ($($T,)*), N> {
            /// Calls the method with these options.
            pub fn remote<$($X: IntoArg<$T>,)* R>(self $(, $x: $X)*) -> R
            where
                M::Value: SplitInto<N, Refs = R>,
                R: Refs,
            {
                let (mut arguments, target) = addressed(&self.core, M::NAME, $count);
                $($x.__into_arg(&mut arguments);)*
                submit::<MethodCall<A, M, N>, _>(arguments, self.chosen, target, N as u32)
            }

            /// Calls the method with these options without a ref to the result, which is not kept. An error is logged
            /// once.
            pub fn send<$($X: IntoArg<$T>),*>(self $(, $x: $X)*) {
                let Self { core, chosen, .. } = self;
                MethodOptions::<A, M, ($($T,)*), 0> { core, chosen, types: PhantomData }.remote($($x),*)
            }
        }

        #[allow(unused_mut, clippy::too_many_arguments, reason = "as many as the constructor has")]
        impl<A: Actor, M: Constructor<A>, $($T: Portable),*> ActorOptions<A, M, ($($T,)*)> {
            /// Starts the actor with these options.
            pub fn remote<$($X: IntoArg<$T>),*>(self $(, $x: $X)*) -> ActorHandle<A> {
                let mut arguments = ArgList::new(session::current("remote"), $count);
                $($x.__into_arg(&mut arguments);)*
                ActorHandle::new(submit_constructor::<Construction<A, M>>(arguments, self.chosen))
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
