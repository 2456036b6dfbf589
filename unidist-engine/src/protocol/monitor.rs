//! The messages between the controller and the monitor of another host: one enum for each direction.
//!
//! The first ones are a greeting and its reply ([`handshake`](super::handshake)). All messages to one host in a turn of the
//! event loop form one message of the network, or several if they are very long, frame after frame. Monitors forward the
//! messages between processes and the scheduler as bytes.

use super::wire::{self, MAX_MESSAGE_LEN, WireError};
use crate::network::{HostId, Transfer};
use crate::store::spill::SpillError;
use crate::store::{Blob, Block, Place};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;
use unidist_backend::LaunchCommand;
use unidist_common::{DataId, Error, ProcessId};

/// The most bytes of a process's stream in one message.
const MAX_CHUNK: usize = 16 << 20;

/// A network message of this length is complete. With the longest message added, it stays below the limit of any network.
const FULL_LEN: usize = 64 << 20;

/// The settings of a session for the monitor of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// The build of the program.
    pub(crate) build_id: String,
    /// The host of the monitor.
    pub(crate) host: HostId,
    /// The command that starts a worker.
    pub(crate) launch: LaunchCommand,
    /// The limit of the host's object store in bytes.
    pub(crate) object_store_memory: u64,
    /// The folder of the spill file; the system's temporary folder if there is none.
    pub(crate) spill_dir: Option<PathBuf>,
    /// The limit of the spill file in bytes: 0 to disable spilling, `None` for half of the free space.
    pub(crate) spill_limit: Option<u64>,
    /// The folder of the workers' log files; standard error if there is none.
    pub(crate) log_dir: Option<PathBuf>,
    /// Up to this many bytes of an object travel in messages, larger parts through the store.
    pub(crate) inline_limit: u32,
    /// The longest sleep between two polls of the network while there is work.
    pub(crate) backoff: Duration,
}

/// The monitor's reply to the greeting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum GreetingReply {
    /// It is ready to start processes.
    Ready {
        /// The build of its own executable.
        build_id: String,
        /// The length of the segment, header included.
        segment: u64,
        /// The limit of its spill file in bytes.
        spill_limit: u64,
    },
    /// It cannot join the session.
    Refused(Error),
}

/// From the controller to the monitor of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToMonitor {
    /// Start a process.
    Start {
        /// The id of the process.
        process: ProcessId,
        /// Whether it hosts an actor.
        actor: bool,
    },
    /// Write these bytes into the ring of a process.
    Deliver {
        /// The process.
        process: ProcessId,
        /// Wake the process even if it runs a task.
        urgent: bool,
        /// The next bytes of its stream.
        bytes: Bytes,
    },
    /// Kill a process. [`FromMonitor::Lost`] follows.
    Kill(ProcessId),
    /// Send these parts of an object to another host. [`FromMonitor::SendStarted`] follows.
    Send {
        /// The id of the transfer.
        transfer: Transfer,
        /// The target.
        to: HostId,
        /// The parts, in the store or the spill file.
        parts: Vec<Blob>,
    },
    /// Receive parts of an object from another host into these blocks. [`FromMonitor::Received`] follows.
    Receive {
        /// The id of the transfer.
        transfer: Transfer,
        /// The source.
        from: HostId,
        /// The blocks, one for each part.
        blocks: Vec<Place>,
    },
    /// Reserve blocks of these lengths in the spill file. [`FromMonitor::Reserved`] follows.
    Reserve {
        /// The number of the order, repeated in the reply.
        ticket: u64,
        /// The lengths.
        lens: Vec<u64>,
    },
    /// Write these blocks of an object to the spill file. [`FromMonitor::Spilled`] follows.
    Spill {
        /// The object.
        id: DataId,
        /// Its blocks in the store.
        blocks: Vec<Block>,
    },
    /// Free this block of the spill file.
    FreeSpilled(Block),
    /// Forward everything that processes have sent so far. [`FromMonitor::Flushed`] follows.
    Flush,
    /// This host is lost: no more messages arrive from it.
    HostLost(HostId),
    /// Stop all processes, send [`FromMonitor::Ended`], and exit.
    End,
}

