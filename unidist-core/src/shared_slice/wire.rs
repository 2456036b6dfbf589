//! Shared slices inside encoded values: a small one as its bytes, a large one as the place of a buffer.

use super::{SharedSlice, realigned};
use crate::args::INLINE_LIMIT;
use crate::reference::RefCore;
use crate::serialize_context::{self, Usage};
use bytemuck::Pod;
use bytes::Bytes;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

/// A slice, where `B` are bytes and `R` is a reference.
#[derive(Serialize, Deserialize)]
enum Wire<B, R> {
    /// Its bytes.
    Small(B),
    /// A buffer of the object that is being encoded.
    Here { index: u32, len: u64 },
    /// A buffer of another object.
    There { object: R, index: u32, len: u64 },
}

impl<T: Pod> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let len = self.len() as u64;
        let wire = if self.bytes.len() <= INLINE_LIMIT {
            Wire::Small(AsBytes(&self.bytes))
        } else {
            serialize_context::note_slice(&self.bytes);
            match &self.place {
                None => {
                    let index = serialize_context::extract_buffer(self.bytes.clone())
                        .map_err(serde::ser::Error::custom)?;
                    Wire::Here { index, len }
                }
                Some((object, index)) => Wire::There { object: OwningObject(object), index: *index, len },
            }
        };
        wire.serialize(serializer)
    }
}

struct AsBytes<'a>(&'a [u8]);

impl Serialize for AsBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
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
        let found = match Wire::<Aligned<T>, RefCore>::deserialize(deserializer)? {
            Wire::Small(Aligned(bytes, items)) => Ok(SharedSlice { bytes, place: None, items }),
            Wire::Here { len, .. } | Wire::There { len, .. } if serialize_context::is_proof() => {
                let bytes = serialize_context::next_slice_of_proof().unwrap_or_default();
                SharedSlice::checked(bytes, len, None)
            }
            Wire::Here { index, len } => serialize_context::next_buffer(index)
                .and_then(|(owner, bytes)| SharedSlice::checked(bytes, len, Some((owner, index)))),
            Wire::There { object, index, len } => {
                let payload = serialize_context::resolve(&object).map_err(D::Error::custom)?;
                match payload.buffers.get(index as usize) {
                    Some(bytes) => SharedSlice::checked(bytes.clone(), len, Some((object, index))),
                    None => Err(format!("object {object} has no buffer {index}")),
                }
            }
        };
        found.map_err(|message| D::Error::custom(in_slice::<T>(message)))
    }
}

fn in_slice<T>(message: impl fmt::Display) -> impl fmt::Display {
    format!("a SharedSlice<{}>: {message}", type_name::<T>())
}

/// The bytes of items of type `T`, aligned for them.
struct Aligned<T>(Bytes, PhantomData<T>);

impl<'de, T: Pod + Send + Sync> Deserialize<'de> for Aligned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BytesOf(PhantomData))
    }
}

struct BytesOf<T>(PhantomData<T>);

impl<T: Pod + Send + Sync> Visitor<'_> for BytesOf<T> {
    type Value = Aligned<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes of items of type {}", type_name::<T>())
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Aligned<T>, E> {
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            let message = format!("{} bytes are no whole number of items of {}", bytes.len(), size_of::<T>());
            return Err(E::custom(in_slice::<T>(message)));
        }
        let bytes = realigned::<T>(bytes);
        Ok(Aligned(bytes, self.0))
    }
}
