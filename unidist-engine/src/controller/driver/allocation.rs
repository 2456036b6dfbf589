//! Allocates blocks for objects that processes write and for transfers: at once if there is free space, else after
//! spilling. If objects in use fill the memory, the blocks are on disk. On this host, spilling ends within the poll; on a
//! remote host, when its monitor reports it.

use super::Driver;
use super::remote_store::{Allocation, Reservation};
use crate::controller::local_store::store_full_error;
use crate::network::HostId;
use crate::protocol::monitor::ToMonitor;
use crate::protocol::worker::{Reply, RequestId};
use crate::scheduler::{Copy, Event};
use crate::store::{Block, Place};
use unidist_backend::StoreUsage;
use unidist_common::{Error, ErrorKind, ProcessId, TaskError};

/// A request for blocks that could not be granted at once.
pub(super) struct DeferredAllocation {
    host: HostId,
    request_kind: AllocationRequest,
    /// Polls for which it has waited.
    polls: u32,
}

/// What a host has for a request.
enum Room {
    /// These blocks.
    Found(Vec<Place>),
    /// More may be free later: try again in the next poll.
    NotYet,
    /// Nothing, with the system's error if it reported one.
    Lacking(Option<String>),
}

impl Room {
    fn in_memory(blocks: Vec<Block>) -> Self {
        Room::Found(blocks.into_iter().map(Place::Memory).collect())
    }

    fn on_disk(blocks: Vec<Block>) -> Self {
        Room::Found(blocks.into_iter().map(Place::Disk).collect())
    }
}

enum AllocationRequest {
    /// A process asks for one block of this length.
    Block(ProcessId, RequestId, u64),
    /// The blocks of a copy.
    Copy(Copy),
}

impl AllocationRequest {
    fn lens(&self) -> Vec<u64> {
        match self {
            AllocationRequest::Block(_, _, len) => vec![*len],
            AllocationRequest::Copy(copy) => copy.lens().collect(),
        }
    }
}

impl Driver {
    /// Allocates a block for a process or the controller.
    pub(super) fn allocate(&mut self, host: HostId, process: ProcessId, request: RequestId, len: u64) {
        match self.allocate_at_once(host, &[len]) {
            Some(blocks) => {
                blocks.into_iter().for_each(|block| self.send_block(process, request, Place::Memory(block)))
            }
            // Messages that may free blocks are read first.
            None => self.defer_allocation(host, AllocationRequest::Block(process, request, len)),
        }
    }

    /// Allocates the blocks of a copy.
    pub(super) fn allocate_for_copy(&mut self, copy: Copy) {
        let lens: Vec<_> = copy.lens().collect();
        match self.allocate_at_once(copy.to, &lens) {
            Some(blocks) => self.begin_copy(copy, blocks.into_iter().map(Place::Memory).collect()),
            None => self.defer_allocation(copy.to, AllocationRequest::Copy(copy)),
        }
    }

    fn defer_allocation(&mut self, host: HostId, request_kind: AllocationRequest) {
        self.deferred_allocations.push(DeferredAllocation { host, request_kind, polls: 0 });
    }

    /// Blocks of these lengths, if all of them are free now.
    fn allocate_at_once(&mut self, host: HostId, lens: &[u64]) -> Option<Vec<Block>> {
        if host != HostId::CONTROLLER {
            return self.hosts.as_mut()?.get(host)?.store.allocate(lens);
        }
        let mut blocks = Vec::with_capacity(lens.len());
        for len in lens {
            match self.local_store.allocate(*len) {
                Some(block) => blocks.push(block),
                None => {
                    blocks.into_iter().for_each(|block| self.local_store.free(block));
                    return None;
                }
            }
        }
        Some(blocks)
    }

