//! Transfers of memory from host to host: in chunks, several in flight, directly from and into the memory itself.
//!
//! The receiver begins. It sends the chunks ([`SharedDataRequest`]) and the tag under which it receives them, so the memory is
//! ready before the data arrives, and no transfer blocks another. The sender sends as soon as it has both the request and the
//! memory, whichever comes first. The receiver's memory defines the chunks; if the sender's memory is divided differently, a
//! chunk that crosses a boundary is copied together first.

use crate::async_operations::OrderedOperations;
use crate::serialization::{Malformed, SharedDataRequest};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use unidist_backend::WritableBuffer;
use unidist_engine::network::Transfer;
use unidist_mpi_comm::{BufferPart, Communicator, MpiError, Operation};

/// The length of a chunk.
pub(crate) const CHUNK: usize = 2 << 20;
/// The number of chunks in flight: of each transfer that is received, and of all that are sent to one host. Messages are queued
/// behind them, and on a slow link they must not be so late that the host is taken for lost.
const DEPTH: usize = 4;
/// The tags of transfers. Every MPI has tags up to 32,767; those below are for messages.
const TAGS: std::ops::Range<u16> = 16..16_384;

/// The transfers from one host.
#[derive(Default)]
pub(crate) struct Receiver {
    active: BTreeMap<u16, Incoming>,
    /// Transfers that wait for a tag.
    queued: VecDeque<(Transfer, Vec<BufferPart>)>,
    next_tag: u16,
}

struct Incoming {
    transfer: Transfer,
    parts: VecDeque<BufferPart>,
    operations: OrderedOperations,
}

impl Receiver {
    /// Starts receiving into this memory. True if it is empty, so that the transfer is complete.
    pub(crate) fn start(&mut self, transfer: Transfer, memory: Vec<Box<dyn WritableBuffer>>) -> bool {
        let parts: Vec<_> = memory.into_iter().flat_map(|buffer| BufferPart::split(buffer, CHUNK)).collect();
        let is_empty = parts.is_empty();
        if !is_empty {
            self.queued.push_back((transfer, parts));
        }
        is_empty
    }

    /// The next request to send; its transfer becomes active.
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
        let chunks = parts.iter().map(|part| part.len() as u32).collect(); // at most CHUNK
        let incoming = Incoming { transfer, parts: parts.into(), operations: OrderedOperations::default() };
        self.active.insert(tag, incoming);
        Some(SharedDataRequest { transfer, tag, chunks })
    }

    /// Makes progress, and reports completed transfers. True if a chunk has arrived.
    pub(crate) fn poll(
        &mut self,
        network: &Communicator,
        from: usize,
        received: &mut impl FnMut(Transfer),
    ) -> Result<bool, MpiError> {
        let (mut completed, mut has_arrivals) = (Vec::new(), false);
        for (tag, incoming) in &mut self.active {
            while incoming.operations.next_completed()?.is_some() {
                has_arrivals = true;
            }
            while incoming.operations.len() < DEPTH {
                let Some(part) = incoming.parts.pop_front() else { break };
                incoming.operations.push(network.receive_into(from, c_int::from(*tag), part)?);
            }
            if incoming.operations.is_empty() {
                completed.push(*tag);
            }
        }
        for incoming in completed.into_iter().filter_map(|tag| self.active.remove(&tag)) {
            received(incoming.transfer);
        }
        Ok(has_arrivals)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.queued.is_empty()
    }

    /// The transfers to whose memory MPI may write.
    pub(crate) fn active_transfers(&self) -> impl Iterator<Item = Transfer> + '_ {
        let active = self.active.values().filter(|incoming| !incoming.operations.is_empty());
        active.map(|incoming| incoming.transfer)
    }

    /// Gives up all transfers. Returns the pending operations, whose memory MPI may still write.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = Operation> {
        self.queued.clear();
        std::mem::take(&mut self.active).into_values().flat_map(|incoming| incoming.operations)
    }
}

/// The transfers to one host.
#[derive(Default)]
pub(crate) struct Sender {
    outgoing: BTreeMap<u64, Outgoing>,
}

#[derive(Default)]
struct Outgoing {
    memory: Option<VecDeque<Bytes>>,
    request: Option<ChunkRequest>,
    operations: OrderedOperations,
}

/// The chunks that the receiver has requested and that are not sent yet.
struct ChunkRequest {
    tag: u16,
    chunks: VecDeque<u32>,
}

impl Sender {
    /// Starts sending this memory. True if it is empty, so that the transfer is complete.
    pub(crate) fn start(&mut self, transfer: Transfer, memory: Vec<Bytes>) -> Result<bool, Malformed> {
        let memory: VecDeque<_> = memory.into_iter().filter(|bytes| !bytes.is_empty()).collect();
        if memory.is_empty() {
            return Ok(true);
        }
        let outgoing = self.outgoing.entry(transfer.0).or_default();
        outgoing.memory = Some(memory);
        outgoing.check_lengths(transfer)?;
        Ok(false)
    }

