//! Transfers of memory: in pieces, several under way at once, straight from and into the memory itself.
//!
//! The receiver begins. When it is told to receive, it tells the sender the pieces ([`SharedDataRequest`]) and the tag
//! under which it waits for them, so the memory is there before the data, and no transfer stands in the way of another.
//! The sender sends when it knows both the request and the memory, whichever comes first. The pieces are cut from the
//! receiver's memory; where the sender's is divided elsewhere, a piece that lies on both sides is put together first.

use crate::async_operations::InOrder;
use crate::serialization::{Malformed, SharedDataRequest};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use unidist_backend::WritableBuffer;
use unidist_engine::network::Transfer;
use unidist_mpi_comm::{BufferPart, Communicator, MpiError, Operation};

/// How long a piece is.
pub(crate) const PIECE: usize = 2 << 20;
/// So many pieces are given to MPI at once: to receive, of each transfer, and to send, of all to one host. What is said
/// meanwhile comes after them, and on a slow link it must not come so late that the host is taken for lost.
const AT_ONCE: usize = 4;
/// The tags of transfers. Every MPI has tags up to 32,767; those below are for messages.
const TAGS: std::ops::Range<u16> = 16..16_384;

/// What is under way from one host, by transfer.
#[derive(Default)]
pub(crate) struct Receiving {
    active: BTreeMap<u16, Incoming>,
    /// Those that wait for a tag.
    queued: VecDeque<(Transfer, Vec<BufferPart>)>,
    next_tag: u16,
}

struct Incoming {
    transfer: Transfer,
    parts: VecDeque<BufferPart>,
    operations: InOrder,
}

impl Receiving {
    /// Receives into this memory. One that has no bytes has been received.
    pub(crate) fn begin(&mut self, transfer: Transfer, memory: Vec<Box<dyn WritableBuffer>>) -> bool {
        let parts: Vec<_> = memory.into_iter().flat_map(|buffer| BufferPart::split(buffer, PIECE)).collect();
        let some = !parts.is_empty();
        if some {
            self.queued.push_back((transfer, parts));
        }
        !some
    }

    /// What is to be asked for next, and then comes.
    pub(crate) fn next_request(&mut self) -> Option<SharedDataRequest> {
        if self.active.len() >= TAGS.len() {
            return None;
        }
        let (transfer, parts) = self.queued.pop_front()?;
        while !TAGS.contains(&self.next_tag) || self.active.contains_key(&self.next_tag) {
            let next = self.next_tag.wrapping_add(1);
            self.next_tag = if TAGS.contains(&next) { next } else { TAGS.start };
        }
        let tag = self.next_tag;
        self.next_tag += 1;
        let pieces = parts.iter().map(|part| part.len() as u32).collect(); // at most PIECE
        let incoming = Incoming { transfer, parts: parts.into(), operations: InOrder::default() };
        self.active.insert(tag, incoming);
        Some(SharedDataRequest { transfer, tag, pieces })
    }

    /// Goes on, and says what has been received; true if a piece was.
    pub(crate) fn poll(
        &mut self,
        network: &Communicator,
        from: usize,
        received: &mut impl FnMut(Transfer),
    ) -> Result<bool, MpiError> {
        let (mut ended, mut some) = (Vec::new(), false);
        for (tag, incoming) in &mut self.active {
            while incoming.operations.next_ended()?.is_some() {
                some = true;
            }
            while incoming.operations.len() < AT_ONCE {
                let Some(part) = incoming.parts.pop_front() else { break };
                incoming.operations.push(network.receive_into(from, c_int::from(*tag), part)?);
            }
            if incoming.operations.is_empty() {
                ended.push(*tag);
            }
        }
        for incoming in ended.into_iter().filter_map(|tag| self.active.remove(&tag)) {
            received(incoming.transfer);
        }
        Ok(some)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.queued.is_empty()
    }

    /// The transfers to whose memory MPI may write.
    pub(crate) fn written(&self) -> impl Iterator<Item = Transfer> + '_ {
        let active = self.active.values().filter(|incoming| !incoming.operations.is_empty());
        active.map(|incoming| incoming.transfer)
    }

    /// What MPI may still write to.
    pub(crate) fn give_up(&mut self) -> impl Iterator<Item = Operation> {
        self.queued.clear();
        std::mem::take(&mut self.active).into_values().flat_map(|incoming| incoming.operations)
    }
}

/// What is under way to one host, by transfer.
#[derive(Default)]
pub(crate) struct Sending {
    outgoing: BTreeMap<u64, Outgoing>,
}

#[derive(Default)]
struct Outgoing {
    memory: Option<VecDeque<Bytes>>,
    request: Option<(u16, VecDeque<u32>)>,
    operations: InOrder,
}

impl Sending {
    /// Sends this memory. One that has no bytes has been sent.
    pub(crate) fn begin(&mut self, transfer: Transfer, memory: Vec<Bytes>) -> Result<bool, Malformed> {
        let memory: VecDeque<_> = memory.into_iter().filter(|bytes| !bytes.is_empty()).collect();
        if memory.is_empty() {
            return Ok(true);
        }
        let outgoing = self.outgoing.entry(transfer.0).or_default();
        outgoing.memory = Some(memory);
        outgoing.check(transfer)?;
        Ok(false)
    }

