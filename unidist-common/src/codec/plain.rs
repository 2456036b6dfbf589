//! Sequences of numbers, which are in memory what they are in the encoding: they are copied as a whole.
//!
//! serde shows a sequence to a serializer item by item, and asks a deserializer for it item by item. Here both recognise
//! by its type what they are given: a `Vec` or a slice of numbers on one side, and on the other side the visitor that
//! serde itself has for such a `Vec`. So it does not matter where in a value the sequence is, and all others, such as
//! those that a type writes or reads by code of its own, take the way item by item. The bytes are the same.

#![allow(unsafe_code)] // a type that is known only by its identity is used as that type

use super::form::Kind;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::any::TypeId;
use std::fmt;
use std::mem::{ManuallyDrop, transmute_copy};

/// The items of a sequence of numbers.
pub(super) struct Items<'a> {
    pub(super) kind: Kind,
    pub(super) len: usize,
    pub(super) bytes: &'a [u8],
}

/// How a value is read that is a sequence of numbers.
pub(super) struct Reader<T> {
    /// The number of bytes of an item.
    pub(super) width: usize,
    /// Makes the value from the bytes of its items, or returns a byte that is no item.
    pub(super) read: fn(&[u8]) -> Result<T, u8>,
}

/// Calls a macro with each type that is in memory as it is in the encoding, and with what it is encoded as.
macro_rules! for_numbers {
    ($each:ident) => {
        #[cfg(target_endian = "little")]
        {
            $each!(u8 U8, u16 U16, u32 U32, u64 U64, u128 U128);
            $each!(i8 I8, i16 I16, i32 I32, i64 I64, i128 I128);
            $each!(f32 F32, f64 F64);
            #[cfg(target_pointer_width = "64")]
            $each!(usize U64, isize I64);
        }
    };
}

/// The items of a sequence if it is a `&Vec` or a `&[_]` of numbers.
#[inline]
pub(super) fn items<I>(sequence: &I) -> Option<Items<'_>> {
    let id = typeid::of::<I>();
    macro_rules! numbers {
        ($($number:ident $kind:ident),*) => {
            $(
                if id == TypeId::of::<&'static Vec<$number>>() {
                    // SAFETY: `I` is a reference to such a `Vec`, which is valid as long as `sequence`.
                    let items: &[$number] = unsafe { *std::ptr::from_ref(sequence).cast::<&Vec<$number>>() };
                    return Some(Items { kind: Kind::$kind, len: items.len(), bytes: bytemuck::cast_slice(items) });
                }
                if id == TypeId::of::<&'static [$number]>() {
                    // SAFETY: `I` is a reference to such a slice, which is valid as long as `sequence`.
                    let items: &[$number] = unsafe { *std::ptr::from_ref(sequence).cast::<&[$number]>() };
                    return Some(Items { kind: Kind::$kind, len: items.len(), bytes: bytemuck::cast_slice(items) });
                }
            )*
        };
    }
    for_numbers!(numbers);
    numbers!(bool Bool); // a byte that is 0 or 1
    None
}

/// How the value of this visitor is read, if it is the one that serde has for a `Vec` of numbers.
#[inline]
pub(super) fn reader<'de, V: Visitor<'de>>() -> Option<Reader<V::Value>> {
    let (visitor, value) = (typeid::of::<V>(), typeid::of::<V::Value>());
    macro_rules! numbers {
        ($($number:ident $kind:ident),*) => {
            $(
                if value == TypeId::of::<Vec<$number>>() && visitor_of::<Vec<$number>>() == Some(visitor) {
                    let read = |bytes: &[u8]| {
                        // SAFETY: `V::Value` is this `Vec`.
                        Ok(unsafe { as_same::<Vec<$number>, V::Value>(copied(bytes)) })
                    };
                    return Some(Reader { width: size_of::<$number>(), read });
                }
            )*
        };
    }
    for_numbers!(numbers);
    if value == TypeId::of::<Vec<bool>>() && visitor_of::<Vec<bool>>() == Some(visitor) {
        let read = |bytes: &[u8]| {
            if let Some(byte) = bytes.iter().find(|byte| **byte > 1) {
                return Err(*byte);
            }
            let items = bytes.iter().map(|byte| *byte == 1).collect();
            // SAFETY: `V::Value` is this `Vec`.
            Ok(unsafe { as_same::<Vec<bool>, V::Value>(items) })
        };
        return Some(Reader { width: 1, read });
    }
    None
}