    /// Tries again to serve the requests that wait.
    pub(super) fn retry_deferred(&mut self) {
        if self.deferred_allocations.is_empty() && self.short_of_memory.is_empty() {
            return;
        }
        self.serve_deferred();
        let is_waiting =
            |host: &HostId| self.deferred_allocations.iter().any(|waiting| waiting.host == *host);
        let (still, no_more) = self.short_of_memory.iter().copied().partition(is_waiting);
        self.short_of_memory = still;
        let no_more: Vec<HostId> = no_more;
        if !no_more.is_empty() {
            no_more.into_iter().for_each(|host| self.handle(Event::MemoryFound(host)));
            self.scheduler.dispatch_into(&mut self.actions);
        }
    }

    fn serve_deferred(&mut self) {
        // On a remote host, objects are spilled for the first waiting request only.
        let mut waiting_for = Vec::new();
        for mut waiting in std::mem::take(&mut self.deferred_allocations) {
            let host = waiting.host;
            let is_first = !waiting_for.contains(&host);
            if let AllocationRequest::Block(process, ..) = waiting.request_kind
                && self.host_of(process).is_none()
            {
                self.finish_request(host, is_first);
                continue;
            }
            let more_may_be_free = self.has_work();
            if more_may_be_free && waiting.polls == 0 {
                waiting.polls = 1;
                waiting_for.push(host);
                self.deferred_allocations.push(waiting);
                continue;
            }
            let lens = waiting.request_kind.lens();
            // Objects that are being copied to the host can be spilled once they are complete.
            let may_wait = more_may_be_free || self.has_copies_to(host);
            let room = match self.allocate_at_once(host, &lens) {
                Some(blocks) => Room::in_memory(blocks),
                None if host == HostId::CONTROLLER => self.make_room_here(&lens, may_wait),
                None if is_first => self.make_room_there(host, &lens, may_wait),
                None => Room::NotYet,
            };
            match room {
                Room::Found(places) => {
                    self.finish_request(host, is_first);
                    self.grant(waiting.request_kind, places);
                }
                Room::Lacking(why) if !may_wait => {
                    self.finish_request(host, is_first);
                    let error = self.store_full(host, lens.iter().sum(), why);
                    self.refuse(waiting.request_kind, error);
                }
                Room::NotYet | Room::Lacking(_) => {
                    waiting_for.push(host);
                    self.deferred_allocations.push(waiting);
                }
            }
        }
    }

    fn finish_request(&mut self, host: HostId, is_first: bool) {
        let Some(hosts) = self.hosts.as_mut().filter(|_| is_first) else { return };
        let unused = hosts.get(host).map(|remote| remote.store.finish_request());
        unused.into_iter().flatten().for_each(|block| hosts.free_spilled(host, block));
    }

    /// Blocks of these lengths on this host: in memory, spilling other objects if necessary, else on disk.
    fn make_room_here(&mut self, lens: &[u64], may_wait: bool) -> Room {
        match self.local_store.allocate_spilling(lens, &mut self.scheduler) {
            Ok(blocks) => Room::in_memory(blocks),
            Err(_) if may_wait || self.take_arguments_back(HostId::CONTROLLER, lens) => Room::NotYet,
            Err(why) => match self.local_store.reserve_on_disk(lens) {
                Ok(blocks) => Room::on_disk(blocks),
                Err(error) => Room::Lacking(error.or(why)),
            },
        }
    }

    /// The same on a remote host.
    fn make_room_there(&mut self, host: HostId, lens: &[u64], may_wait: bool) -> Room {
        let mut orders = Vec::new();
        let Some(remote) = self.hosts.as_mut().and_then(|hosts| hosts.get(host)) else { return Room::NotYet };
        let room = match remote.store.allocate_spilling(host, lens, &self.scheduler, &mut orders) {
            Allocation::Ready(blocks) => Room::in_memory(blocks),
            Allocation::Spilling => Room::NotYet,
            Allocation::Full(_) if may_wait || self.take_arguments_back(host, lens) => Room::NotYet,
            Allocation::Full(why) => self.reserve_there(host, lens, why, &mut orders),
        };
        if let Some(hosts) = &mut self.hosts {
            orders.iter().for_each(|order| hosts.send_to(host, order));
        }
        room
    }

