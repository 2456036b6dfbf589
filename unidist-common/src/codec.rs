//! The encoding of values: the one module that knows the format.
//!
//! Little endian, integers of fixed width. A sequence is its length as a `u64`, then its items, so a list can be
//! made from encoded items without decoding them ([`splice`]).

use bincode::config::{Configuration, Fixint, LittleEndian};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::fmt;

const FORMAT: Configuration<LittleEndian, Fixint> = bincode::config::standard().with_fixed_int_encoding();

/// Up to this size an encoding is copied out of the scratch buffer of its thread: one exact allocation.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Why a value could not be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError {
    message: String,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CodecError {}

/// Encodes a value.
///
/// # Errors
///
/// Its `Serialize` says so, or the format lacks what it needs (a sequence of unknown length).
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, CodecError> {
    // Taken, not borrowed: the `Serialize` of a value may itself encode something.
    let mut writer = Writer(BUFFER.take());
    writer.0.clear();
    let encoded =
        bincode::serde::encode_into_writer(value, &mut writer, FORMAT).map_err(|error| match error {
            bincode::error::EncodeError::OtherString(message) => CodecError { message },
            other => CodecError { message: other.to_string() },
        });
    let buffer = writer.0;
    if let Err(error) = encoded {
        BUFFER.set(buffer);
        return Err(error);
    }
    if buffer.len() > SCRATCH {
        return Ok(Bytes::from_owner(buffer)); // `from` would cut it to its length, and so might copy it
    }
    let bytes = Bytes::copy_from_slice(&buffer);
    BUFFER.set(buffer);
    Ok(bytes)
}

/// Decodes a value, which must take all of `bytes`.
///
/// # Errors
///
/// The bytes are not the encoding of such a value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, FORMAT).map_err(|error| match error {
        bincode::error::DecodeError::OtherString(message) => CodecError { message },
        other => CodecError { message: other.to_string() },
    })?;
    if read == bytes.len() {
        Ok(value)
    } else {
        Err(CodecError { message: format!("{} bytes are left over", bytes.len() - read) })
    }
}

/// The encoding of the list whose items have these encodings.
pub fn splice<'a>(items: impl ExactSizeIterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let mut list = Vec::with_capacity(size_of::<u64>() + items.clone().map(<[u8]>::len).sum::<usize>());
    list.extend_from_slice(&(items.len() as u64).to_le_bytes());
    items.for_each(|item| list.extend_from_slice(item));
    list
}

struct Writer(Vec<u8>);

impl bincode::enc::write::Writer for &mut Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serializer};
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Empty,
        Named { name: String, sides: Option<u8> },
        Many(Vec<Shape>, BTreeMap<String, f64>),
    }

    #[test]
    fn values_survive() {
        let map = BTreeMap::from([("a".to_owned(), 1.5), ("b".to_owned(), f64::INFINITY)]);
        let named = Shape::Named { name: "hexagon".into(), sides: Some(6) };
        let shape = Shape::Many(vec![Shape::Empty, named], map);
        assert_eq!(decode::<Shape>(&encode(&shape).unwrap()).unwrap(), shape);
        assert_eq!(decode::<()>(&encode(&()).unwrap()), Ok(()));
        let large = vec![7u64; 100_000];
        assert_eq!(decode::<Vec<u64>>(&encode(&large).unwrap()).unwrap(), large);
    }

    #[test]
    fn a_list_is_spliced_from_its_items() {
        let items = ["a".to_owned(), String::new(), "ccc".to_owned()];
        let encoded: Vec<Bytes> = items.iter().map(|item| encode(item).unwrap()).collect();
        let list = splice(encoded.iter().map(|item| &item[..]));
        assert_eq!(list, encode(&items.to_vec()).unwrap());
        assert_eq!(splice([].into_iter()), encode(&Vec::<u8>::new()).unwrap());
    }

    #[test]
    fn wrong_bytes_are_an_error() {
        let bytes = encode(&(1u32, "text")).unwrap();
        assert!(decode::<(u32, String)>(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode::<u32>(&bytes).unwrap_err().to_string().contains("left over"));
        assert!(decode::<bool>(&[7]).is_err());
    }

    #[test]
    fn a_value_may_encode_another_while_it_is_encoded() {
        struct Outer;
        impl Serialize for Outer {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let inner = encode(&[1u8, 2]).map_err(serde::ser::Error::custom)?;
                (5u16, inner).serialize(serializer)
            }
        }
        let (number, inner): (u16, Bytes) = decode(&encode(&Outer).unwrap()).unwrap();
        assert_eq!((number, decode::<[u8; 2]>(&inner).unwrap()), (5, [1, 2]));
    }

    #[test]
    fn a_failed_encoding_says_why() {
        struct Broken;
        impl Serialize for Broken {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no such thing"))
            }
        }
        assert!(encode(&Broken).unwrap_err().to_string().contains("no such thing"));
    }
}
