//! [`Dep`]: a field that is sent as a ref and arrives as the value.

use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::reference::RefCore;
use crate::serialize_context::{self, Usage};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;
use unidist_common::Result;

/// A part of an argument that is sent as a ref and arrives as its value.
///
/// A parameter of type `T` accepts a ref to a `T` by itself. Where the `T` is a field of a struct or the item of a
/// tuple, this type does the same: the call waits for the object and receives its value.
///
/// ```
/// use unidist_core::{Dep, ObjectRef};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Job {
///     data: Dep<Vec<f64>>,
///     repeat: u32,
/// }
///
/// fn job(data: &ObjectRef<Vec<f64>>) -> Job {
///     Job { data: data.into(), repeat: 3 }
/// }
/// fn run(job: Job) -> f64 {
///     job.data.iter().sum::<f64>() * f64::from(job.repeat)
/// }
/// ```
pub struct Dep<T> {
    core: RefCore,
    value: OnceLock<T>,
}

impl<T: Portable> Dep<T> {
    /// The value. If it was not sent with the call (in particular, in the process that made the `Dep`), it is fetched
    /// once and kept.
    ///
    /// # Errors
    ///
    /// Those of [`get`](crate::get()).
    pub fn value(&self) -> Result<&T> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = crate::get(&self.object_ref())?;
        Ok(self.value.get_or_init(|| value))
    }

    /// The ref.
    pub fn object_ref(&self) -> ObjectRef<T> {
        ObjectRef::new(self.core.clone())
    }
}

impl<T: Portable> Deref for Dep<T> {
    type Target = T;

    /// The value.
    ///
    /// # Panics
    ///
    /// If the value must be fetched and that fails: use [`Dep::value`] to handle this. A `Dep` that arrived as part of
    /// an argument already has its value.
    fn deref(&self) -> &T {
        match self.value() {
            Ok(value) => value,
            Err(error) => panic!("the value of {self:?} cannot be fetched: {error}"),
        }
    }
}

impl<T> From<ObjectRef<T>> for Dep<T> {
    fn from(reference: ObjectRef<T>) -> Self {
        Dep { core: reference.core, value: OnceLock::new() }
    }
}

impl<T> From<&ObjectRef<T>> for Dep<T> {
    fn from(reference: &ObjectRef<T>) -> Self {
        reference.clone().into()
    }
}

impl<T> fmt::Debug for Dep<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dep<{}>({})", std::any::type_name::<T>(), self.core)
    }
}

impl<T> Serialize for Dep<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.core.serialize_as(Usage::Value, serializer)
    }
}

impl<'de, T: Portable> Deserialize<'de> for Dep<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let core = RefCore::deserialize(deserializer)?;
        let value = match core.held() {
            Ok(_) => {
                let payload = serialize_context::resolve(&core).map_err(serde::de::Error::custom)?;
                let context = serialize_context::context_of(&core, &payload);
                OnceLock::from(
                    serialize_context::decode::<T>(&payload.header, context)
                        .map_err(serde::de::Error::custom)?,
                )
            }
            Err(_) => OnceLock::new(),
        };
        Ok(Dep { core, value })
    }
}
