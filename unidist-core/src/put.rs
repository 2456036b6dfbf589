//! [`put`]: from values to refs.

use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::reference::RefCore;
use crate::serialize_context::{self, Role};
use crate::session;
use unidist_common::Result;

/// Stores a value, which is immutable from then on, and returns a ref to it.
///
/// # Errors
///
/// There is no session, the value cannot be encoded, or the object store is full.
pub fn put<T: Portable>(value: T) -> Result<ObjectRef<T>> {
    put_ref(&value)
}

/// [`put`] of a value that the caller keeps.
///
/// # Errors
///
/// As for [`put`].
pub fn put_ref<T: Portable>(value: &T) -> Result<ObjectRef<T>> {
    let backend = session::current("put")?;
    let encoded = serialize_context::encode(value, Role::Object)?;
    let id = backend.put(encoded.object())?;
    Ok(ObjectRef::new(RefCore::adopt(backend, id)))
}
