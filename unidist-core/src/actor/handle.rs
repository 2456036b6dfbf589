//! The handle of an actor.

use crate::reference::RefCore;
use crate::serialize_context::Usage;
use crate::session;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::type_name;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use unidist_common::{DataId, Error, FunctionKey, Result};

/// A type whose values can be actors. Implemented by `#[remote]` on its `impl` block.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor",
    label = "put `#[remote]` on an `impl {Self}` block that has a `#[new]` constructor"
)]
pub trait Actor: Sized + 'static {
    /// A field for each method: what an [`ActorHandle`] derefs to.
    type Methods: Send + Sync + 'static;
    #[doc(hidden)]
    fn __methods(actor: &ActorRef) -> Self::Methods;
    /// The key of its constructor.
    #[doc(hidden)]
    fn __constructor() -> Result<FunctionKey>;
}

/// The actor of the session that was started with `T::options().name(name)`.
///
/// A name belongs to one living actor of a session. (The calls of a second one fail with an error whose root cause is
/// of kind [`NameTaken`](unidist_common::ErrorKind::NameTaken).) It does not keep the actor alive: the actor ends when
/// its last handle is dropped and its calls have ended, or when its process dies for good; then its name is free.
///
/// ```no_run
/// # // The attribute needs the facade.
/// # struct Counter; impl unidist_core::Actor for Counter {
/// #     type Methods = ();
/// #     fn __methods(_: &unidist_core::__private::ActorRef) {}
/// #     fn __constructor() -> unidist_core::Result<unidist_core::__private::FunctionKey> { unimplemented!() }
/// # }
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{ActorHandle, get_actor};
///
/// // after `let counter = Counter::options().name("visitors").remote(0);` in the program, in any task:
/// let counter: ActorHandle<Counter> = get_actor("visitors")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::ActorNotFound`]; [`Error::InvalidArgument`] if the actor is not an `A`; or there is no session.
pub fn get_actor<A: Actor>(name: &str) -> Result<ActorHandle<A>> {
    let backend = session::current("get_actor")?;
    let Some(found) = backend.find_actor(name)? else {
        return Err(Error::ActorNotFound { name: name.to_owned() });
    };
    let core = RefCore::adopt(backend, found.handle);
    if found.constructor != A::__constructor()? {
        return Err(Error::InvalidArgument {
            call: "get_actor".to_owned(),
            message: format!("the actor `{name}` is not a `{}`", type_name::<A>()),
        });
    }
    Ok(ActorHandle::new(core))
}

/// A counted reference to an actor.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct ActorRef(pub(crate) RefCore);

/// A handle of an actor.
///
/// It derefs to one field for each remote method, so that `counter.inc.remote(3)` calls `inc`. It can be cloned, sent
/// to tasks and other actors, and be part of other values. When the last handle, in any process, is dropped, the
/// actor's queue is finished and the actor ends.
#[must_use = "the actor ends when its last handle is dropped"]
pub struct ActorHandle<A: Actor>(Arc<Inner<A>>);

struct Inner<A: Actor> {
    core: RefCore,
    methods: A::Methods,
}

impl<A: Actor> ActorHandle<A> {
    pub(crate) fn new(core: RefCore) -> Self {
        let methods = A::__methods(&ActorRef(core.clone()));
        ActorHandle(Arc::new(Inner { core, methods }))
    }

    /// The id of the actor; none if it could not even be asked for. (A function, not a method, because an actor may
    /// have a method called `id`.)
    pub fn id(handle: &Self) -> Option<DataId> {
        handle.0.core.id()
    }
}

impl<A: Actor> Deref for ActorHandle<A> {
    type Target = A::Methods;

    fn deref(&self) -> &A::Methods {
        &self.0.methods
    }
}

impl<A: Actor> Clone for ActorHandle<A> {
    fn clone(&self) -> Self {
        ActorHandle(self.0.clone())
    }
}

impl<A: Actor> fmt::Debug for ActorHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorHandle<{}>({})", type_name::<A>(), self.0.core)
    }
}

impl<A: Actor> PartialEq for ActorHandle<A> {
    fn eq(&self, other: &Self) -> bool {
        self.0.core == other.0.core
    }
}

impl<A: Actor> Eq for ActorHandle<A> {}

impl<A: Actor> Hash for ActorHandle<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.core.hash(state);
    }
}

impl<A: Actor> Serialize for ActorHandle<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.core.serialize_as(Usage::Reference, serializer)
    }
}

impl<'de, A: Actor> Deserialize<'de> for ActorHandle<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RefCore::deserialize(deserializer).map(ActorHandle::new)
    }
}
