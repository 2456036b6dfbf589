//! [`SharedSlice`]: large arrays without copies.

mod wire;

use crate::args::INLINE_LIMIT;
use crate::object_ref::ObjectRef;
use crate::reference::RefCore;
use crate::session;
use bytemuck::Pod;
use bytes::Bytes;
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use unidist_common::{Error, Result, codec};

/// A slice of plain data in the host's shared memory.
///
/// It derefs to `&[T]` and keeps the memory alive. As a parameter, a result, a field or an item of a list it is passed
/// between the processes of a host without a copy. `T` is plain old data
/// ([`bytemuck::Pod`]): numbers, arrays of them, structs made of them.
///
/// A slice of at most 32 KiB takes no shared memory: it is a part of the value that it is in, so that making, sending
/// and reading it costs what it costs for a `Vec`.
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
    /// A slice of `len` items, written by `fill` directly into shared memory if it is large: putting or returning the
    /// slice then copies nothing. Items that `fill` does not write have unspecified (but valid) values.
    ///
    /// # Errors
    ///
    /// There is no session, or the store is full.
    pub fn build(len: usize, fill: impl FnOnce(&mut [T])) -> Result<Self> {
        filled("SharedSlice::build", len, fill)
    }

    /// The slice in these bytes, if they hold exactly `len` items. Bytes that are not aligned are copied.
    fn checked(bytes: Bytes, len: u64, place: Option<(RefCore, u32)>) -> Result<Self, String> {
        const { assert_has_size::<T>() };
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
    if size <= INLINE_LIMIT {
        let mut items = vec![T::zeroed(); len];
        fill(&mut items);
        return Ok(SharedSlice { bytes: own(items), place: None, items: PhantomData });
    }
    let mut buffer = backend.allocate(size)?;
    let room = buffer.get_mut(..size).unwrap_or_default();
    let items = bytemuck::try_cast_slice_mut(room)
        .map_err(|error| Error::system("cannot create a buffer for a shared slice", error))?;
    fill(items);
    let bytes = buffer.freeze();
    SharedSlice::checked(bytes.slice(..size), len as u64, None)
        .map_err(|message| Error::system("cannot create a buffer for a shared slice", message))
}

const fn assert_has_size<T>() {
    assert!(size_of::<T>() > 0, "the items of a shared slice must have a size");
}

/// A copy whose alignment is that of `T`.
fn realigned<T: Pod + Send + Sync>(bytes: &[u8]) -> Bytes {
    own(codec::copied::<T>(bytes))
}

/// The bytes of these items.
fn own<T: Pod + Send + Sync>(items: Vec<T>) -> Bytes {
    const { assert_has_size::<T>() };
    struct Items<T>(Vec<T>);
    impl<T: Pod> AsRef<[u8]> for Items<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
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
