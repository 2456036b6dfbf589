//! How messages become bytes: the only place of the engine that names the codec.

use bincode::config;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// No message is longer than this: a larger length in a frame is nonsense. Objects of any size go through the store.
pub(crate) const MESSAGE_LIMIT: usize = 1 << 30;
const LENGTH_BYTES: usize = 4;

fn codec() -> impl config::Config {
    config::standard().with_limit::<MESSAGE_LIMIT>()
}

/// A message that cannot be sent or understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireError(pub(crate) String);

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Appends a frame with this message: its length in four bytes (little endian), then its encoding. On an error nothing
/// is appended.
pub(crate) fn append<M: Serialize>(message: &M, out: &mut Vec<u8>) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let result = bincode::serde::encode_into_std_write(message, out, codec())
        .map_err(|error| error.to_string())
        .and_then(|len| match u32::try_from(len) {
            Ok(length) if len <= MESSAGE_LIMIT => Ok(length),
            _ => Err(format!("{len} bytes are more than a message may have")),
        });
    match result {
        Ok(length) => {
            out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
            Ok(())
        }
        Err(message) => {
            out.truncate(start);
            Err(WireError(format!("cannot encode a message: {message}")))
        }
    }
}

/// Splits the first whole frame off `bytes`: its body and the length of frame and length together. `None` if there is
/// none yet.
pub(crate) fn split(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, WireError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MESSAGE_LIMIT {
        return Err(WireError(format!("a message claims to have {length} bytes")));
    }
    Ok(rest.get(..length).map(|body| (body, LENGTH_BYTES + length)))
}

/// The message in the body of a frame. All of the body must be used.
pub(crate) fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, WireError> {
    match bincode::serde::decode_from_slice(body, codec()) {
        Ok((message, used)) if used == body.len() => Ok(message),
        Ok((_, used)) => Err(WireError(format!("a message of {} bytes ends after {used}", body.len()))),
        Err(error) => Err(WireError(format!("cannot decode a message of {} bytes: {error}", body.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_where_they_were_joined() {
        let mut bytes = Vec::new();
        append(&(1u8, "one".to_owned()), &mut bytes).unwrap();
        append(&(2u8, "two".to_owned()), &mut bytes).unwrap();
        let (body, used) = split(&bytes).unwrap().unwrap();
        assert_eq!(decode::<(u8, String)>(body), Ok((1, "one".into())));
        let (body, rest) = split(&bytes[used..]).unwrap().unwrap();
        assert_eq!(decode::<(u8, String)>(body), Ok((2, "two".into())));
        assert_eq!(used + rest, bytes.len());
    }

    #[test]
    fn a_half_frame_is_no_frame() {
        let mut bytes = Vec::new();
        append(&"hello".to_owned(), &mut bytes).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(split(&bytes[..end]), Ok(None));
        }
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(split(&[0xff; 8]).is_err());
        assert!(decode::<String>(&[200, 1, 2]).is_err());
        assert!(decode::<u8>(&[1, 2]).is_err());
        // a length that would need more memory than there is
        assert!(
            decode::<serde_bytes_like::Blob>(&[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])
                .is_err()
        );
    }

    mod serde_bytes_like {
        pub(super) type Blob = bytes::Bytes;
    }
}
