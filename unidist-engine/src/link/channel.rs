//! Messages over the rings of a link, or over a monitor that forwards their bytes: framing and batching.

use super::frames::Frames;
use super::raw::RawEnd;
use super::ring::{LinkMemory, Side};
use crate::protocol::wire::{self, WireError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;

/// One end of a link: sends `S`, receives `R`.
///
/// Messages are collected until [`flush`](Channel::flush), so that a burst of messages rings the other side once. A
/// message may be longer than a ring.
#[derive(Debug)]
pub(crate) struct Channel<S, R> {
    end: RawEnd,
    input: Frames<R>,
    sending: Sending<S>,
}

/// The state of the outgoing stream of messages.
#[derive(Debug)]
struct Sending<S> {
    /// The longest message in bytes.
    limit: usize,
    /// The bytes appended to the stream so far.
    appended: u64,
    _messages: PhantomData<fn(S)>,
}

impl<S: Serialize> Sending<S> {
    fn new() -> Self {
        Sending { limit: wire::MAX_MESSAGE_LEN, appended: 0, _messages: PhantomData }
    }

    #[inline]
    fn append(&mut self, message: &S, out: &mut Vec<u8>) -> Result<u64, WireError> {
        let before = out.len();
        wire::append(message, self.limit, out)?;
        self.appended += (out.len() - before) as u64;
        Ok(self.appended)
    }
}

impl<S: Serialize, R: DeserializeOwned> Channel<S, R> {
    pub(crate) fn new(memory: &Arc<LinkMemory>, side: Side) -> Self {
        Channel { end: RawEnd::new(memory, side), input: Frames::new(), sending: Sending::new() }
    }

    /// Adds a message to those that the next flush sends. Returns the position of its end in the stream: see
    /// [`taken`](Channel::taken). If it cannot be sent, the stream is unchanged.
    pub(crate) fn send(&mut self, message: &S) -> Result<u64, WireError> {
        self.sending.append(message, self.end.out())
    }

    /// The longest message that can be sent, in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.sending.limit
    }

    /// Sets a low limit to test long messages.
    #[cfg(test)]
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.sending.limit = limit;
    }

    /// How many bytes of the stream the other side has consumed. It has not seen messages that end after this position.
    pub(crate) fn taken(&self) -> u64 {
        self.end.taken()
    }

    /// See [`RawEnd::flush`].
    pub(crate) fn flush(&mut self) -> Result<bool, WireError> {
        self.end.flush()
    }

    /// See [`RawEnd::can_flush`].
    pub(crate) fn can_flush(&self) -> bool {
        self.end.can_flush()
    }

    /// Whether output waits for space in the ring.
    pub(crate) fn has_backlog(&self) -> bool {
        self.end.has_backlog()
    }

    /// Whether [`receive`](Channel::receive) may find a message.
    pub(crate) fn has_input(&self) -> bool {
        self.input.has_more() || self.end.has_data()
    }

    /// The next message, if it is complete.
    pub(crate) fn receive(&mut self) -> Result<Option<R>, WireError> {
        loop {
            if let Some(message) = self.input.next()? {
                return Ok(Some(message));
            }
            if !self.end.has_data() {
                return Ok(None);
            }
            self.end.read(self.input.space())?;
        }
    }

    /// See [`RawEnd::take_peer_starved`].
    pub(crate) fn take_peer_starved(&mut self) -> bool {
        self.end.take_peer_starved()
    }
}

/// The engine's end of a link whose rings are on another host, where the monitor forwards the bytes.
#[derive(Debug)]
pub(crate) struct Relayed<S, R> {
    out: Vec<u8>,
    input: Frames<R>,
    sending: Sending<S>,
    taken: u64,
}

impl<S: Serialize, R: DeserializeOwned> Relayed<S, R> {
    pub(crate) fn new() -> Self {
        Relayed { out: Vec::new(), input: Frames::new(), sending: Sending::new(), taken: 0 }
    }

    /// As [`Channel::send`].
    pub(crate) fn send(&mut self, message: &S) -> Result<u64, WireError> {
        self.sending.append(message, &mut self.out)
    }

    /// How many bytes of the stream the process has consumed, as last reported.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Notes a report of the consumed bytes, bounded by the last report and the bytes sent.
    pub(crate) fn note_taken(&mut self, taken: u64) {
        self.taken = taken.clamp(self.taken, self.sending.appended);
    }

    /// Takes the bytes to forward.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Appends bytes that the process has sent.
    pub(crate) fn arrived(&mut self, bytes: &[u8]) {
        self.input.append(bytes);
    }

    /// Whether [`receive`](Relayed::receive) may find a message.
    pub(crate) fn has_input(&self) -> bool {
        self.input.has_more()
    }

    /// The next message, if it is complete.
    pub(crate) fn receive(&mut self) -> Result<Option<R>, WireError> {
        self.input.next()
    }
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
    fn batch_arrives_in_order() {
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
    fn unreceived_message_in_the_buffer_is_input() {
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
    fn taken_follows_the_reader() {
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
    fn message_longer_than_the_ring_arrives_in_pieces() {
        let (mut engine, mut worker) = pair();
        let long = "x".repeat(CAPACITY * 3 + 17);
        engine.send(&long).unwrap();
        let mut received = None;
        while received.is_none() {
            assert_eq!(engine.flush(), Ok(true), "there is space again");
            received = worker.receive().unwrap();
            assert_eq!(worker.take_peer_starved(), engine.has_backlog());
        }
        assert_eq!(received, Some(long));
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        let memory = LinkMemory::create().unwrap();
        let mut worker = Text::new(&memory, Side::Worker);
        let (mut writer, _) = memory.ends(Side::Engine);
        writer.write(&[0xff; 64]).unwrap();
        assert!(worker.receive().is_err());
    }

    #[test]
    fn relayed_end_and_raw_end_form_a_link() {
        let memory = LinkMemory::create().unwrap();
        let (mut raw, mut worker) = (RawEnd::new(&memory, Side::Engine), Text::new(&memory, Side::Worker));
        let mut relayed = Relayed::<String, String>::new();
        let ends: Vec<_> = (0..3).map(|n| relayed.send(&n.to_string()).unwrap()).collect();
        raw.out().extend_from_slice(&relayed.take_output());
        assert_eq!((raw.flush(), raw.taken()), (Ok(true), 0));
        assert_eq!(worker.receive(), Ok(Some("0".into())));
        assert_eq!(raw.taken(), ends[2]);
        worker.send(&"hello".into()).unwrap();
        worker.flush().unwrap();
        let mut said = Vec::new();
        raw.read(&mut said).unwrap();
        for byte in said {
            assert_eq!(relayed.receive(), Ok(None));
            relayed.arrived(&[byte]);
            assert!(relayed.has_input());
        }
        assert_eq!((relayed.receive(), relayed.receive()), (Ok(Some("hello".into())), Ok(None)));
        for (said, believed) in [(ends[0], ends[0]), (0, ends[0]), (u64::MAX, ends[2])] {
            relayed.note_taken(said);
            assert_eq!(relayed.taken(), believed);
        }
    }
}
