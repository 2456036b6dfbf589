//! [`SharedSlice`]: large arrays without copies.

use crate::object_ref::ObjectRef;
use crate::reference::RefCore;
use crate::serialize_context::{self, Usage};
use crate::session;
use bytemuck::Pod;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use unidist_common::{Error, Result};

/// A slice of plain data in the host's shared memory.
///
/// It derefs to `&[T]` and keeps the memory alive. As a parameter, a result, a field or an item of a list it is passed
/// between the processes of a host without a copy. `T` is plain old data
/// ([`bytemuck::Pod`]): numbers, arrays of them, structs made of them.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{SharedSlice, get, put_slice};
///
/// let data = put_slice(&[1.0, 2.0, 3.0])?; // one copy
/// let view: SharedSlice<f64> = get(&data)?; // none
/// assert_eq!(view[1..], [2.0, 3.0]);
///
/// let squares = SharedSlice::build(1_000, |out: &mut [u64]| {
///     out.iter_mut().zip(0..).for_each(|(item, n)| *item = n * n); // straight into shared memory
/// })?;
/// assert_eq!(squares[30], 900);
/// # Ok(())
/// # }
/// ```
pub struct SharedSlice<T> {
    /// Aligned for `T`; a whole number of items.
    bytes: Bytes,
    /// The object that this is a part of, and the index of its buffer there; `None` while it is part of no object.
    place: Option<(RefCore, u32)>,
    items: PhantomData<T>,
}

/// Copies a slice into the object store, once.
///
/// # Errors
///
/// There is no session, or the store is full.
pub fn put_slice<T: Pod + Send + Sync>(items: &[T]) -> Result<ObjectRef<SharedSlice<T>>> {
    let slice = filled("put_slice", items.len(), |out: &mut [T]| out.copy_from_slice(items))?;
    crate::put(slice)
}

impl<T: Pod + Send + Sync> SharedSlice<T> {
    /// A slice of `len` items, written by `fill` directly into shared memory: putting or returning the slice copies
    /// nothing. Items that `fill` does not write have unspecified (but valid) values.
    ///
    /// # Errors
    ///
    /// There is no session, or the store is full.
    pub fn build(len: usize, fill: impl FnOnce(&mut [T])) -> Result<Self> {
        filled("SharedSlice::build", len, fill)
    }

    /// The slice in these bytes, if they hold exactly `len` items. Bytes that are not aligned are copied.
    fn checked(bytes: Bytes, len: u64, place: Option<(RefCore, u32)>) -> Result<Self, String> {
        const { assert!(size_of::<T>() > 0, "the items of a shared slice must have a size") };
        if (bytes.len() as u64) != len.saturating_mul(size_of::<T>() as u64) {
            return Err(format!(
                "{len} items of {} bytes do not match a buffer of {} bytes",
                size_of::<T>(),
                bytes.len()
            ));
        }
        let aligned = bytes.is_empty() || bytemuck::try_cast_slice::<u8, T>(&bytes).is_ok();
        Ok(SharedSlice {
            bytes: if aligned { bytes } else { realigned::<T>(&bytes) },
            place,
            items: PhantomData,
        })
    }
}

fn filled<T: Pod + Send + Sync>(
    call: &str,
    len: usize,
    fill: impl FnOnce(&mut [T]),
) -> Result<SharedSlice<T>> {
    let backend = session::current(call)?;
    let size = len.checked_mul(size_of::<T>()).ok_or_else(|| Error::InvalidArgument {
        call: call.to_owned(),
        message: format!("{len} items of {} bytes exceed the address space", size_of::<T>()),
    })?;
    let mut buffer = backend.allocate(size)?;
    let room = buffer.get_mut(..size).unwrap_or_default();
    let cast = if size == 0 { Ok(&mut [][..]) } else { bytemuck::try_cast_slice_mut(room) };
    let items = cast.map_err(|error| Error::system("cannot create a buffer for a shared slice", error))?;
    fill(items);
    let bytes = buffer.freeze();
    SharedSlice::checked(bytes.slice(..size), len as u64, None)
        .map_err(|message| Error::system("cannot create a buffer for a shared slice", message))
}

/// A copy whose alignment is that of `T`.
fn realigned<T: Pod + Send + Sync>(bytes: &[u8]) -> Bytes {
    struct Items<T>(Vec<T>);
    impl<T: Pod> AsRef<[u8]> for Items<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    let mut items = vec![T::zeroed(); bytes.len() / size_of::<T>()];
    bytemuck::cast_slice_mut(&mut items).copy_from_slice(bytes);
    Bytes::from_owner(Items(items))
}

impl<T: Pod> Deref for SharedSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // Only an empty slice has bytes that are not those of its items.
        bytemuck::try_cast_slice(&self.bytes).unwrap_or_default()
    }
}

impl<T: Pod> AsRef<[T]> for SharedSlice<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<'a, T: Pod> IntoIterator for &'a SharedSlice<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
        SharedSlice { bytes: self.bytes.clone(), place: self.place.clone(), items: PhantomData }
    }
}

impl<T: Pod + PartialEq> PartialEq for SharedSlice<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod + Eq> Eq for SharedSlice<T> {}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let mut list = f.debug_list();
        list.entries(self.iter().take(SHOWN));
        if self.len() > SHOWN {
            list.entry(&format_args!(".. {} items of {}", self.len(), type_name::<T>()));
        }
        list.finish()
    }
}

#[derive(Serialize, Deserialize)]
enum Wire {
    /// A buffer of the object that is being encoded.
    Here { index: u32, len: u64 },
    /// A buffer of another object, whose reference is encoded beside this.
    There { index: u32, len: u64 },
}

impl<T: Pod> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let len = self.len() as u64;
        serialize_context::note_slice(&self.bytes);
        let mut pair = serializer.serialize_tuple(2)?;
        match &self.place {
            None => {
                let index = serialize_context::extract_buffer(self.bytes.clone())
                    .map_err(serde::ser::Error::custom)?;
                pair.serialize_element(&Wire::Here { index, len })?;
                pair.serialize_element(&None::<OwningObject<'_>>)?;
            }
            Some((object, index)) => {
                pair.serialize_element(&Wire::There { index: *index, len })?;
                pair.serialize_element(&Some(OwningObject(object)))?;
            }
        }
        pair.end()
    }
}

struct OwningObject<'a>(&'a RefCore);

impl Serialize for OwningObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_as(Usage::Value, serializer)
    }
}

impl<'de, T: Pod + Send + Sync> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let found = match <(Wire, Option<RefCore>)>::deserialize(deserializer)? {
            (Wire::Here { len, .. } | Wire::There { len, .. }, _) if serialize_context::is_proof() => {
                let bytes = serialize_context::next_slice_of_proof().unwrap_or_default();
                SharedSlice::checked(bytes, len, None)
            }
            (Wire::Here { index, len }, None) => serialize_context::next_buffer(index)
                .and_then(|(owner, bytes)| SharedSlice::checked(bytes, len, Some((owner, index)))),
            (Wire::There { index, len }, Some(object)) => {
                let payload = serialize_context::resolve(&object).map_err(D::Error::custom)?;
                match payload.buffers.get(index as usize) {
                    Some(bytes) => SharedSlice::checked(bytes.clone(), len, Some((object, index))),
                    None => Err(format!("object {object} has no buffer {index}")),
                }
            }
            _ => Err("its object was not sent, or another one was".to_owned()),
        };
        found.map_err(|message| {
            D::Error::custom(format_args!("a SharedSlice<{}>: {message}", type_name::<T>()))
        })
    }
}
