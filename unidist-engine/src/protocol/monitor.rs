//! What the controller and the monitor of another host say to each other: one closed set for each direction.
//!
//! It begins with a greeting, whose first bytes never change ([`handshake`](crate::link::handshake)). All that goes to one
//! host in a turn is one message of the network, or several if it is very long, frame after frame. What processes and
//! the scheduler say to each other passes through as bytes.

use super::wire::{self, MESSAGE_LIMIT, WireError};
use crate::network::{HostId, Transfer};
use crate::store::{Blob, Block};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;
use unidist_backend::LaunchCommand;
use unidist_common::{DataId, Error, ProcessId};

/// So many bytes of a process's stream are in one message at most.
const PIECE: usize = 16 << 20;

/// A message of the network that is so long takes no more in. With the longest that may be added, it stays below what one
/// message of any network can carry.
const LONG: usize = 64 << 20;

/// What the monitor of a host has to know of the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// The build of the program.
    pub(crate) build_id: String,
    /// The host that this is for.
    pub(crate) host: HostId,
    /// What starts a worker.
    pub(crate) launch: LaunchCommand,
    /// The limit of the host's object store in bytes.
    pub(crate) object_store_memory: u64,
    /// The folder for what does not fit; the system's temporary folder without.
    pub(crate) spill_dir: Option<PathBuf>,
    /// Bytes that may lie there: 0 for none, `None` for half of what is free.
    pub(crate) spill_limit: Option<u64>,
    /// The folder of the workers' log files; standard error if there is none.
    pub(crate) log_dir: Option<PathBuf>,
    /// Up to this many bytes of an object travel in messages.
    pub(crate) inline_limit: u32,
    /// The longest nap between two looks at the network while there is work.
    pub(crate) backoff: Duration,
}

/// What the monitor answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum GreetingReply {
    /// It is ready to start processes.
    Ready {
        /// The build of its own executable.
        build_id: String,
        /// How long the segment is, header included.
        segment: u64,
        /// Bytes that may lie on its disk.
        spill_limit: u64,
    },
    /// It cannot take part.
    Refused(Error),
}

/// From the controller to the monitor of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToMonitor {
    /// Start a process.
    Start {
        /// Its number.
        process: ProcessId,
        /// Whether it hosts an actor.
        actor: bool,
    },
    /// Write these bytes into the ring of a process.
    Deliver {
        /// The process.
        process: ProcessId,
        /// It is to be woken even if it runs a task.
        urgent: bool,
        /// The next bytes of its stream.
        bytes: Bytes,
    },
    /// Kill a process; its loss is told as any other.
    Kill(ProcessId),
    /// Send these parts of an object to another host. [`FromMonitor::Sends`] follows.
    Send(Transfer, HostId, Vec<Blob>),
    /// Receive as much from another host into these blocks. [`FromMonitor::Received`] follows.
    Receive(Transfer, HostId, Vec<Block>),
    /// Write these blocks of an object to the spill file. [`FromMonitor::Spilled`] follows.
    Spill(DataId, Vec<Block>),
    /// This block of the spill file is free.
    FreeSpilled(Block),
    /// Pass on everything that processes have said so far, then say [`FromMonitor::Looked`].
    Look,
    /// This host is lost: nothing more comes from there.
    Forget(HostId),
    /// End all processes, say [`FromMonitor::Ended`], and end.
    End,
}

/// From the monitor of a host to the controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromMonitor {
    /// A process has joined.
    Joined(ProcessId),
    /// A process has ended, or could not be started. It says nothing more.
    Lost {
        /// Which.
        process: ProcessId,
        /// What is known of why.
        why: String,
        /// How many bytes of its stream it has taken out of its ring.
        taken: u64,
    },
    /// A process has said something.
    Said {
        /// Which.
        process: ProcessId,
        /// The next bytes of the stream from it.
        bytes: Bytes,
        /// How many bytes of the stream to it, it has taken out of its ring so far.
        taken: u64,
    },
    /// The parts are on their way, or cannot be read, in which case something else is, which is of no use.
    Sends(Transfer, Result<(), String>),
    /// The blocks are filled, or never will be: nobody writes to them any more.
    Received(Transfer, Result<(), String>),
    /// The blocks are not filled, and may be written to for ever.
    Stuck(Transfer),
    /// The blocks of this object were written to these of the spill file, or why not.
    Spilled(DataId, Result<Vec<Block>, SpillFailure>),
    /// Everything was passed on.
    Looked,
    /// All processes have ended.
    Ended,
}

