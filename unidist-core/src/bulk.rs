//! `#[serde(with = "unidist::bulk")]`: a field of plain items that is sent by one copy.
//!
//! A `Vec` of numbers needs this nowhere: it is recognised wherever it is in a value. This is for other items: arrays,
//! structs of your own; and for arrays longer than serde's. The field is a `Vec<T>`, a `Box<[T]>` or a `[T; N]`, where `T`
//! is plain old data ([`bytemuck::Pod`]).
//!
//! ```
//! use unidist_core as unidist;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Cloud {
//!     name: String,
//!     #[serde(with = "unidist::bulk")]
//!     points: Vec<[f32; 3]>,
//!     #[serde(with = "unidist::bulk")]
//!     histogram: [u32; 256],
//! }
//! ```
//!
//! The items are sent as the bytes that they are in memory. All processes of a session run the same executable, so these
//! are the same items there; in a file, another machine may read them as others.

use bytemuck::Pod;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::Serializer;
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use unidist_common::codec;

/// What can be a field with this attribute.
pub trait Bulk: Sized {
    /// The type of its items.
    #[doc(hidden)]
    type Item: Pod;
    #[doc(hidden)]
    fn __items(&self) -> &[Self::Item];
    /// `None` if there must be another number of items.
    #[doc(hidden)]
    fn __from_items(items: Vec<Self::Item>) -> Option<Self>;
}

impl<T: Pod> Bulk for Vec<T> {
    type Item = T;

    fn __items(&self) -> &[T] {
        self
    }

    fn __from_items(items: Vec<T>) -> Option<Self> {
        Some(items)
    }
}

impl<T: Pod> Bulk for Box<[T]> {
    type Item = T;

    fn __items(&self) -> &[T] {
        self
    }

    fn __from_items(items: Vec<T>) -> Option<Self> {
        Some(items.into())
    }
}

impl<T: Pod, const N: usize> Bulk for [T; N] {
    type Item = T;

    fn __items(&self) -> &[T] {
        self
    }

    fn __from_items(items: Vec<T>) -> Option<Self> {
        items.try_into().ok()
    }
}

/// Writes the field.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<B: Bulk, S: Serializer>(field: &B, serializer: S) -> Result<S::Ok, S::Error> {
    const { assert!(size_of::<B::Item>() > 0, "the items of a bulk field must have a size") };
    serializer.serialize_bytes(bytemuck::cast_slice(field.__items()))
}

/// Reads the field.
///
/// # Errors
///
/// Those of the deserializer; or the bytes are no whole number of items, or not as many as the array has.
pub fn deserialize<'de, B: Bulk, D: Deserializer<'de>>(deserializer: D) -> Result<B, D::Error> {
    const { assert!(size_of::<B::Item>() > 0, "the items of a bulk field must have a size") };
    deserializer.deserialize_bytes(BytesOf(PhantomData))
}

struct BytesOf<B>(PhantomData<B>);

impl<'de, B: Bulk> Visitor<'de> for BytesOf<B> {
    type Value = B;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes of `{}`", type_name::<B>())
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<B, E> {
        let is_whole = bytes.len().is_multiple_of(size_of::<B::Item>());
        let field = if is_whole { B::__from_items(codec::copied(bytes)) } else { None };
        field.ok_or_else(|| {
            E::custom(format_args!("{} bytes do not make a `{}`", bytes.len(), type_name::<B>()))
        })
    }

    /// From formats that have no bytes, such as JSON.
    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<B, A::Error> {
        let mut collected = Vec::new();
        while let Some(byte) = bytes.next_element()? {
            collected.push(byte);
        }
        self.visit_bytes(&collected)
    }
}
