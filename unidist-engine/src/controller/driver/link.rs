//! The engine's end of the link to one process, on this host or on another.

use crate::link::channel::{Channel, Relayed};
use crate::link::ring::{LinkMemory, Side};
use crate::network::HostId;
use crate::protocol::wire::WireError;
use crate::protocol::worker::{FromWorker, ToWorker};
use crate::store::Block;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use unidist_common::{DataId, ProcessId};

/// The link to one process.
pub(super) struct Link {
    pub(super) process: ProcessId,
    pub(super) end: End,
    /// SharedArena that the process was given and that are not part of an object, by offset.
    pub(super) drafts: FxHashMap<u64, u64>,
    /// Calls that the process may not have seen, each with the place in the stream where it ends.
    unseen: VecDeque<(u64, DataId)>,
    /// There is something to flush, and whether it must not wait until the process looks by itself.
    pub(super) dirty: bool,
    pub(super) urgent: bool,
    /// The process has sent nonsense: nothing more is read, and it is being killed.
    pub(super) broken: bool,
}

/// Where the rings of the link are.
pub(super) enum End {
    /// On this host.
    Here { memory: Arc<LinkMemory>, channel: Channel<ToWorker, FromWorker> },
    /// On another one, whose monitor passes the bytes on.
    There { host: HostId, channel: Relayed<ToWorker, FromWorker> },
}

impl Link {
    /// The link to a process of this host.
    pub(super) fn here(process: ProcessId, memory: Arc<LinkMemory>) -> Self {
        let channel = Channel::new(&memory, Side::Engine);
        Link::new(process, End::Here { memory, channel })
    }

    /// The link to a process of another host.
    pub(super) fn there(process: ProcessId, host: HostId) -> Self {
        Link::new(process, End::There { host, channel: Relayed::new() })
    }

    fn new(process: ProcessId, end: End) -> Self {
        Link {
            process,
            end,
            drafts: FxHashMap::default(),
            unseen: VecDeque::new(),
            dirty: false,
            urgent: false,
            broken: false,
        }
    }

    /// Where the process is.
    pub(super) fn host(&self) -> HostId {
        match self.end {
            End::Here { .. } => HostId::CONTROLLER,
            End::There { host, .. } => host,
        }
    }

    pub(super) fn send(&mut self, message: &ToWorker) -> Result<(), WireError> {
        // A busy worker comes to its next task by itself; everything else may be what it waits for.
        self.urgent |= !matches!(message, ToWorker::Run(run) if !run.nested);
        self.dirty = true;
        let end = match &mut self.end {
            End::Here { channel, .. } => channel.send(message)?,
            End::There { channel, .. } => channel.send(message)?,
        };
        if let ToWorker::Run(run) = message {
            self.forget_seen();
            self.unseen.push_back((end, run.id));
        }
        Ok(())
    }

    /// The next message, if a whole one is there.
    pub(super) fn receive(&mut self) -> Result<Option<FromWorker>, WireError> {
        match &mut self.end {
            End::Here { channel, .. } => channel.receive(),
            End::There { channel, .. } => channel.receive(),
        }
    }

    /// Rings for a process that was waiting for the room that reading has made.
    pub(super) fn ring_if_starved(&mut self) {
        if let End::Here { memory, channel } = &mut self.end
            && channel.take_peer_starved()
        {
            memory.bell().ring();
        }
    }

    fn forget_seen(&mut self) {
        let taken = match &self.end {
            End::Here { channel, .. } => channel.taken(),
            End::There { channel, .. } => channel.taken(),
        };
        while self.unseen.front().is_some_and(|(end, _)| *end <= taken) {
            self.unseen.pop_front();
        }
    }

    /// The calls that the process has never seen.
    pub(super) fn unseen(&mut self) -> Vec<DataId> {
        self.forget_seen();
        self.unseen.iter().map(|(_, call)| *call).collect()
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

    pub(super) fn has_room_for_backlog(&self) -> bool {
        !self.broken && matches!(&self.end, End::Here { channel, .. } if channel.can_flush())
    }

    /// Whether the process is of this host, and awake as far as is known.
    pub(super) fn is_awake_here(&self) -> bool {
        matches!(&self.end, End::Here { memory, .. } if !memory.bell().is_driver_asleep())
    }

    /// The blocks that the process was given and that are not part of an object.
    pub(super) fn drafts(&self) -> impl Iterator<Item = (ProcessId, Block)> + '_ {
        self.drafts.iter().map(|(&offset, &len)| (self.process, Block { offset, len }))
    }
}