/// Why blocks could not be spilled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SpillFailure {
    /// There is no room for them.
    Full,
    /// What the system said.
    System(String),
}

/// Messages to one host that go together: as one message of the network, or as several where they are very long.
#[derive(Debug, Default)]
pub(crate) struct MessageBatch {
    /// Those that are long enough.
    full: VecDeque<Vec<u8>>,
    open: Vec<u8>,
}

impl MessageBatch {
    /// Adds a message. One that cannot be encoded is an error and changes nothing.
    pub(crate) fn add<M: Serialize>(&mut self, message: &M) -> Result<(), WireError> {
        wire::append(message, MESSAGE_LIMIT, &mut self.open)?;
        if self.open.len() >= LONG {
            self.full.push_back(std::mem::take(&mut self.open));
        }
        Ok(())
    }

    /// Adds a stretch of a process's stream, in pieces that any message can carry.
    pub(crate) fn add_stream<M: Serialize>(
        &mut self,
        mut bytes: Bytes,
        message: impl Fn(Bytes) -> M,
    ) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.add(&message(piece))?;
        }
        Ok(())
    }

    /// The next message of the network, as long as there are any.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let open = || (!self.open.is_empty()).then(|| std::mem::take(&mut self.open));
        self.full.pop_front().or_else(open)
    }
}

/// The messages of a batch, in order; the last one is an error if the batch does not end where it does.
pub(crate) fn unpack<M: DeserializeOwned>(
    mut bytes: &[u8],
) -> impl Iterator<Item = Result<M, WireError>> + use<'_, M> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let next = wire::split(bytes).and_then(|frame| {
            let (body, used) = frame.ok_or_else(|| WireError("a message between hosts is cut off".into()))?;
            bytes = &bytes[used..];
            wire::decode(body)
        });
        if next.is_err() {
            bytes = &[];
        }
        Some(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_unpacked_as_it_was_made() {
        let (mut batch, messages) = (MessageBatch::default(), crate::fuzz::to_monitor());
        assert_eq!(batch.take(), None);
        messages.iter().for_each(|message| batch.add(message).unwrap());
        let bytes = batch.take().unwrap();
        assert_eq!(unpack(&bytes).collect::<Result<Vec<ToMonitor>, _>>(), Ok(messages));
        let cut = unpack::<ToMonitor>(&bytes[..bytes.len() - 1]).last();
        assert!(cut.is_some_and(|message| message.is_err()));
        assert!(unpack::<ToMonitor>(&[0xff; 9]).all(|message| message.is_err()));
    }

    #[test]
    fn a_long_batch_is_several_messages() {
        let (mut batch, process) = (MessageBatch::default(), ProcessId::CONTROLLER);
        let long = Bytes::from(vec![7; LONG]);
        batch.add_stream(long.clone(), |bytes| ToMonitor::Deliver { process, urgent: false, bytes }).unwrap();
        batch.add(&ToMonitor::Look).unwrap();
        let messages: Vec<_> = std::iter::from_fn(|| batch.take()).collect();
        assert_eq!(messages.len(), 2);
        let mut total = 0;
        for message in messages.iter().flat_map(|bytes| unpack::<ToMonitor>(bytes)) {
            match message.unwrap() {
                ToMonitor::Deliver { bytes, .. } => total += bytes.len(),
                last => assert_eq!((last, total), (ToMonitor::Look, LONG)),
            }
        }
    }

    #[test]
    fn a_long_stream_comes_in_pieces() {
        let (mut batch, long) = (MessageBatch::default(), Bytes::from(vec![7; PIECE + 1]));
        let process = ProcessId::CONTROLLER;
        batch.add_stream(long.clone(), |bytes| ToMonitor::Deliver { process, urgent: false, bytes }).unwrap();
        let pieces: Vec<_> = unpack::<ToMonitor>(&batch.take().unwrap())
            .map(|message| match message {
                Ok(ToMonitor::Deliver { bytes, .. }) => bytes,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!((pieces.len(), pieces.concat()), (2, long.to_vec()));
    }
}
