//! Framing of messages: the only module of the engine that names the codec.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use unidist_common::{Error, ErrorKind, TaskError, codec};

/// The longest message; a larger length in a frame is an error. Large objects go through the store.
pub(crate) const MAX_MESSAGE_LEN: usize = 1 << 30;
const LENGTH_BYTES: usize = 4;

/// A message cannot be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireError(pub(crate) String);

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl WireError {
    /// The error of a request that cannot be sent, or whose reply cannot.
    pub(crate) fn of_request(&self, call: &str) -> Error {
        let message = format!("the request is too large: {self}; request fewer or smaller objects at a time");
        Error::InvalidArgument { call: call.to_owned(), message }
    }

    /// The error of a call of which this part cannot be sent.
    pub(crate) fn of_call(&self, part: &str) -> TaskError {
        let advice = "put large values into objects of their own";
        TaskError::new(ErrorKind::Encode, format!("cannot send {part}: {self}; {advice}"))
    }
}

/// Appends a frame: the length of the encoded message in four bytes (little endian), then its encoding of at most `limit`
/// bytes. On an error nothing is appended.
pub(crate) fn append<M: Serialize>(message: &M, limit: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let limit = limit.min(MAX_MESSAGE_LEN);
    if let Err(error) = codec::encode_into(message, limit, out) {
        out.truncate(start);
        out.shrink_to(start + (1 << 20));
        return Err(WireError(error.to_string()));
    }
    let length = (out.len() - start - LENGTH_BYTES) as u32; // at most MAX_MESSAGE_LEN
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// The first frame in `bytes`: its body and its length, prefix included. `None` if it is not complete yet.
pub(crate) fn split(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, WireError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_MESSAGE_LEN {
        return Err(WireError(format!("a message claims a length of {length} bytes")));
    }
    Ok(rest.get(..length).map(|body| (body, LENGTH_BYTES + length)))
}

/// Decodes the body of a frame, which must contain nothing else. A false length in it allocates at most as much memory as a
/// body of its size class may have.
pub(crate) fn decode<M: DeserializeOwned>(body: &[u8]) -> Result<M, WireError> {
    codec::decode(body)
        .map_err(|error| WireError(format!("cannot decode a message of {} bytes: {error}", body.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::worker::FromWorker;
    use proptest::prelude::*;

    #[test]
    fn split_finds_the_appended_frames() {
        let mut bytes = Vec::new();
        append(&(1u8, "one".to_owned()), MAX_MESSAGE_LEN, &mut bytes).unwrap();
        append(&(2u8, "two".to_owned()), MAX_MESSAGE_LEN, &mut bytes).unwrap();
        let (body, used) = split(&bytes).unwrap().unwrap();
        assert_eq!(decode::<(u8, String)>(body), Ok((1, "one".into())));
        let (body, rest) = split(&bytes[used..]).unwrap().unwrap();
        assert_eq!(decode::<(u8, String)>(body), Ok((2, "two".into())));
        assert_eq!(used + rest, bytes.len());
    }

    #[test]
    fn split_waits_for_a_complete_frame() {
        let mut bytes = Vec::new();
        append(&"hello".to_owned(), MAX_MESSAGE_LEN, &mut bytes).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(split(&bytes[..end]), Ok(None));
        }
    }

    #[test]
    fn append_refuses_a_message_above_the_limit() {
        let mut bytes = vec![7];
        for limit in 0..8 + 5 {
            let error = append(&"hello".to_owned(), limit, &mut bytes).unwrap_err();
            assert!(error.0.contains(&format!("more than {limit} bytes")), "{error}");
            assert_eq!(bytes, [7]);
        }
        append(&"hello".to_owned(), 8 + 5, &mut bytes).unwrap();
        assert_eq!(split(&bytes[1..]).map(|frame| frame.map(|(body, _)| body.len())), Ok(Some(13)));
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        assert!(split(&[0xff; 8]).is_err());
        assert!(decode::<String>(&[200, 1, 2]).is_err());
        assert!(decode::<u8>(&[1, 2]).is_err());
        // a length that would need more memory than there is
        for length in [1 << 20, MAX_MESSAGE_LEN as u64, u64::MAX / 2, u64::MAX] {
            assert!(decode::<bytes::Bytes>(&length.to_le_bytes()).is_err());
        }
    }

    /// Messages of all kinds, some of them with long parts.
    fn messages() -> impl Strategy<Value = Vec<FromWorker>> {
        let kinds = prop::sample::select(crate::fuzz::from_worker());
        let long = prop::collection::vec(any::<u64>(), 0..200);
        let returned = long.prop_map(|ids| {
            let id = |n| unidist_common::DataId::new(unidist_common::ProcessId::CONTROLLER, n);
            FromWorker::Retracted(
                ids.into_iter().map(|n| unidist_common::TaskId::of_first_return(id(n))).collect(),
            )
        });
        prop::collection::vec(prop_oneof![kinds, returned], 0..20)
    }

    /// The messages that a reader finds in a stream that arrives in pieces.
    fn receive(pieces: &[&[u8]]) -> Result<Vec<FromWorker>, WireError> {
        let (mut input, mut received) = (Vec::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Some((body, used)) = split(&input)? {
                received.push(decode(body)?);
                input.drain(..used);
            }
        }
        Ok(received)
    }

    fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        at.windows(2).map(|range| &stream[range[0]..range[1]]).collect()
    }

    proptest! {
        #[test]
        fn messages_arrive_from_any_pieces_of_the_stream(messages in messages(), cuts: [prop::sample::Index; 8]) {
            let mut stream = Vec::new();
            for message in &messages {
                append(message, MAX_MESSAGE_LEN, &mut stream).unwrap();
            }
            let whole = receive(&cut(&stream, &cuts));
            prop_assert_eq!(whole.as_ref(), Ok(&messages));
            let all_but_the_last = receive(&[&stream[..stream.len().saturating_sub(1)]]).unwrap();
            prop_assert_eq!(&all_but_the_last[..], &messages[..messages.len().saturating_sub(1)]);
        }

        #[test]
        fn every_message_within_the_limit_is_decoded(messages in messages(), limit in 0..600usize) {
            for message in messages {
                let mut frame = Vec::new();
                if append(&message, limit, &mut frame).is_ok() {
                    prop_assert!(frame.len() <= LENGTH_BYTES + limit);
                    let (body, _) = split(&frame).unwrap().unwrap();
                    prop_assert_eq!(codec::decode::<FromWorker>(body), Ok(message));
                } else {
                    prop_assert!(frame.is_empty());
                    append(&message, MAX_MESSAGE_LEN, &mut frame).unwrap();
                    prop_assert!(frame.len() > LENGTH_BYTES + limit);
                }
            }
        }

        #[test]
        fn any_bytes_are_an_error_or_a_message(bytes in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..300)) {
            crate::fuzz::messages(&bytes);
            crate::fuzz::handshake(&bytes);
        }

        #[test]
        fn changed_byte_gives_an_error_or_another_message(
            which: prop::sample::Index,
            at: prop::sample::Index,
            byte: u8,
            handshake: prop::sample::Index,
        ) {
            let [_, (_, examples), (_, messages)] = crate::fuzz::targets();
            let mut stream = messages[which.index(messages.len())].clone();
            let place = 1 + at.index(stream.len() - 1);
            stream[place] = byte;
            crate::fuzz::messages(&stream);
            let mut example = examples[handshake.index(examples.len())].clone();
            let place = at.index(example.len());
            example[place] = byte;
            crate::fuzz::handshake(&example);
        }
    }
}
