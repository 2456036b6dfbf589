//! The encoding of values. No other module knows the format.
//!
//! Little endian, integers of fixed width. A sequence is its length as a `u64`, then its items, so a list can be
//! made from encoded items without decoding them ([`splice`]). A map is a sequence of its keys and values, a string one
//! of bytes, a structure its fields, an enum the index of its variant as a `u32` and the variant's fields; an option
//! begins with a byte that is 0 or 1, a character is its UTF-8. Nothing is aligned, and nothing lies between the parts.
//!
//! A text, bytes or numbers of [`LARGE`] bytes or more may be held beside the encoding ([`encode_proven`], [`decode_with`]):
//! the highest bit of the length is set, and the part's index follows as a `u32`. The part consists of the bytes that
//! would follow the length otherwise, little endian as well, and is aligned as its memory is.
//!
//! On a machine whose numbers are little endian, a `Vec` or a slice of numbers is in memory what it is in the encoding, so
//! it is written and read by one copy, wherever it is in the value; elsewhere it is written item by item, as the same bytes.
//!
//! Since integers have a fixed width, an encoding is never shorter than the memory that it claims: every value that can
//! be encoded can be decoded, and malformed bytes need no more memory than there are bytes.
//!
//! The bytes do not say what they are, so both sides of a type must agree. Where they do not, a value would be read as
//! another one; so values of the program's users are encoded by [`encode_proven`] and [`encode_recorded`].
//!
//! - `encoder` and `decoder` write and read the format; `plain` knows the sequences of numbers, `large` the parts that
//!   are held beside an encoding.
//! - `record` is the structure of a value, seen while it is encoded; `proof` compares it with the steps of decoding.
//! - `proven` is what needs no proof any more.

mod decoder;
mod encoder;
mod error;
mod form;
mod large;
mod plain;
mod proof;
mod proven;
mod record;

pub use error::CodecError;
pub use large::{Held, Hold, LARGE};
pub use plain::copied;
pub use record::Record;

use bytes::Bytes;
use decoder::Decoder;
use encoder::Encoder;
use proof::Comparison;
use proven::Key;
use record::{Novelty, Watch};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// Up to this size an encoding is copied out of its thread's scratch buffer, into one exact allocation.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Encodes a value.
///
/// # Errors
///
/// Its `Serialize` fails, needs what the format lacks (a sequence of unknown length, a field that is left out), or
/// announces another number of parts than it has.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, CodecError> {
    encode_watched(value, &mut (), None)
}

/// [`encode`], but large parts of the value may be held beside its encoding.
///
/// # Errors
///
/// As [`encode`], or that of `hold`.
pub fn encode_holding<T: Serialize + ?Sized>(value: &T, hold: Hold<'_>) -> Result<Bytes, CodecError> {
    encode_watched(value, &mut (), Some(hold))
}

/// Encodes a value of a type that is proven to decode as it was encoded. `None` if the type, or a part of the value, is
/// not: then it is for [`encode_recorded`], and the parts that are held are not needed. Without `hold`, all is in the
/// encoding.
///
/// # Errors
///
/// As [`encode`], or that of `hold`.
#[inline]
pub fn encode_proven<T: Serialize + 'static>(
    value: &T,
    hold: Option<Hold<'_>>,
) -> Result<Option<Bytes>, CodecError> {
    if !Key::of_type::<T>().is_proven() {
        return Ok(None);
    }
    let mut novelty = Novelty::default();
    let bytes = encode_watched(value, &mut novelty, hold)?;
    Ok((!novelty.is_new).then_some(bytes))
}

/// Encodes a value with a record of its structure, for [`Record::prove`]. All of it is in the encoding.
///
/// # Errors
///
/// As [`encode`].
pub fn encode_recorded<T: Serialize>(value: &T) -> Result<(Bytes, Record), CodecError> {
    let mut record = Record::default();
    let bytes = encode_watched(value, &mut record, None)?;
    Ok((bytes, record))
}

impl Record {
    /// Decodes the value that was recorded, and compares each step with the record. From then on the type, and all that
    /// is in the value, counts as proven in this process. Of long lists and texts it reads only a part.
    ///
    /// An error of the type's own (`Error::custom`) is left to the receiver: it is about this one value.
    ///
    /// # Errors
    ///
    /// The value would be decoded as another one, or cannot be decoded.
    pub fn prove<T: Deserialize<'static> + 'static>(&self, bytes: &[u8]) -> Result<(), CodecError> {
        let mut decoder = Decoder::new(bytes, Comparison::new(self, bytes));
        let decoded = T::deserialize(&mut decoder).and_then(|_| decoder.end());
        if let Err(error) = decoded
            && decoder.inspect.refutes(&error)
        {
            return Err(error);
        }
        Key::of_type::<T>().set_proven();
        self.new.iter().for_each(|key| key.set_proven());
        Ok(())
    }
}

#[inline]
fn encode_watched<T: Serialize + ?Sized>(
    value: &T,
    watch: &mut impl Watch,
    hold: Option<Hold<'_>>,
) -> Result<Bytes, CodecError> {
    // Taken, not borrowed: the `Serialize` of a value may itself encode another value.
    let mut buffer = BUFFER.take();
    buffer.clear();
    if let Err(error) = Encoder::new(&mut buffer, usize::MAX, watch).holding(hold).value(value) {
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
    Encoder::new(out, limit, &mut ()).value(value)
}

/// Decodes a value, which must take all of `bytes`.
///
/// # Errors
///
/// The bytes are not the encoding of such a value. Whatever they are, this does not panic, and a false length in them
/// makes it allocate no more than they take, or the mebibyte that serde allocates before the first item of a list. Only
/// items that take no bytes, such as those of a `Vec<()>`, can be as many as a false length says.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_all(Decoder::new(bytes, ()))
}

/// [`decode`] of a value of which large parts are held beside its encoding.
///
/// # Errors
///
/// As [`decode`], or a part is missing or has another length.
pub fn decode_with<'a, T: DeserializeOwned>(bytes: &'a [u8], held: Held<'a>) -> Result<T, CodecError> {
    decode_all(Decoder::new(bytes, ()).with_held(held))
}

fn decode_all<T: DeserializeOwned>(mut decoder: Decoder<'_, ()>) -> Result<T, CodecError> {
    let value = T::deserialize(&mut decoder)?;
    decoder.end()?;
    Ok(value)
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

#[cfg(test)]
mod large_tests;
#[cfg(test)]
mod proof_tests;
#[cfg(test)]
mod tests;
