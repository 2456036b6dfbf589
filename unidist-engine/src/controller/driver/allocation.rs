//! Allocates blocks for objects that processes write and for transfers: at once if there is free space, else after
//! spilling. On this host, spilling ends within the poll; on a remote host, when its monitor reports it.

use super::Driver;
use super::remote_store::Allocation;
use crate::controller::local_store::store_full_error;
use crate::network::HostId;
use crate::protocol::worker::{Reply, RequestId};
use crate::scheduler::{Copy, Event};
use crate::store::Block;
use unidist_backend::StoreUsage;
use unidist_common::{Error, ErrorKind, ProcessId, Result, TaskError};

/// A request for blocks that could not be granted at once.
pub(super) struct DeferredAllocation {
    host: HostId,
    request_kind: AllocationRequest,
    /// Polls for which it has waited.
    polls: u32,
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
            Some(blocks) => self.send_blocks(process, request, &blocks),
            // Messages that may free blocks are read first.
            None => self.defer_allocation(host, AllocationRequest::Block(process, request, len)),
        }
    }

    /// Allocates the blocks of a copy.
    pub(super) fn allocate_for_copy(&mut self, copy: Copy) {
        let lens: Vec<_> = copy.lens().collect();
        match self.allocate_at_once(copy.to, &lens) {
            Some(blocks) => self.begin_copy(copy, blocks),
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

    pub(super) fn retry_deferred(&mut self) {
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
            let room = match self.allocate_at_once(host, &lens) {
                Some(blocks) => Ok(Some(blocks)),
                None if host == HostId::CONTROLLER => self.allocate_here_spilling(&lens).map(Some),
                None if is_first => self.allocate_there_spilling(host, &lens),
                None => Ok(None),
            };
            match room {
                Ok(Some(blocks)) => {
                    self.finish_request(host, is_first);
                    self.grant(waiting.request_kind, blocks);
                }
                // Objects that are being copied to the host can be spilled once they are complete.
                Err(error) if !more_may_be_free && !self.has_copies_to(host) => {
                    self.finish_request(host, is_first);
                    self.refuse(waiting.request_kind, error);
                }
                Ok(None) | Err(_) => {
                    waiting_for.push(host);
                    self.deferred_allocations.push(waiting);
                }
            }
        }
    }

    fn finish_request(&mut self, host: HostId, is_first: bool) {
        if is_first && let Some(remote) = self.hosts.as_mut().and_then(|hosts| hosts.get(host)) {
            remote.store.finish_request();
        }
    }

    /// Blocks of these lengths on this host, spilling other objects if necessary.
    fn allocate_here_spilling(&mut self, lens: &[u64]) -> Result<Vec<Block>> {
        let mut blocks = Vec::with_capacity(lens.len());
        for len in lens {
            let unsealed = self.links.iter().filter(|link| link.host() == HostId::CONTROLLER);
            let unsealed = unsealed.flat_map(|link| link.unsealed());
            match self.local_store.allocate_spilling(*len, &mut self.scheduler, unsealed) {
                Ok(block) => blocks.push(block),
                Err(error) => {
                    blocks.into_iter().for_each(|block| self.local_store.free(block));
                    return Err(error);
                }
            }
        }
        Ok(blocks)
    }

    /// Blocks of these lengths on a remote host; none yet while its monitor spills objects.
    fn allocate_there_spilling(&mut self, host: HostId, lens: &[u64]) -> Result<Option<Vec<Block>>> {
        let Some(hosts) = &mut self.hosts else { return Ok(None) };
        let Some(remote) = hosts.get(host) else { return Ok(None) };
        let mut orders = Vec::new();
        let room = remote.store.allocate_spilling(host, lens, &self.scheduler, &mut orders);
        let usage = remote.store.usage();
        orders.iter().for_each(|order| hosts.send_to(host, order));
        match room {
            Allocation::Ready(blocks) => Ok(Some(blocks)),
            Allocation::Spilling => Ok(None),
            Allocation::Full(why) => {
                let unsealed = self.links.iter().filter(|link| link.host() == host);
                let unsealed = unsealed.flat_map(|link| link.unsealed());
                Err(store_full_error(host, usage, lens.iter().sum(), &self.scheduler, unsealed, why).into())
            }
        }
    }

    fn grant(&mut self, request_kind: AllocationRequest, blocks: Vec<Block>) {
        match request_kind {
            AllocationRequest::Block(process, request, _) => self.send_blocks(process, request, &blocks),
            AllocationRequest::Copy(copy) => self.begin_copy(copy, blocks),
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

    fn send_blocks(&mut self, process: ProcessId, request: RequestId, blocks: &[Block]) {
        for block in blocks {
            if let Some(&at) = self.by_process.get(&process) {
                self.links[at].unsealed.insert(block.offset, block.len);
            }
            self.reply(process, request, Reply::Allocated(*block));
        }
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