    /// The receiver is ready.
    pub(crate) fn request(&mut self, request: SharedDataRequest) -> Result<(), Malformed> {
        let SharedDataRequest { transfer, tag, chunks } = request;
        let outgoing = self.outgoing.entry(transfer.0).or_default();
        let is_valid = |len: &u32| (1..=CHUNK as u64).contains(&u64::from(*len));
        if outgoing.request.is_some() || !TAGS.contains(&tag) || !chunks.iter().all(is_valid) {
            return Err(Malformed(format!("an invalid request for the data of transfer {}", transfer.0)));
        }
        outgoing.request = Some(ChunkRequest { tag, chunks: chunks.into() });
        outgoing.check_lengths(transfer)
    }

    /// Makes progress, and reports completed transfers.
    pub(crate) fn poll(
        &mut self,
        network: &Communicator,
        to: usize,
        sent: &mut impl FnMut(Transfer),
    ) -> Result<(), MpiError> {
        let mut completed = Vec::new();
        let mut in_flight = 0;
        for outgoing in self.outgoing.values_mut() {
            while outgoing.operations.next_completed()?.is_some() {}
            in_flight += outgoing.operations.len();
        }
        for (transfer, outgoing) in &mut self.outgoing {
            let (Some(memory), Some(request)) = (&mut outgoing.memory, &mut outgoing.request) else {
                continue;
            };
            while in_flight < DEPTH {
                let Some(len) = request.chunks.pop_front() else { break };
                in_flight += 1;
                let chunk = take(memory, len as usize);
                outgoing.operations.push(network.send_bytes(to, c_int::from(request.tag), chunk)?);
            }
            if outgoing.operations.is_empty() && request.chunks.is_empty() {
                completed.push(*transfer);
            }
        }
        for transfer in completed {
            self.outgoing.remove(&transfer);
            sent(Transfer(transfer));
        }
        Ok(())
    }

    /// Whether a poll has nothing to do: each transfer lacks its request or its memory.
    pub(crate) fn is_idle(&self) -> bool {
        self.outgoing.values().all(|outgoing| outgoing.memory.is_none() || outgoing.request.is_none())
    }

    /// Gives up all transfers. Returns the pending operations, whose memory MPI may still read.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = Operation> {
        std::mem::take(&mut self.outgoing).into_values().flat_map(|outgoing| outgoing.operations)
    }
}

impl Outgoing {
    /// Memory and request must have the same length.
    fn check_lengths(&self, transfer: Transfer) -> Result<(), Malformed> {
        let (Some(memory), Some(request)) = (&self.memory, &self.request) else { return Ok(()) };
        let here: u64 = memory.iter().map(|bytes| bytes.len() as u64).sum();
        let there: u64 = request.chunks.iter().map(|len| u64::from(*len)).sum();
        if here == there {
            return Ok(());
        }
        Err(Malformed(format!("transfer {} has {here} bytes here and {there} there", transfer.0)))
    }
}

/// Takes the next bytes off the front of `memory`: without a copy if they are contiguous.
fn take(memory: &mut VecDeque<Bytes>, len: usize) -> Bytes {
    while memory.front().is_some_and(Bytes::is_empty) {
        memory.pop_front();
    }
    if let Some(first) = memory.front_mut().filter(|first| first.len() >= len) {
        return first.split_to(len);
    }
    let mut joined = BytesMut::with_capacity(len);
    while joined.len() < len {
        let Some(first) = memory.front_mut() else { break };
        let part = first.len().min(len - joined.len());
        joined.extend_from_slice(&first[..part]);
        first.advance(part);
        if first.is_empty() {
            memory.pop_front();
        }
    }
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(transfer: u64, chunks: &[u32]) -> SharedDataRequest {
        SharedDataRequest { transfer: Transfer(transfer), tag: TAGS.start, chunks: chunks.into() }
    }

    #[test]
    fn contiguous_chunks_are_not_copied() {
        let first = Bytes::from(vec![1, 2, 3, 4, 5]);
        let mut memory = VecDeque::from([first.clone(), Bytes::from(vec![6]), Bytes::from(vec![7, 8])]);
        let chunk = take(&mut memory, 3);
        assert_eq!((&chunk[..], chunk.as_ptr()), (&[1, 2, 3][..], first.as_ptr()));
        assert_eq!(take(&mut memory, 4), [4, 5, 6, 7][..]);
        assert_eq!(take(&mut memory, 1), [8][..]);
    }

    #[test]
    fn memory_and_request_come_in_any_order() {
        let mut sender = Sender::default();
        assert_eq!(sender.start(Transfer(1), vec![Bytes::from_static(b"abc")]), Ok(false));
        assert!(sender.is_idle());
        assert_eq!(sender.request(request(1, &[3])), Ok(()));
        assert!(!sender.is_idle());
        assert_eq!(sender.request(request(2, &[1, 1])), Ok(()));
        assert_eq!(sender.start(Transfer(2), vec![Bytes::from_static(b"ab")]), Ok(false));
        assert_eq!(sender.start(Transfer(3), vec![Bytes::new()]), Ok(true));
    }

    #[test]
    fn invalid_requests_are_refused() {
        let mut sender = Sender::default();
        sender.start(Transfer(1), vec![Bytes::from_static(b"abc")]).unwrap();
        let text = sender.request(request(1, &[2])).unwrap_err().to_string();
        assert!(text.contains("3 bytes here and 2 there"), "{text}");
        assert!(sender.request(request(2, &[0])).is_err());
        assert!(sender.request(request(3, &[u32::MAX])).is_err());
        sender.request(request(4, &[1])).unwrap();
        assert!(sender.request(request(4, &[1])).is_err());
    }
}
