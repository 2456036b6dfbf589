//! Messages over the rings: framing, batching, and what does not fit yet.

use super::flow::Corrupt;
use super::ring::{LinkMemory, Reader, Side, Writer};
use super::wire::{self, WireError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;

/// One end of a link: sends `S`, receives `R`.
///
/// What is sent is collected until [`flush`](Channel::flush), so that a burst of messages costs one look at the other
/// side's bell. A message may be longer than a ring.
#[derive(Debug)]
pub(crate) struct Channel<S, R> {
    writer: Writer,
    reader: Reader,
    out: Vec<u8>,
    /// How much of `out` the ring has taken.
    sent: usize,
    /// How long a message to be sent may be.
    limit: usize,
    /// How many bytes were ever added to `out`.
    appended: u64,
    input: Vec<u8>,
    /// How much of `input` has been understood.
    consumed: usize,
    /// There may be another whole message in `input`.
    more_in_input: bool,
    /// The peer waits for room in its ring.
    peer_starved: bool,
    _messages: PhantomData<fn(S) -> R>,
}

impl<S: Serialize, R: DeserializeOwned> Channel<S, R> {
    pub(crate) fn new(memory: &Arc<LinkMemory>, side: Side) -> Self {
        let (writer, reader) = memory.ends(side);
        Channel {
            writer,
            reader,
            out: Vec::new(),
            sent: 0,
            limit: wire::MESSAGE_LIMIT,
            appended: 0,
            input: Vec::new(),
            consumed: 0,
            more_in_input: false,
            peer_starved: false,
            _messages: PhantomData,
        }
    }

    /// Adds a message to those that the next flush sends. Returns where it ends in the stream: see
    /// [`taken`](Channel::taken). One that cannot be sent is an error and changes nothing.
    pub(crate) fn send(&mut self, message: &S) -> Result<u64, WireError> {
        let before = self.out.len();
        wire::append(message, self.limit, &mut self.out)?;
        self.appended += (self.out.len() - before) as u64;
        Ok(self.appended)
    }

    /// How long a message to be sent may be, in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Makes long messages cheap to test.
    #[cfg(test)]
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How much of the stream the other side has taken out of its ring. A message that ends after this was never seen.
    pub(crate) fn taken(&self) -> u64 {
        self.writer.taken()
    }

    /// Hands the other side as much as there is room for; true if that was anything, and the other side may have to be
    /// rung. What is left goes with a later flush: the other side rings when it has made room.
    pub(crate) fn flush(&mut self) -> Result<bool, WireError> {
        if self.sent == self.out.len() {
            return Ok(false);
        }
        let written = self.writer.write(&self.out[self.sent..]).map_err(corrupt)?;
        self.sent += written;
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(1 << 20);
            self.sent = 0;
        } else if self.sent > 1 << 20 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        Ok(written > 0)
    }

    /// Whether something waits for room in the ring, and there is some. Part of the look before a sleep: if there is
    /// none, the other side will ring when there is.
    pub(crate) fn can_flush(&self) -> bool {
        self.has_backlog() && self.writer.has_room()
    }

    /// Whether something waits for room in the ring.
    pub(crate) fn has_backlog(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Whether [`receive`](Channel::receive) may find something.
    pub(crate) fn has_input(&self) -> bool {
        self.more_in_input || self.reader.has_data()
    }

    /// The next message, if a whole one is there.
    pub(crate) fn receive(&mut self) -> Result<Option<R>, WireError> {
        loop {
            if let Some((body, used)) = wire::split(&self.input[self.consumed..])? {
                let message = wire::decode(body);
                self.consumed += used;
                self.more_in_input = true;
                return message.map(Some);
            }
            self.more_in_input = false;
            if !self.reader.has_data() {
                return Ok(None);
            }
            self.input.drain(..self.consumed);
            self.consumed = 0;
            if self.input.is_empty() {
                self.input.shrink_to(1 << 20);
            }
            self.peer_starved |= self.reader.read(&mut self.input).map_err(corrupt)?.starved;
        }
    }

    /// Whether the other side was waiting for the room that reading has made since the last call: ring for it.
    pub(crate) fn take_peer_starved(&mut self) -> bool {
        std::mem::take(&mut self.peer_starved)
    }
}

fn corrupt(_: Corrupt) -> WireError {
    WireError("the counters of a ring are out of bounds".into())
}

#[cfg(test)]
mod tests {
    use super::super::ring::CAPACITY;
    use super::*;

    type Text = Channel<String, String>;

    fn pair() -> (Text, Text) {
        let memory = LinkMemory::create().unwrap();
        (Text::new(&memory, Side::Engine), Text::new(&memory, Side::Worker))
    }

    #[test]
    fn a_batch_arrives_in_order() {
        let (mut engine, mut worker) = pair();
        for i in 0..100 {
            engine.send(&i.to_string()).unwrap();
        }
        assert_eq!(worker.receive(), Ok(None), "nothing is sent before the flush");
        assert_eq!(engine.flush(), Ok(true));
        for i in 0..100 {
            assert_eq!(worker.receive(), Ok(Some(i.to_string())));
        }
        assert_eq!(worker.receive(), Ok(None));
    }

    #[test]
    fn what_was_read_and_not_received_is_still_input() {
        let (mut engine, mut worker) = pair();
        engine.send(&"one".into()).unwrap();
        engine.send(&"two".into()).unwrap();
        engine.flush().unwrap();
        assert_eq!(worker.receive(), Ok(Some("one".into())));
        assert!(worker.has_input());
        assert_eq!(worker.receive(), Ok(Some("two".into())));
        assert_eq!(worker.receive(), Ok(None));
        assert!(!worker.has_input());
    }

    #[test]
    fn what_was_taken_is_known() {
        let (mut engine, mut worker) = pair();
        let first = engine.send(&"one".into()).unwrap();
        engine.flush().unwrap();
        worker.receive().unwrap();
        let second = engine.send(&"two".into()).unwrap();
        engine.flush().unwrap();
        assert_eq!(engine.taken(), first);
        assert_eq!(worker.receive(), Ok(Some("two".into())));
        assert_eq!(engine.taken(), second);
    }

    #[test]
    fn a_message_longer_than_the_ring_arrives_in_pieces() {
        let (mut engine, mut worker) = pair();
        let long = "x".repeat(CAPACITY * 3 + 17);
        engine.send(&long).unwrap();
        let mut received = None;
        while received.is_none() {
            assert_eq!(engine.flush(), Ok(true), "there is room again");
            received = worker.receive().unwrap();
            assert_eq!(worker.take_peer_starved(), engine.has_backlog());
        }
        assert_eq!(received, Some(long));
    }

    #[test]
    fn garbage_ends_the_link_with_an_error() {
        let memory = LinkMemory::create().unwrap();
        let mut worker = Text::new(&memory, Side::Worker);
        let (mut writer, _) = memory.ends(Side::Engine);
        writer.write(&[0xff; 64]).unwrap();
        assert!(worker.receive().is_err());
    }
}
