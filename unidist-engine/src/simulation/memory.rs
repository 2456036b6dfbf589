//! The simulated memory: blocks, in memory or on disk, and views of them.

use super::process::View;
use super::world::World;
use crate::network::HostId;
use crate::protocol::worker::{Request, Value};
use crate::scheduler::Event;
use crate::store::{Block, StoredObject};
use std::collections::BTreeMap;
use unidist_common::{DataId, ProcessId};

/// Each block has its own number, so a read after free is noticed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    last: u64,
    /// The allocated blocks, with their hosts and the number of their views.
    blocks: BTreeMap<u64, (HostId, u32)>,
}

impl Memory {
    pub(super) fn allocate(&mut self, host: HostId) -> Block {
        self.last += 1;
        self.blocks.insert(self.last, (host, 0));
        Block { offset: self.last, len: 1 }
    }

    /// A block whose announcement was lost with its process.
    pub(super) fn abandon(&mut self, block: Block) {
        self.blocks.remove(&block.offset);
    }

    /// The memory of a host is gone.
    pub(super) fn lose(&mut self, host: HostId) {
        self.blocks.retain(|_, (at, _)| *at != host);
    }

    pub(super) fn free(&mut self, host: HostId, block: Block, broken: impl FnOnce(String)) {
        match self.blocks.remove(&block.offset) {
            None => broken(format!("block {} is freed twice", block.offset)),
            Some((at, _)) if at != host => {
                broken(format!("block {} of {at} is freed on {host}", block.offset))
            }
            Some((_, 0)) => {}
            Some((_, views)) => broken(format!("block {} is freed with {views} views", block.offset)),
        }
    }

    /// Adds a view of this object on this host; returns its blocks.
    pub(super) fn view(
        &mut self,
        host: HostId,
        object: &StoredObject,
        mut broken: impl FnMut(String),
    ) -> Vec<u64> {
        let blocks = object.blocks().chain(object.spilled_blocks()).map(|block| block.offset);
        blocks
            .inspect(|block| match self.blocks.get_mut(block) {
                Some((at, _)) if *at != host => broken(format!("block {block} of {at} is read on {host}")),
                Some((_, views)) => *views += 1,
                None => broken(format!("block {block} is read after it was freed")),
            })
            .collect()
    }

    pub(super) fn end_view(&mut self, blocks: &[u64]) {
        for block in blocks {
            if let Some((_, views)) = self.blocks.get_mut(block) {
                *views -= 1;
            }
        }
    }

    /// An allocated block, if there is one.
    pub(super) fn first(&self) -> Option<u64> {
        self.blocks.keys().next().copied()
    }
}

impl World {
    pub(super) fn new_block(&mut self, host: HostId) -> Block {
        self.memory.allocate(host)
    }

    /// Adds a view of this object for a process on this host, if the object has external parts.
    pub(super) fn view(&mut self, host: HostId, id: DataId, object: &StoredObject) -> Option<View> {
        let broken = &mut self.broken;
        let mut view = || self.memory.view(host, object, |what| _ = broken.get_or_insert(what));
        object.has_external_parts().then(|| (id, view()))
    }

    /// Adds views of these values, which a process on this host has received.
    pub(super) fn view_all(&mut self, host: HostId, ids: &[DataId], values: &[Value]) -> Vec<View> {
        let ready = ids.iter().zip(values).filter_map(|(id, value)| match value {
            Value::Ready(object) => Some((*id, object.clone())),
            Value::Failed(_) => None,
        });
        ready.filter_map(|(id, object)| self.view(host, id, &object)).collect()
    }

    pub(super) fn end_view(&mut self, view: &View) {
        self.memory.end_view(&view.1);
    }

    /// The program drops a view.
    pub(super) fn drop_view(&mut self, view: View) {
        self.end_view(&view);
        self.handle(Event::Request { process: ProcessId::CONTROLLER, request: Request::UnpinView(view.0) });
    }

    /// Memory is short: some of the objects that the scheduler offers are moved to disk.
    pub(super) fn spill(&mut self) {
        let host = HostId::new(self.rng.u32(0..self.hosts));
        let mut after = 0;
        while let Some((moment, id, object)) = self.scheduler.next_victim(host, after) {
            after = moment;
            if self.rng.bool() {
                let mut moved = Vec::new();
                let object = object.spilled_with(|_| {
                    moved.push(self.memory.allocate(host));
                    moved.last().copied().ok_or(())
                });
                let Ok(object) = object else { return };
                self.handle(Event::Spilled { host, id, object, moved });
            }
        }
    }
}
