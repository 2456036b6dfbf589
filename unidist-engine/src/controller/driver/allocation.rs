//! Room in a store for what processes write and for copies of objects: at once if there is some, else made by spilling,
//! on this host within the turn, on another one as soon as its monitor has done so.

use super::Driver;
use super::remote_store::Room;
use crate::controller::local_store::full;
use crate::network::HostId;
use crate::protocol::worker::{Reply, RequestId};
use crate::scheduler::{Copy, Event};
use crate::store::Block;
use unidist_backend::StoreUsage;
use unidist_common::{Error, ErrorKind, ProcessId, Result, TaskError};

/// Something that wants blocks of a store which were not there at once.
pub(super) struct DeferredAllocation {
    host: HostId,
    wants: Wants,
    /// For how many turns it has waited.
    turns: u32,
}

enum Wants {
    /// A process asks for one block of this length.
    Block(ProcessId, RequestId, u64),
    /// A copy is to be made.
    Copy(Copy),
}

impl Wants {
    fn lens(&self) -> Vec<u64> {
        match self {
            Wants::Block(_, _, len) => vec![*len],
            Wants::Copy(copy) => copy.lens().collect(),
        }
    }
}

impl Driver {
    /// A process of this host, or the controller, asks for a block.
    pub(super) fn allocate(&mut self, host: HostId, process: ProcessId, request: RequestId, len: u64) {
        match self.room_at_once(host, &[len]) {
            Some(blocks) => self.hand_out(process, request, &blocks),
            // First, everything is read that may free something.
            None => self.defer_allocation(host, Wants::Block(process, request, len)),
        }
    }

    /// Makes room for a copy, sooner or later.
    pub(super) fn allocate_for_copy(&mut self, copy: Copy) {
        let lens: Vec<_> = copy.lens().collect();
        match self.room_at_once(copy.to, &lens) {
            Some(blocks) => self.begin_copy(copy, blocks),
            None => self.defer_allocation(copy.to, Wants::Copy(copy)),
        }
    }

    fn defer_allocation(&mut self, host: HostId, wants: Wants) {
        self.deferred_allocations.push(DeferredAllocation { host, wants, turns: 0 });
    }

    /// SharedArena of these lengths, if all of them are there now.
    fn room_at_once(&mut self, host: HostId, lens: &[u64]) -> Option<Vec<Block>> {
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

    pub(super) fn retry_deferred(&mut self) {
        // Only the first of those that wait for room on another host has some made.
        let mut waiting_for = Vec::new();
        for mut waiting in std::mem::take(&mut self.deferred_allocations) {
            let host = waiting.host;
            let is_first = !waiting_for.contains(&host);
            if let Wants::Block(process, ..) = waiting.wants
                && self.host_of(process).is_none()
            {
                self.first_is_done(host, is_first);
                continue;
            }
            let more_may_be_free = self.has_work();
            if more_may_be_free && waiting.turns == 0 {
                waiting.turns = 1;
                waiting_for.push(host);
                self.deferred_allocations.push(waiting);
                continue;
            }
            let lens = waiting.wants.lens();
            let room = match self.room_at_once(host, &lens) {
                Some(blocks) => Ok(Some(blocks)),
                None if host == HostId::CONTROLLER => self.make_room_here(&lens).map(Some),
                None if is_first => self.make_room_there(host, &lens),
                None => Ok(None),
            };
            match room {
                Ok(Some(blocks)) => {
                    self.first_is_done(host, is_first);
                    self.grant(waiting.wants, blocks);
                }
                // What is being copied here can be spilled once it is there.
                Err(error) if !more_may_be_free && !self.are_coming_to(host) => {
                    self.first_is_done(host, is_first);
                    self.refuse(waiting.wants, error);
                }
                Ok(None) | Err(_) => {
                    waiting_for.push(host);
                    self.deferred_allocations.push(waiting);
                }
            }
        }
    }

    fn first_is_done(&mut self, host: HostId, is_first: bool) {
        if is_first && let Some(remote) = self.hosts.as_mut().and_then(|hosts| hosts.get(host)) {
            remote.store.first_is_done();
        }
    }

    /// SharedArena of these lengths on this host, for which others are spilled if they have to.
    fn make_room_here(&mut self, lens: &[u64]) -> Result<Vec<Block>> {
        let mut blocks = Vec::with_capacity(lens.len());
        for len in lens {
            let drafts = self.links.iter().filter(|link| link.host() == HostId::CONTROLLER);
            let drafts = drafts.flat_map(|link| link.drafts());
            match self.local_store.make_room(*len, &mut self.scheduler, drafts) {
                Ok(block) => blocks.push(block),
                Err(error) => {
                    blocks.into_iter().for_each(|block| self.local_store.free(block));
                    return Err(error);
                }
            }
        }
        Ok(blocks)
    }

    /// The same on another host: nothing yet as long as its monitor is at it.
    fn make_room_there(&mut self, host: HostId, lens: &[u64]) -> Result<Option<Vec<Block>>> {
        let Some(hosts) = &mut self.hosts else { return Ok(None) };
        let Some(remote) = hosts.get(host) else { return Ok(None) };
        let mut orders = Vec::new();
        let room = remote.store.make_room(host, lens, &self.scheduler, &mut orders);
        let usage = remote.store.usage();
        orders.iter().for_each(|order| hosts.tell(host, order));
        match room {
            Room::Made(blocks) => Ok(Some(blocks)),
            Room::Later => Ok(None),
            Room::None(why) => {
                let drafts = self.links.iter().filter(|link| link.host() == host);
                let drafts = drafts.flat_map(|link| link.drafts());
                Err(full(host, usage, lens.iter().sum(), &self.scheduler, drafts, why).into())
            }
        }
    }

    fn grant(&mut self, wants: Wants, blocks: Vec<Block>) {
        match wants {
            Wants::Block(process, request, _) => self.hand_out(process, request, &blocks),
            Wants::Copy(copy) => self.begin_copy(copy, blocks),
        }
    }

    fn refuse(&mut self, wants: Wants, error: Error) {
        match wants {
            Wants::Block(process, request, _) => self.reply(process, request, Reply::Failed(error)),
            Wants::Copy(copy) => {
                self.outcomes.push_back(Event::Copied { transfer: copy.transfer, result: Err(error.into()) })
            }
        }
    }

    fn hand_out(&mut self, process: ProcessId, request: RequestId, blocks: &[Block]) {
        for block in blocks {
            if let Some(&at) = self.by_process.get(&process) {
                self.links[at].drafts.insert(block.offset, block.len);
            }
            self.reply(process, request, Reply::Allocated(*block));
        }
    }

    /// Nobody waits for room on this host any more, nor for room for copies from it.
    pub(super) fn drop_deferred(&mut self, lost: HostId) {
        let outcomes = &mut self.outcomes;
        self.deferred_allocations.retain(|waiting| match &waiting.wants {
            Wants::Block(..) => waiting.host != lost,
            Wants::Copy(copy) if copy.to == lost || copy.from == lost => {
                let text = format!("{lost} was lost before object {} was copied", copy.id);
                let error = TaskError::new(ErrorKind::ObjectLost, text);
                outcomes.push_back(Event::Copied { transfer: copy.transfer, result: Err(error) });
                false
            }
            Wants::Copy(_) => true,
        });
    }

    /// How full the store of a host is.
    pub(super) fn store_usage(&mut self, host: HostId) -> StoreUsage {
        let remote = self.hosts.as_mut().and_then(|hosts| hosts.get(host));
        remote.map_or_else(|| self.local_store.usage(), |remote| remote.store.usage())
    }
}
