//! [`ObjectRef`]: the result of a remote call, before its value exists.

use crate::portable::Portable;
use crate::reference::RefCore;
use crate::serialize_context::{self, Context, Owner, Usage};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::type_name;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use unidist_common::{DataId, Error, Payload, Result};

/// A reference to a value that exists, or will exist, somewhere in the session.
///
/// Fetch the value with [`get`](crate::get()) or `.await`, pass the ref as an argument in place of the value, or put
/// it into other values. The object lives as long as any ref to it, in any process.
///
/// A ref can be serialised as part of an argument, a result or a [`put`](crate::put()); anywhere else that is an error,
/// because nothing would keep the object alive.
#[must_use = "a dropped ref gives its object up; the task still runs"]
pub struct ObjectRef<T> {
    pub(crate) core: RefCore,
    value: PhantomData<fn() -> T>,
}

impl<T> ObjectRef<T> {
    pub(crate) fn new(core: RefCore) -> Self {
        ObjectRef { core, value: PhantomData }
    }

    /// The id of the object; `None` if the call could not be made.
    pub fn id(&self) -> Option<DataId> {
        self.core.id()
    }
}

impl<T: Portable> ObjectRef<T> {
    pub(crate) fn decode(core: &RefCore, payload: &Payload) -> Result<T> {
        let mut context = Context::default();
        if let Ok((backend, _)) = core.held() {
            context = context.of_session(backend.clone());
        }
        if !payload.buffers.is_empty() {
            context = context.with_buffers(&Owner::Reference(core.clone()), payload);
        }
        serialize_context::decode(&payload.header, context).map_err(|error| Error::Decode {
            type_name: type_name::<T>().to_owned(),
            message: error.to_string(),
        })
    }
}

/// Whether `T` is an [`ObjectRef`]: for generic code, which does not know the type.
pub fn is_object_ref<T: 'static>(_: &T) -> bool {
    // Without specialisation, the type's name is all that tells about an unknown `T`.
    type_name::<T>().starts_with(concat!(module_path!(), "::ObjectRef<"))
}

impl<T> Clone for ObjectRef<T> {
    fn clone(&self) -> Self {
        ObjectRef::new(self.core.clone())
    }
}

impl<T> fmt::Debug for ObjectRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectRef<{}>({})", type_name::<T>(), self.core)
    }
}

impl<T> PartialEq for ObjectRef<T> {
    fn eq(&self, other: &Self) -> bool {
        self.core == other.core
    }
}

impl<T> Eq for ObjectRef<T> {}

impl<T> Hash for ObjectRef<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.core.hash(state);
    }
}

impl<T> AsRef<[ObjectRef<T>]> for ObjectRef<T> {
    fn as_ref(&self) -> &[ObjectRef<T>] {
        std::slice::from_ref(self)
    }
}

impl<T> Serialize for ObjectRef<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.core.serialize_as(Usage::Reference, serializer)
    }
}

impl<'de, T> Deserialize<'de> for ObjectRef<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RefCore::deserialize(deserializer).map(ObjectRef::new)
    }
}