/// A `Vec` of the items that consist of these bytes, in the byte order of this machine. Bytes after the last whole item
/// are left out. The bytes need not be aligned.
pub fn copied<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
    let len = bytes.len().checked_div(size_of::<T>()).unwrap_or(0);
    let mut items = Vec::<T>::with_capacity(len);
    // SAFETY: there is room for `len` items, there are as many bytes as these take, and a new allocation overlaps with
    // nothing. Any bytes are items: `T` is `Pod`.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), items.as_mut_ptr().cast::<u8>(), len * size_of::<T>());
        items.set_len(len);
    }
    items
}

/// The same value.
///
/// # Safety
///
/// `A` and `B` are the same type.
#[inline]
unsafe fn as_same<A, B>(value: A) -> B {
    let value = ManuallyDrop::new(value);
    // SAFETY: it is a `B`, and is not used or dropped as an `A` any more.
    unsafe { transmute_copy::<A, B>(&value) }
}

/// The identity of the visitor with which a type is read as a sequence.
#[inline]
fn visitor_of<'de, T: Deserialize<'de>>() -> Option<TypeId> {
    match T::deserialize(Probe) {
        Err(Seen(visitor)) => visitor,
        Ok(_) => None,
    }
}

/// A deserializer that tells which visitor reads a sequence.
struct Probe;

#[derive(Debug)]
struct Seen(Option<TypeId>);

impl<'de> Deserializer<'de> for Probe {
    type Error = Seen;

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen(Some(typeid::of::<V>())))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen(None))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this deserializer has no value")
    }
}

impl std::error::Error for Seen {}

impl de::Error for Seen {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Seen(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of<I>(sequence: I) -> Option<(Kind, usize)> {
        items(&sequence).map(|items| (items.kind, items.bytes.len()))
    }

    #[test]
    fn sequences_of_numbers_are_known_by_their_type() {
        assert_eq!(kind_of(&vec![1.0f32, 2.0]), Some((Kind::F32, 8)));
        assert_eq!(kind_of(&[1usize, 2, 3][..]), Some((Kind::U64, 24)));
        assert_eq!(kind_of(&vec![true]), Some((Kind::Bool, 1)));
        assert_eq!(kind_of(&Vec::<i128>::new()), Some((Kind::I128, 0)));
        assert_eq!(kind_of(&vec!['x']), None);
        assert_eq!(kind_of(&vec![(1u8, 2u8)]), None);
        assert_eq!(kind_of(&std::collections::VecDeque::from([1u8])), None);
        assert_eq!(kind_of([1u8].iter()), None);
    }

    #[test]
    fn visitors_of_vectors_of_numbers_are_known() {
        struct Through;
        impl<'de> Deserializer<'de> for Through {
            type Error = Seen;
            fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
                let reader = reader::<V>().ok_or(Seen(None))?;
                assert_eq!(reader.width, 4);
                (reader.read)(&[1, 0, 0, 0, 2, 0, 0, 0]).map_err(|_| Seen(None))
            }
            fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
                Err(Seen(None))
            }
            forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
                unit_struct newtype_struct tuple tuple_struct map struct enum identifier ignored_any
            }
        }
        assert_eq!(Vec::<u32>::deserialize(Through).unwrap(), [1, 2]);
        assert_eq!(Box::<[i32]>::deserialize(Through).unwrap()[..], [1, 2]);
        assert!(Vec::<char>::deserialize(Through).is_err());
        assert!(Vec::<(u32, u32)>::deserialize(Through).is_err());
        assert!(std::collections::VecDeque::<u32>::deserialize(Through).is_err());
    }

    #[test]
    fn copies_need_no_alignment() {
        let bytes: Vec<u8> = (0..=24).collect();
        assert_eq!(copied::<u64>(&bytes[1..]).len(), 3);
        assert_eq!(copied::<[u8; 5]>(&bytes[1..13]), [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]);
        assert_eq!(copied::<u32>(&[]), []);
        assert_eq!(copied::<()>(&bytes), []);
    }
}
