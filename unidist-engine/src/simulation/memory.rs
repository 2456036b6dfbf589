//! The simulated memory: blocks, in memory or on disk, and views of them.

use super::frame::View;
use super::world::World;
use crate::network::HostId;
use crate::protocol::worker::{Request, Value};
use crate::scheduler::Event;
use crate::store::{Block, Place, StoredObject};
use std::collections::BTreeMap;
use unidist_common::{DataId, ProcessId};

/// Each block has its own number, so a read after free is noticed.
#[derive(Debug)]
pub(super) struct Memory {
    last: u64,
    /// The most bytes in the memory of each host.
    limit: u64,
    /// Whether the hosts have spill files.
    pub(super) has_disk: bool,
    blocks: BTreeMap<u64, Allocated>,
}

/// An allocated block.
#[derive(Debug)]
struct Allocated {
    host: HostId,
    place: Place,
    /// The number of its views.
    views: u32,
}

impl Memory {
    pub(super) fn new(limit: u64, has_disk: bool) -> Self {
        Memory { last: 0, limit, has_disk, blocks: BTreeMap::new() }
    }

    /// A block in the memory of a host, if there is room.
    pub(super) fn allocate(&mut self, host: HostId, len: u64) -> Option<Place> {
        let wanted = Block { offset: 0, len }.size();
        (self.used(host) + wanted <= self.limit).then(|| self.add(host, len, Place::Memory))
    }

    pub(super) fn allocate_on_disk(&mut self, host: HostId, len: u64) -> Option<Place> {
        self.has_disk.then(|| self.add(host, len, Place::Disk))
    }

    fn add(&mut self, host: HostId, len: u64, place: fn(Block) -> Place) -> Place {
        self.last += 1;
        let place = place(Block { offset: self.last, len });
        self.blocks.insert(self.last, Allocated { host, place, views: 0 });
        place
    }

    fn used(&self, host: HostId) -> u64 {
        let in_memory = |block: &Allocated| match block.place {
            Place::Memory(memory) if block.host == host => memory.size(),
            _ => 0,
        };
        self.blocks.values().map(in_memory).sum()
    }

    /// Whether a request of this length may ever be granted in memory.
    pub(super) fn may_hold(&self, len: u64) -> bool {
        len <= self.limit
    }

    /// A block whose announcement was lost with its process.
    pub(super) fn abandon(&mut self, place: Place) {
        self.blocks.remove(&place.block().offset);
    }

    /// The memory of a host is gone.
    pub(super) fn lose(&mut self, host: HostId) {
        self.blocks.retain(|_, block| block.host != host);
    }

    pub(super) fn free(&mut self, host: HostId, place: Place, broken: impl FnOnce(String)) {
        match self.blocks.remove(&place.block().offset) {
            None => broken(format!("{place:?} is freed twice")),
            Some(block) if (block.host, block.place) != (host, place) => {
                broken(format!("{:?} of {} is freed as {place:?} on {host}", block.place, block.host))
            }
            Some(Allocated { views: 0, .. }) => {}
            Some(Allocated { views, .. }) => broken(format!("{place:?} is freed with {views} views")),
        }
    }

    /// Adds a view of this object on this host; returns its blocks.
    pub(super) fn view(
        &mut self,
        host: HostId,
        object: &StoredObject,
        mut broken: impl FnMut(String),
    ) -> Vec<u64> {
        object
            .places()
            .map(|place| {
                match self.blocks.get_mut(&place.block().offset) {
                    Some(block) if (block.host, block.place) != (host, place) => {
                        broken(format!("{:?} of {} is read as {place:?} on {host}", block.place, block.host));
                    }
                    Some(block) => block.views += 1,
                    None => broken(format!("{place:?} is read after it was freed")),
                }
                place.block().offset
            })
            .collect()
    }

    pub(super) fn end_view(&mut self, blocks: &[u64]) {
        for block in blocks {
            if let Some(block) = self.blocks.get_mut(block) {
                block.views -= 1;
            }
        }
    }

    /// An allocated block, if there is one.
    pub(super) fn first(&self) -> Option<u64> {
        self.blocks.keys().next().copied()
    }
}

impl World {
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

    /// Some of the objects that the scheduler offers are moved to disk.
    pub(super) fn spill(&mut self) {
        let host = HostId::new(self.rng.u32(0..self.hosts));
        let mut after = 0;
        while let Some(moment) = self.spill_next(host, after) {
            after = moment;
        }
    }

    /// Moves an object that was last used after this moment to disk, or not; the moment of its last use.
    fn spill_next(&mut self, host: HostId, after: u64) -> Option<u64> {
        let (moment, id, object) = self.scheduler.next_victim(host, after)?;
        if self.memory.has_disk && self.rng.bool() {
            self.spill_object(host, id, &object);
        }
        Some(moment)
    }

    pub(super) fn spill_object(&mut self, host: HostId, id: DataId, object: &StoredObject) {
        let mut moved = Vec::new();
        let object = object.spilled_with(|block| {
            moved.extend(self.memory.allocate_on_disk(host, block.len).map(Place::block));
            moved.last().copied().ok_or(())
        });
        if let Ok(object) = object {
            self.handle(Event::Spilled { host, id, object, moved });
        }
    }
}
