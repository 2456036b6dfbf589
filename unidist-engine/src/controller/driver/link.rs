//! The engine's end of the link to one process, on this host or a remote one.

use crate::link::channel::{Channel, Relayed};
use crate::link::ring::{LinkMemory, Side};
use crate::network::HostId;
use crate::protocol::wire::WireError;
use crate::protocol::worker::{FromWorker, ToWorker};
use crate::store::{Block, Place};
use rustc_hash::FxHashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use unidist_common::{ProcessId, TaskId};

/// The link to one process.
pub(super) struct Link {
    pub(super) process: ProcessId,
    pub(super) end: End,
    /// Blocks allocated to the process that are not part of an object yet.
    pub(super) unsealed: FxHashSet<Place>,
    /// Calls that the process may not have read, each with its end in the byte stream.
    undelivered: VecDeque<(u64, TaskId)>,
    /// There are bytes to flush; `urgent` if the process has to be woken for them.
    pub(super) dirty: bool,
    pub(super) urgent: bool,
    /// The process has sent an invalid message: nothing more is read, and the process is being killed.
    pub(super) broken: bool,
}

/// Where the rings of the link are.
pub(super) enum End {
    /// On this host.
    Here { memory: Arc<LinkMemory>, channel: Channel<ToWorker, FromWorker> },
    /// On a remote host, whose monitor forwards the bytes.
    There { host: HostId, channel: Relayed<ToWorker, FromWorker> },
}

impl Link {
    /// The link to a process on this host.
    pub(super) fn here(process: ProcessId, memory: Arc<LinkMemory>) -> Self {
        let channel = Channel::new(&memory, Side::Engine);
        Link::new(process, End::Here { memory, channel })
    }

    /// The link to a process on a remote host.
    pub(super) fn there(process: ProcessId, host: HostId) -> Self {
        Link::new(process, End::There { host, channel: Relayed::new() })
    }

    fn new(process: ProcessId, end: End) -> Self {
        Link {
            process,
            end,
            unsealed: FxHashSet::default(),
            undelivered: VecDeque::new(),
            dirty: false,
            urgent: false,
            broken: false,
        }
    }

    /// The host of the process.
    pub(super) fn host(&self) -> HostId {
        match self.end {
            End::Here { .. } => HostId::CONTROLLER,
            End::There { host, .. } => host,
        }
    }

    pub(super) fn send(&mut self, message: &ToWorker) -> Result<(), WireError> {
        // A busy worker reads its next task by itself; it may wait for any other message.
        self.urgent |= !matches!(message, ToWorker::Run(run) if !run.nested);
        self.dirty = true;
        let end = match &mut self.end {
            End::Here { channel, .. } => channel.send(message)?,
            End::There { channel, .. } => channel.send(message)?,
        };
        if let ToWorker::Run(run) = message {
            self.drop_delivered();
            self.undelivered.push_back((end, run.id));
        }
        Ok(())
    }

    /// The next message, if it has arrived completely.
    pub(super) fn receive(&mut self) -> Result<Option<FromWorker>, WireError> {
        match &mut self.end {
            End::Here { channel, .. } => channel.receive(),
            End::There { channel, .. } => channel.receive(),
        }
    }

    /// Wakes a process that waited for the space that reading has freed.
    pub(super) fn ring_if_starved(&mut self) {
        if let End::Here { memory, channel } = &mut self.end
            && channel.take_peer_starved()
        {
            memory.bell().ring();
        }
    }

    fn drop_delivered(&mut self) {
        let taken = match &self.end {
            End::Here { channel, .. } => channel.taken(),
            End::There { channel, .. } => channel.taken(),
        };
        while self.undelivered.front().is_some_and(|(end, _)| *end <= taken) {
            self.undelivered.pop_front();
        }
    }

    /// The calls that the process has not read.
    pub(super) fn undelivered(&mut self) -> Vec<TaskId> {
        self.drop_delivered();
        self.undelivered.iter().map(|(_, call)| *call).collect()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.broken
            && match &self.end {
                End::Here { channel, .. } => channel.has_input(),
                End::There { channel, .. } => channel.has_input(),
            }
    }

    pub(super) fn has_backlog(&self) -> bool {
        matches!(&self.end, End::Here { channel, .. } if channel.has_backlog())
    }

    pub(super) fn can_flush_backlog(&self) -> bool {
        !self.broken && matches!(&self.end, End::Here { channel, .. } if channel.can_flush())
    }

    /// Whether the process is on this host and, as far as is known, awake.
    pub(super) fn is_awake_here(&self) -> bool {
        matches!(&self.end, End::Here { memory, .. } if !memory.bell().is_driver_asleep())
    }

    /// Blocks of the segment that are allocated to the process and not part of an object yet.
    pub(super) fn unsealed_in_memory(&self) -> impl Iterator<Item = (ProcessId, Block)> + '_ {
        self.unsealed.iter().filter_map(|place| match place {
            Place::Memory(block) => Some((self.process, *block)),
            Place::Disk(_) => None,
        })
    }
}