    fn reserve_there(
        &mut self,
        host: HostId,
        lens: &[u64],
        why: Option<String>,
        orders: &mut Vec<ToMonitor>,
    ) -> Room {
        let Some(remote) = self.hosts.as_mut().and_then(|hosts| hosts.get(host)) else { return Room::NotYet };
        match remote.store.reserve_on_disk(lens, orders) {
            Reservation::Made(blocks) => Room::on_disk(blocks),
            Reservation::Asked => Room::NotYet,
            Reservation::Failed(error) => Room::Lacking(error.or(why)),
        }
    }

    /// Has calls that have not started give back what they keep in the memory of this host; false if they keep nothing, or
    /// if that cannot help.
    fn take_arguments_back(&mut self, host: HostId, lens: &[u64]) -> bool {
        let wanted = lens.iter().fold(0_u64, |sum, len| sum.saturating_add(*len));
        if wanted > self.store_usage(host).limit || !self.scheduler.are_arguments_kept_ahead(host) {
            return false;
        }
        if !self.short_of_memory.contains(&host) {
            self.short_of_memory.push(host);
        }
        self.handle(Event::MemoryShort(host));
        true
    }

    /// The error of a request for which a host has no room.
    fn store_full(&mut self, host: HostId, requested: u64, why: Option<String>) -> Error {
        let usage = self.store_usage(host);
        let unsealed = self.links.iter().filter(|link| link.host() == host);
        let unsealed = unsealed.flat_map(|link| link.unsealed_in_memory());
        store_full_error(host, usage, requested, &self.scheduler, unsealed, why).into()
    }

    fn grant(&mut self, request_kind: AllocationRequest, places: Vec<Place>) {
        match request_kind {
            AllocationRequest::Block(process, request, _) => {
                places.into_iter().for_each(|place| self.send_block(process, request, place));
            }
            AllocationRequest::Copy(copy) => self.begin_copy(copy, places),
        }
    }

    fn refuse(&mut self, request_kind: AllocationRequest, error: Error) {
        match request_kind {
            AllocationRequest::Block(process, request, _) => {
                self.reply(process, request, Reply::Failed(error))
            }
            AllocationRequest::Copy(copy) => self
                .follow_up_events
                .push_back(Event::Copied { transfer: copy.transfer, result: Err(error.into()) }),
        }
    }

    fn send_block(&mut self, process: ProcessId, request: RequestId, place: Place) {
        if let Some(&at) = self.by_process.get(&process) {
            self.links[at].unsealed.insert(place);
        }
        self.reply(process, request, Reply::Allocated(place));
    }

    /// Drops the requests for blocks on a lost host, and for transfers from or to it.
    pub(super) fn drop_deferred(&mut self, lost: HostId) {
        let follow_up_events = &mut self.follow_up_events;
        self.deferred_allocations.retain(|waiting| match &waiting.request_kind {
            AllocationRequest::Block(..) => waiting.host != lost,
            AllocationRequest::Copy(copy) if copy.to == lost || copy.from == lost => {
                let text = format!("{lost} was lost before object {} was copied", copy.id);
                let error = TaskError::new(ErrorKind::ObjectLost, text);
                follow_up_events.push_back(Event::Copied { transfer: copy.transfer, result: Err(error) });
                false
            }
            AllocationRequest::Copy(_) => true,
        });
    }

    /// Usage of the store of a host.
    pub(super) fn store_usage(&mut self, host: HostId) -> StoreUsage {
        let remote = self.hosts.as_mut().and_then(|hosts| hosts.get(host));
        remote.map_or_else(|| self.local_store.usage(), |remote| remote.store.usage())
    }
}