/// From the monitor of a host to the controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromMonitor {
    /// A process has joined.
    Joined {
        /// The process.
        process: ProcessId,
        /// Its id in the operating system of the host.
        pid: u32,
    },
    /// A process has ended or could not be started. It is the last message about it.
    Lost {
        /// The process.
        process: ProcessId,
        /// The reason, as far as it is known.
        why: String,
        /// The bytes of its input stream that it has consumed.
        taken: u64,
    },
    /// A process has sent bytes.
    Output {
        /// The process.
        process: ProcessId,
        /// The next bytes of its output stream.
        bytes: Bytes,
        /// The bytes of its input stream that it has consumed so far.
        taken: u64,
    },
    /// The parts are being sent, or could not be read: then other bytes are sent in their place, which are not used.
    SendStarted {
        /// The id of the transfer.
        transfer: Transfer,
        /// The reason if the parts could not be read.
        result: Result<(), String>,
    },
    /// The transfer has ended: the blocks are filled, or will not be. Nothing writes to them any more.
    Received {
        /// The id of the transfer.
        transfer: Transfer,
        /// The reason if the blocks will not be filled.
        result: Result<(), String>,
    },
    /// The transfer has failed, but the network may still write to the blocks at any time.
    Stuck(Transfer),
    /// These blocks of the spill file are reserved, or the reason why none are.
    Reserved {
        /// The number of the order.
        ticket: u64,
        /// The blocks.
        result: Result<Vec<Block>, SpillFailure>,
    },
    /// The blocks of this object were written to these blocks of the spill file, or the reason why not.
    Spilled {
        /// The object.
        id: DataId,
        /// Its blocks in the spill file.
        result: Result<Vec<Block>, SpillFailure>,
    },
    /// Everything that processes had sent was forwarded.
    Flushed,
    /// All processes have ended.
    Ended,
}

/// Why blocks could not be spilled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SpillFailure {
    /// The spill file has no space for them.
    Full,
    /// A write failed with this error.
    System(String),
}

impl From<SpillError> for SpillFailure {
    fn from(error: SpillError) -> Self {
        match error {
            SpillError::Full => SpillFailure::Full,
            SpillError::System(error) => SpillFailure::System(error.to_string()),
        }
    }
}

/// Messages to one host that are sent together, as one network message or, if they are very long, as several.
#[derive(Debug, Default)]
pub(crate) struct MessageBatch {
    /// Network messages that are complete.
    full: VecDeque<Vec<u8>>,
    open: Vec<u8>,
}

impl MessageBatch {
    /// Adds a message. If it cannot be encoded, the batch is unchanged.
    pub(crate) fn add<M: Serialize>(&mut self, message: &M) -> Result<(), WireError> {
        wire::append(message, MAX_MESSAGE_LEN, &mut self.open)?;
        if self.open.len() >= FULL_LEN {
            self.full.push_back(std::mem::take(&mut self.open));
        }
        Ok(())
    }

    /// Adds a part of a process's stream, in chunks that fit into messages.
    pub(crate) fn add_stream<M: Serialize>(
        &mut self,
        mut bytes: Bytes,
        message: impl Fn(Bytes) -> M,
    ) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(MAX_CHUNK));
            self.add(&message(chunk))?;
        }
        Ok(())
    }

    /// The next network message, if any is left.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let open = || (!self.open.is_empty()).then(|| std::mem::take(&mut self.open));
        self.full.pop_front().or_else(open)
    }
}

/// The messages of a batch, in order; the last item is an error if the batch is cut off or malformed.
pub(crate) fn unpack<M: DeserializeOwned>(
    mut bytes: &[u8],
) -> impl Iterator<Item = Result<M, WireError>> + use<'_, M> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let next = wire::split(bytes).and_then(|frame| {
            let (body, used) =
                frame.ok_or_else(|| WireError("a message from another host is cut off".into()))?;
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
    fn batch_is_unpacked_in_order() {
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
    fn long_batch_is_split_into_network_messages() {
        let (mut batch, process) = (MessageBatch::default(), ProcessId::CONTROLLER);
        let long = Bytes::from(vec![7; FULL_LEN]);
        batch.add_stream(long.clone(), |bytes| ToMonitor::Deliver { process, urgent: false, bytes }).unwrap();
        batch.add(&ToMonitor::Flush).unwrap();
        let messages: Vec<_> = std::iter::from_fn(|| batch.take()).collect();
        assert_eq!(messages.len(), 2);
        let mut total = 0;
        for message in messages.iter().flat_map(|bytes| unpack::<ToMonitor>(bytes)) {
            match message.unwrap() {
                ToMonitor::Deliver { bytes, .. } => total += bytes.len(),
                last => assert_eq!((last, total), (ToMonitor::Flush, FULL_LEN)),
            }
        }
    }

    #[test]
    fn long_stream_is_split_into_chunks() {
        let (mut batch, long) = (MessageBatch::default(), Bytes::from(vec![7; MAX_CHUNK + 1]));
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
