//! The encoding of values. No other module knows the format.
//!
//! Little endian, integers of fixed width. A sequence is its length as a `u64`, then its items, so a list can be
//! made from encoded items without decoding them ([`splice`]). A map is a sequence of its keys and values, a string one
//! of bytes, a structure its fields, an enum the index of its variant as a `u32` and the variant's fields; an option
//! begins with a byte that is 0 or 1.
//!
//! Since integers have a fixed width, an encoding is never shorter than the memory that it claims: every value that can
//! be encoded can be decoded, and malformed bytes need no more memory than there are bytes.
//!
//! `bincode` writes and reads this format. It believes a length in the bytes as far as a limit that is a constant of
//! the program, so [`decode()`] picks the limit by the number of bytes there are.

use bincode::config::{Configuration, Fixint, LittleEndian};
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::fmt;

const FORMAT: Configuration<LittleEndian, Fixint> = bincode::config::standard().with_fixed_int_encoding();

/// Up to this size an encoding is copied out of its thread's scratch buffer, into one exact allocation.
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
/// Its `Serialize` fails, or needs what the format lacks (a sequence of unknown length).
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, CodecError> {
    // Taken, not borrowed: the `Serialize` of a value may itself encode another value.
    let mut buffer = BUFFER.take();
    buffer.clear();
    if let Err(error) = encode_into(value, usize::MAX, &mut buffer) {
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

/// Appends the encoding of a value, of at most `limit` bytes. After an error, part of it may have been appended.
///
/// # Errors
///
/// As [`encode`], or the encoding is longer than `limit`.
pub fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let mut writer = LimitedWriter { left: limit, out };
    bincode::serde::encode_into_writer(value, &mut writer, FORMAT).map_err(|error| CodecError {
        message: match error {
            EncodeError::OtherString(message) => message,
            EncodeError::Other(TOO_LONG) => format!("its encoding has more than {limit} bytes"),
            other => other.to_string(),
        },
    })
}

/// Decodes a value, which must take all of `bytes`.
///
/// # Errors
///
/// The bytes are not the encoding of such a value. Whatever they are, this does not panic, and a false length in them
/// makes it allocate at most 2 KiB, 2 MiB or 2 GiB (the first of these that is more than they are). Only items that
/// take no bytes, such as those of a `Vec<()>`, can be as many as a false length says.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    const GIB: usize = 1 << 30;
    match bytes.len() {
        0..KIB => decode_within::<T, { 2 * KIB }>(bytes),
        KIB..MIB => decode_within::<T, { 2 * MIB }>(bytes),
        MIB..GIB => decode_within::<T, { 2 * GIB }>(bytes),
        _ => decode_within::<T, { isize::MAX as usize }>(bytes),
    }
}

/// The same, where a false length makes it allocate at most `LIMIT` bytes, and `LIMIT` must be at least the number of
/// bytes.
///
/// # Errors
///
/// As [`decode()`], or there are more than `LIMIT` bytes.
pub fn decode_within<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<T, CodecError> {
    let decoded = bincode::serde::decode_from_slice(bytes, FORMAT.with_limit::<LIMIT>());
    let (value, used) = decoded.map_err(|error| match error {
        DecodeError::OtherString(message) => CodecError { message },
        other => CodecError { message: other.to_string() },
    })?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(CodecError { message: format!("{left} bytes remain after the value") }),
    }
}

/// The encoding of the list whose items have these encodings.
pub fn splice<'a>(items: impl ExactSizeIterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let mut list = Vec::with_capacity(size_of::<u64>() + items.clone().map(<[u8]>::len).sum::<usize>());
    list.extend_from_slice(&list_head(items.len()));
    items.for_each(|item| list.extend_from_slice(item));
    list
}

/// What comes before the items in the encoding of a list of this length.
pub fn list_head(len: usize) -> [u8; 8] {
    (len as u64).to_le_bytes()
}

/// What comes before the value in the encoding of `Some`.
pub const SOME_HEAD: [u8; 1] = [1];

const TOO_LONG: &str = "too long";

/// Writes up to a limit.
struct LimitedWriter<'a> {
    left: usize,
    out: &'a mut Vec<u8>,
}