    /// The receiver is ready.
    pub(crate) fn request(&mut self, request: SharedDataRequest) -> Result<(), Malformed> {
        let SharedDataRequest { transfer, tag, pieces } = request;
        let outgoing = self.outgoing.entry(transfer.0).or_default();
        let possible = |len: &u32| (1..=PIECE as u64).contains(&u64::from(*len));
        if outgoing.request.is_some() || !TAGS.contains(&tag) || !pieces.iter().all(possible) {
            return Err(Malformed(format!("a request for transfer {} that is none", transfer.0)));
        }
        outgoing.request = Some((tag, pieces.into()));
        outgoing.check(transfer)
    }

    /// Goes on, and says what has been sent.
    pub(crate) fn poll(
        &mut self,
        network: &Communicator,
        to: usize,
        sent: &mut impl FnMut(Transfer),
    ) -> Result<(), MpiError> {
        let mut ended = Vec::new();
        let mut under_way = 0;
        for outgoing in self.outgoing.values_mut() {
            while outgoing.operations.next_ended()?.is_some() {}
            under_way += outgoing.operations.len();
        }
        for (transfer, outgoing) in &mut self.outgoing {
            let (Some(memory), Some((tag, pieces))) = (&mut outgoing.memory, &mut outgoing.request) else {
                continue;
            };
            while under_way < AT_ONCE {
                let Some(len) = pieces.pop_front() else { break };
                under_way += 1;
                let piece = take(memory, len as usize);
                outgoing.operations.push(network.send_bytes(to, c_int::from(*tag), piece)?);
            }
            if outgoing.operations.is_empty() && pieces.is_empty() {
                ended.push(*transfer);
            }
        }
        for transfer in ended {
            self.outgoing.remove(&transfer);
            sent(Transfer(transfer));
        }
        Ok(())
    }

    /// Whether there is nothing that goes on while it is polled.
    pub(crate) fn is_empty(&self) -> bool {
        self.outgoing.values().all(|outgoing| outgoing.memory.is_none() || outgoing.request.is_none())
    }

    /// What MPI may still read from.
    pub(crate) fn give_up(&mut self) -> impl Iterator<Item = Operation> {
        std::mem::take(&mut self.outgoing).into_values().flat_map(|outgoing| outgoing.operations)
    }
}

impl Outgoing {
    /// Both sides must speak of as many bytes.
    fn check(&self, transfer: Transfer) -> Result<(), Malformed> {
        let (Some(memory), Some((_, pieces))) = (&self.memory, &self.request) else { return Ok(()) };
        let here: u64 = memory.iter().map(|bytes| bytes.len() as u64).sum();
        let there: u64 = pieces.iter().map(|len| u64::from(*len)).sum();
        if here == there {
            return Ok(());
        }
        Err(Malformed(format!("transfer {} is of {here} bytes here and of {there} there", transfer.0)))
    }
}

/// The next bytes, which are there: as they lie, or copied where they do not lie together.
fn take(memory: &mut VecDeque<Bytes>, len: usize) -> Bytes {
    while memory.front().is_some_and(Bytes::is_empty) {
        memory.pop_front();
    }
    if let Some(first) = memory.front_mut().filter(|first| first.len() >= len) {
        return first.split_to(len);
    }
    let mut together = BytesMut::with_capacity(len);
    while together.len() < len {
        let Some(first) = memory.front_mut() else { break };
        let part = first.len().min(len - together.len());
        together.extend_from_slice(&first[..part]);
        first.advance(part);
        if first.is_empty() {
            memory.pop_front();
        }
    }
    together.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(transfer: u64, pieces: &[u32]) -> SharedDataRequest {
        SharedDataRequest { transfer: Transfer(transfer), tag: TAGS.start, pieces: pieces.into() }
    }

    #[test]
    fn pieces_are_cut_without_copies_where_they_can_be() {
        let first = Bytes::from(vec![1, 2, 3, 4, 5]);
        let mut memory = VecDeque::from([first.clone(), Bytes::from(vec![6]), Bytes::from(vec![7, 8])]);
        let piece = take(&mut memory, 3);
        assert_eq!((&piece[..], piece.as_ptr()), (&[1, 2, 3][..], first.as_ptr()));
        assert_eq!(take(&mut memory, 4), [4, 5, 6, 7][..]);
        assert_eq!(take(&mut memory, 1), [8][..]);
    }

    #[test]
    fn whichever_comes_first() {
        let mut sending = Sending::default();
        assert_eq!(sending.begin(Transfer(1), vec![Bytes::from_static(b"abc")]), Ok(false));
        assert!(sending.is_empty());
        assert_eq!(sending.request(request(1, &[3])), Ok(()));
        assert!(!sending.is_empty());
        assert_eq!(sending.request(request(2, &[1, 1])), Ok(()));
        assert_eq!(sending.begin(Transfer(2), vec![Bytes::from_static(b"ab")]), Ok(false));
        assert_eq!(sending.begin(Transfer(3), vec![Bytes::new()]), Ok(true));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut sending = Sending::default();
        sending.begin(Transfer(1), vec![Bytes::from_static(b"abc")]).unwrap();
        let text = sending.request(request(1, &[2])).unwrap_err().to_string();
        assert!(text.contains("3 bytes here and of 2 there"), "{text}");
        assert!(sending.request(request(2, &[0])).is_err());
        assert!(sending.request(request(3, &[u32::MAX])).is_err());
        sending.request(request(4, &[1])).unwrap();
        assert!(sending.request(request(4, &[1])).is_err());
    }
}
