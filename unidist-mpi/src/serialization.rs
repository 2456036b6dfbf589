//! The frame between hosts: what is sent as one message of MPI's.
//!
//! A body and then, in the last [`FRAME`] bytes, what it is: two bytes that are always the same, the version, the
//! operation, four zeros, the length of the body. At the end, so that a message becomes a frame, and a frame a message,
//! without being copied. All numbers are little endian.

use std::fmt;
use unidist_engine::network::Transfer;

/// How many bytes a frame has more than its body.
pub(crate) const FRAME: usize = 16;
const MAGIC: [u8; 2] = *b"ud";
/// Changes with everything that is said here or above.
pub(crate) const VERSION: u8 = 2;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum MessageKind {
    /// Something for the engine.
    Message = 1,
    /// The receiver of a transfer is ready: the body is a [`SharedDataRequest`].
    RequestSharedData = 2,
    /// Nothing but that the sender is alive.
    Heartbeat = 3,
    /// The session ends: say when nothing more will be sent.
    Cancel = 4,
    /// Nothing more will be sent.
    ReadyToShutdown = 5,
    /// All are ready: MPI is to be finalised.
    Shutdown = 6,
    /// All are ready that are left: MPI would wait for the others, and is to be left alone.
    ShutdownWithoutFinalize = 7,
}

impl MessageKind {
    const ALL: [MessageKind; 7] = [
        MessageKind::Message,
        MessageKind::RequestSharedData,
        MessageKind::Heartbeat,
        MessageKind::Cancel,
        MessageKind::ReadyToShutdown,
        MessageKind::Shutdown,
        MessageKind::ShutdownWithoutFinalize,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        MessageKind::ALL.into_iter().find(|operation| *operation as u8 == byte)
    }
}

/// What is wrong with something that another host has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it sent something that cannot be understood: {}", self.0)
    }
}

/// Makes a frame of a body.
pub(crate) fn frame(operation: MessageKind, mut body: Vec<u8>) -> Vec<u8> {
    let len = body.len() as u64;
    body.reserve_exact(FRAME);
    body.extend_from_slice(&MAGIC);
    body.extend_from_slice(&[VERSION, operation as u8, 0, 0, 0, 0]);
    body.extend_from_slice(&len.to_le_bytes());
    body
}

/// The body of a frame, and what it is.
pub(crate) fn open(mut frame: Vec<u8>) -> Result<(MessageKind, Vec<u8>), Malformed> {
    let wrong = |what: &str| Malformed(what.to_owned());
    let body = frame.len().checked_sub(FRAME).ok_or_else(|| wrong("a message without a frame"))?;
    let end: [u8; FRAME] = frame[body..].try_into().map_err(|_| wrong("a message without a frame"))?;
    let [magic_0, magic_1, version, operation, zeros @ .., _, _, _, _, _, _, _, _] = end;
    if [magic_0, magic_1] != MAGIC || zeros != [0; 4] {
        return Err(wrong("a message without a frame"));
    }
    if version != VERSION {
        return Err(Malformed(format!("a message of version {version}, not {VERSION}")));
    }
    let operation = MessageKind::from_byte(operation)
        .ok_or_else(|| Malformed(format!("an operation of number {operation}")))?;
    if number(&end[8..]) != Some(body as u64) {
        return Err(wrong("a message of another length than it says"));
    }
    frame.truncate(body);
    Ok((operation, frame))
}

/// What the receiver of a transfer tells its sender: into which pieces of memory it goes, with which tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedDataRequest {
    pub(crate) transfer: Transfer,
    /// The tag of all pieces, which come in order.
    pub(crate) tag: u16,
    /// The lengths of the pieces, none of which is 0 or longer than [`PIECE`](crate::shared_store::PIECE).
    pub(crate) pieces: Vec<u32>,
}

impl SharedDataRequest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(16 + 4 * self.pieces.len() + FRAME);
        body.extend_from_slice(&self.transfer.0.to_le_bytes());
        body.extend_from_slice(&u64::from(self.tag).to_le_bytes());
        self.pieces.iter().for_each(|len| body.extend_from_slice(&len.to_le_bytes()));
        body
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let wrong = || Malformed("a request for data that is none".to_owned());
        let (start, lengths) = body.split_at_checked(16).ok_or_else(wrong)?;
        let (numbers, rest) = lengths.as_chunks::<4>();
        let tag = number(&start[8..]).and_then(|tag| u16::try_from(tag).ok());
        if !rest.is_empty() {
            return Err(wrong());
        }
        Ok(SharedDataRequest {
            transfer: Transfer(number(&start[..8]).ok_or_else(wrong)?),
            tag: tag.ok_or_else(wrong)?,
            pieces: numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
        })
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_framed_is_opened(body: Vec<u8>, operation in 0..MessageKind::ALL.len()) {
            let operation = MessageKind::ALL[operation];
            prop_assert_eq!(open(frame(operation, body.clone())), Ok((operation, body)));
        }

        #[test]
        fn anything_else_is_refused(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = open(bytes.clone());
            let _ = SharedDataRequest::decode(&bytes);
            let mut damaged = frame(MessageKind::Message, bytes.clone());
            let at = bytes.len() + at.index(FRAME);
            if damaged[at] != byte {
                damaged[at] = byte;
                prop_assert!(open(damaged).is_err() || at == bytes.len() + 3);
            }
        }

        #[test]
        fn requests_come_back(transfer: u64, tag: u16, pieces: Vec<u32>) {
            let request = SharedDataRequest { transfer: Transfer(transfer), tag, pieces };
            let body = request.encode();
            prop_assert_eq!(SharedDataRequest::decode(&body), Ok(request));
            prop_assert!(SharedDataRequest::decode(&body[..body.len() - 1]).is_err());
        }
    }

    #[test]
    fn another_version_says_so() {
        let mut frame = frame(MessageKind::Heartbeat, Vec::new());
        frame[2] = VERSION + 1;
        assert!(open(frame).unwrap_err().to_string().contains("version 3, not 2"));
    }
}
