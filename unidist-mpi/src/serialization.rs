//! The frame of a message between hosts, which is one MPI message.
//!
//! The body is followed by a trailer of [`FRAME`] bytes: two magic bytes, the version, the kind, four zeros, the length of the
//! body. It is a trailer so that a message becomes a frame, and a frame a message, without a copy. All numbers are little
//! endian.

use std::fmt;
use unidist_engine::network::Transfer;

/// The length of the trailer.
pub(crate) const FRAME: usize = 16;
const MAGIC: [u8; 2] = *b"ud";
/// Changes with the format of frames and of their bodies.
pub(crate) const VERSION: u8 = 2;

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum MessageKind {
    /// A message of the engine.
    Message = 1,
    /// The receiver of a transfer is ready: the body is a [`SharedDataRequest`].
    RequestSharedData = 2,
    /// A sign of life.
    Heartbeat = 3,
    /// The session ends: answer when nothing more will be sent.
    Cancel = 4,
    /// The answer: nothing more will be sent.
    ReadyToShutdown = 5,
    /// All hosts are ready: finalise MPI.
    Shutdown = 6,
    /// The remaining hosts are ready: do not finalise MPI, which would wait for the lost ones.
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
        MessageKind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What is wrong with a message of another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it sent a malformed message: {}", self.0)
    }
}

/// Appends the trailer to a body.
pub(crate) fn frame(kind: MessageKind, mut body: Vec<u8>) -> Vec<u8> {
    let len = body.len() as u64;
    body.reserve_exact(FRAME);
    body.extend_from_slice(&MAGIC);
    body.extend_from_slice(&[VERSION, kind as u8, 0, 0, 0, 0]);
    body.extend_from_slice(&len.to_le_bytes());
    body
}

/// Checks and removes the trailer.
pub(crate) fn unframe(mut frame: Vec<u8>) -> Result<(MessageKind, Vec<u8>), Malformed> {
    let malformed = |what: &str| Malformed(what.to_owned());
    let body = frame.len().checked_sub(FRAME).ok_or_else(|| malformed("a message without a frame"))?;
    let trailer: [u8; FRAME] =
        frame[body..].try_into().map_err(|_| malformed("a message without a frame"))?;
    let [magic_0, magic_1, version, kind, zeros @ .., _, _, _, _, _, _, _, _] = trailer;
    if [magic_0, magic_1] != MAGIC || zeros != [0; 4] {
        return Err(malformed("a message without a frame"));
    }
    if version != VERSION {
        return Err(Malformed(format!("a message of version {version}, not {VERSION}")));
    }
    let kind = MessageKind::from_byte(kind)
        .ok_or_else(|| Malformed(format!("a message of the unknown kind {kind}")))?;
    if number(&trailer[8..]) != Some(body as u64) {
        return Err(malformed("a message whose length differs from that in its frame"));
    }
    frame.truncate(body);
    Ok((kind, frame))
}

/// What the receiver of a transfer sends to its sender: the chunks of memory, and the tag under which it receives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedDataRequest {
    pub(crate) transfer: Transfer,
    /// The tag of all chunks, which arrive in order.
    pub(crate) tag: u16,
    /// The lengths of the chunks: each at least 1 and at most [`CHUNK`](crate::shared_store::CHUNK).
    pub(crate) chunks: Vec<u32>,
}

impl SharedDataRequest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(16 + 4 * self.chunks.len() + FRAME);
        body.extend_from_slice(&self.transfer.0.to_le_bytes());
        body.extend_from_slice(&u64::from(self.tag).to_le_bytes());
        self.chunks.iter().for_each(|len| body.extend_from_slice(&len.to_le_bytes()));
        body
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let malformed = || Malformed("a malformed request for the data of a transfer".to_owned());
        let (start, lengths) = body.split_at_checked(16).ok_or_else(malformed)?;
        let (numbers, rest) = lengths.as_chunks::<4>();
        let tag = number(&start[8..]).and_then(|tag| u16::try_from(tag).ok());
        if !rest.is_empty() {
            return Err(malformed());
        }
        Ok(SharedDataRequest {
            transfer: Transfer(number(&start[..8]).ok_or_else(malformed)?),
            tag: tag.ok_or_else(malformed)?,
            chunks: numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
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
        fn frame_survives_unframe(body: Vec<u8>, kind in 0..MessageKind::ALL.len()) {
            let kind = MessageKind::ALL[kind];
            prop_assert_eq!(unframe(frame(kind, body.clone())), Ok((kind, body)));
        }

        #[test]
        fn malformed_frames_are_refused(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = unframe(bytes.clone());
            let _ = SharedDataRequest::decode(&bytes);
            let mut damaged = frame(MessageKind::Message, bytes.clone());
            let at = bytes.len() + at.index(FRAME);
            if damaged[at] != byte {
                damaged[at] = byte;
                prop_assert!(unframe(damaged).is_err() || at == bytes.len() + 3);
            }
        }

        #[test]
        fn requests_survive_their_encoding(transfer: u64, tag: u16, chunks: Vec<u32>) {
            let request = SharedDataRequest { transfer: Transfer(transfer), tag, chunks };
            let body = request.encode();
            prop_assert_eq!(SharedDataRequest::decode(&body), Ok(request));
            prop_assert!(SharedDataRequest::decode(&body[..body.len() - 1]).is_err());
        }
    }

    #[test]
    fn other_version_is_refused() {
        let mut frame = frame(MessageKind::Heartbeat, Vec::new());
        frame[2] = VERSION + 1;
        assert!(unframe(frame).unwrap_err().to_string().contains("version 3, not 2"));
    }
}