impl Writer for &mut LimitedWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(EncodeError::Other(TOO_LONG))?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serializer};
    use std::collections::{BTreeMap, HashMap};
    use std::ffi::CString;
    use std::fmt::Debug;
    use std::path::PathBuf;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Empty,
        Named { name: String, sides: Option<u8> },
        Many(Vec<Shape>, BTreeMap<String, f64>),
    }

    #[test]
    fn values_round_trip() {
        let map = BTreeMap::from([("a".to_owned(), 1.5), ("b".to_owned(), f64::INFINITY)]);
        let named = Shape::Named { name: "hexagon".into(), sides: Some(6) };
        let shape = Shape::Many(vec![Shape::Empty, named], map);
        assert_eq!(decode::<Shape>(&encode(&shape).unwrap()).unwrap(), shape);
        assert_eq!(decode::<()>(&encode(&()).unwrap()), Ok(()));
        let large = vec![7u64; 100_000];
        assert_eq!(decode::<Vec<u64>>(&encode(&large).unwrap()).unwrap(), large);
    }

    fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
        let bytes = encode(&value).unwrap();
        assert_eq!(decode::<T>(&bytes).as_ref(), Ok(&value));
        let (reference, _) = bincode::serde::decode_from_slice::<T, _>(&bytes, FORMAT).unwrap();
        assert_eq!(reference, value);
        for end in 0..bytes.len() {
            assert!(decode::<T>(&bytes[..end]).is_err(), "{end} of {} bytes for {value:?}", bytes.len());
        }
    }

    #[test]
    fn every_kind_of_value_round_trips() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Unit;
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Wrapped(i128, Unit, Box<Option<Wrapped>>);
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct New(f32);
        survives((true, false, 'a', 'ß', '€', '𝄞'));
        survives((u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, usize::MAX));
        survives((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, isize::MIN));
        survives((New(-0.5), f64::MIN_POSITIVE, ()));
        survives(Wrapped(-1, Unit, Box::new(Some(Wrapped(2, Unit, Box::new(None))))));
        survives((String::from("word ß"), Bytes::from_static(b"bytes"), CString::from(c"text")));
        survives((PathBuf::from("a/b"), Some(Some(1u8)), None::<u8>, [1u16, 2, 3]));
        survives(Ok::<Vec<Shape>, String>(vec![Shape::Empty]));
        survives(HashMap::from([("a".to_owned(), 1u64), ("b".to_owned(), 2)]));
        survives(std::time::Duration::new(3, 5));
        assert_eq!(decode::<Vec<()>>(&encode(&vec![(); 1000]).unwrap()).unwrap().len(), 1000);
    }

    #[test]
    fn wrong_length_is_an_error() {
        fn refused<T: DeserializeOwned + Debug>(before: &[u8]) {
            for length in [1, 4096, u64::from(u32::MAX) + 1, 1 << 40, 1 << 60, i64::MAX as u64, u64::MAX] {
                let bytes = [before, &length.to_le_bytes()].concat();
                assert!(decode::<T>(&bytes).is_err());
            }
        }
        refused::<String>(&[]);
        refused::<Vec<u8>>(&[]);
        refused::<Vec<u64>>(&[]);
        refused::<HashMap<String, u64>>(&[]);
        refused::<Bytes>(&[]);
        refused::<CString>(&[]);
        refused::<Box<str>>(&[]);
        refused::<Vec<Vec<String>>>(&encode(&(2u64, 0u64)).unwrap());
        refused::<Option<String>>(&[1]);
        refused::<Shape>(&encode(&1u32).unwrap());
    }

    #[test]
    fn list_is_spliced_from_its_items() {
        let items = ["a".to_owned(), String::new(), "ccc".to_owned()];
        let encoded: Vec<Bytes> = items.iter().map(|item| encode(item).unwrap()).collect();
        let list = splice(encoded.iter().map(|item| &item[..]));
        assert_eq!(list, encode(&items.to_vec()).unwrap());
        assert_eq!(splice([].into_iter()), encode(&Vec::<u8>::new()).unwrap());
    }

    #[test]
    fn value_is_the_sequence_of_its_parts() {
        let item = encode("a").unwrap();
        assert_eq!([&SOME_HEAD, &item[..]].concat(), encode(&Some("a")).unwrap());
        let lists = [&list_head(2), &list_head(0)[..], &list_head(1), &item].concat();
        assert_eq!(lists, encode(&vec![vec![], vec!["a"]]).unwrap());
        assert_eq!([&item[..], &item].concat(), encode(&("a", "a")).unwrap());
        assert_eq!([&item[..], &item].concat(), encode(&["a", "a"]).unwrap());
    }

    #[test]
    fn wrong_bytes_are_an_error() {
        let bytes = encode(&(1u32, "text")).unwrap();
        assert!(decode::<(u32, String)>(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode::<u32>(&bytes).unwrap_err().to_string().contains("remain after"));
        assert!(decode::<bool>(&[7]).is_err());
        assert!(decode::<Option<u8>>(&[2, 0]).is_err());
        assert!(decode::<char>(&[0xff; 4]).is_err() && decode::<char>(&[]).is_err());
        assert!(decode::<String>(&encode(&Bytes::from_static(&[0xff])).unwrap()).is_err());
        assert!(decode::<Shape>(&[9, 0, 0, 0]).unwrap_err().to_string().contains("variant"));
    }

    #[test]
    fn encode_nests() {
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
    fn encode_error_keeps_its_message() {
        struct Broken;
        impl Serialize for Broken {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no such thing"))
            }
        }
        assert!(encode(&Broken).unwrap_err().to_string().contains("no such thing"));
    }
}
