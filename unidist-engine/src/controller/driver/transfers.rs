//! Copies objects between hosts.
//!
//! Blocks are allocated on the target host, then both sides are told. The copy is complete when the source reports that
//! it sent the right bytes and the target that it received all of them. Blocks are freed only when nothing writes to
//! them any more. Each copy leads to one event for the scheduler.

use super::Driver;
use crate::network::{HostId, Transfer};
use crate::protocol::monitor::ToMonitor;
use crate::scheduler::{Copy, Event};
use crate::store::{Blob, Place};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use unidist_backend::WritableBuffer;
use unidist_common::{ErrorKind, TaskError};

/// The transfers in progress.
#[derive(Debug, Default)]
pub(super) struct Transfers(FxHashMap<Transfer, ActiveTransfer>);

#[derive(Debug)]
struct ActiveTransfer {
    copy: Copy,
    /// The blocks that are being filled.
    blocks: Vec<Place>,
    /// Whether the source sent the right bytes, once that is known.
    sent: Option<Result<(), String>>,
    /// Whether all bytes arrived, once no more will.
    received: Option<Result<(), String>>,
    /// The scheduler has been told that the copy fails.
    failure_reported: bool,
}

#[cfg(test)]
impl Transfers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Copy {
    /// The lengths of the parts to copy.
    pub(super) fn lens(&self) -> impl Iterator<Item = u64> + '_ {
        self.object.external_parts().filter_map(Blob::block).map(|block| block.len)
    }

    fn failure(&self, why: &str) -> Event {
        let text = format!("object {} cannot be copied from {} to {}: {why}", self.id, self.from, self.to);
        Event::Copied { transfer: self.transfer, result: Err(TaskError::new(ErrorKind::ObjectLost, text)) }
    }
}

impl Driver {
    /// Starts a copy that the scheduler wants.
    pub(super) fn copy(&mut self, copy: Copy) {
        let there = |host| host == HostId::CONTROLLER || self.hosts.as_ref().is_some_and(|all| all.has(host));
        if !there(copy.from) || !there(copy.to) || copy.from == copy.to {
            self.follow_up_events.push_back(copy.failure("one of the hosts is not part of the session"));
        } else if copy.lens().next().is_none() {
            let object = (*copy.object).clone();
            self.follow_up_events.push_back(Event::Copied { transfer: copy.transfer, result: Ok(object) });
        } else {
            self.allocate_for_copy(copy);
        }
    }

    /// The blocks of the copy are allocated.
    pub(super) fn begin_copy(&mut self, copy: Copy, blocks: Vec<Place>) {
        let prepared = self.prepare(&copy, &blocks);
        let (hosts, (memory, targets)) = match (&mut self.hosts, prepared) {
            (Some(hosts), Ok(prepared)) => (hosts, prepared),
            (_, prepared) => {
                let why = prepared.err().unwrap_or_else(|| "the session has a single host".into());
                self.follow_up_events.push_back(copy.failure(&why));
                return blocks.into_iter().for_each(|place| self.free_place(copy.to, place));
            }
        };
        let Copy { transfer, from, to, .. } = copy;
        match targets {
            Some(targets) => hosts.network.receive_memory(from, transfer, targets),
            None => hosts.send_to(to, &ToMonitor::Receive { transfer, from, blocks: blocks.clone() }),
        }
        let sent = memory.is_some().then_some(Ok(()));
        match memory {
            Some(memory) => hosts.network.send_memory(to, transfer, memory),
            None => {
                let parts = copy.object.external_parts().cloned().collect();
                hosts.send_to(from, &ToMonitor::Send { transfer, to, parts });
            }
        }
        self.transfers
            .0
            .insert(transfer, ActiveTransfer { copy, blocks, sent, received: None, failure_reported: false });
    }

    /// The memory of this host to send from and to receive into, if it is the source or the target.
    #[expect(clippy::type_complexity, reason = "used once, at once")]
    fn prepare(
        &self,
        copy: &Copy,
        blocks: &[Place],
    ) -> Result<(Option<Vec<Bytes>>, Option<Vec<Box<dyn WritableBuffer>>>), String> {
        let memory = (copy.from == HostId::CONTROLLER)
            .then(|| copy.object.external_parts().map(|part| self.local_store.read(part)).collect())
            .transpose()?;
        let writable = |place: &Place| self.local_store.writable(*place);
        let targets =
            (copy.to == HostId::CONTROLLER).then(|| blocks.iter().map(writable).collect()).transpose()?;
        Ok((memory, targets))
    }

    /// The source reports whether it sends the right bytes. Unknown transfers were given up meanwhile.
    pub(super) fn copy_sent(&mut self, host: HostId, transfer: Transfer, result: Result<(), String>) {
        if let Some(active) = self.transfers.0.get_mut(&transfer).filter(|active| active.copy.from == host) {
            active.sent = Some(result);
            self.finish_copy_if_done(transfer);
        }
    }

    /// The target reports whether it has all bytes.
    pub(super) fn copy_received(&mut self, host: HostId, transfer: Transfer, result: Result<(), String>) {
        if let Some(active) = self.transfers.0.get_mut(&transfer).filter(|active| active.copy.to == host) {
            active.received = Some(result);
            self.finish_copy_if_done(transfer);
        }
    }

    /// A lost host may write to the blocks of this copy forever: they are not used again.
    pub(super) fn copy_is_stuck(&mut self, host: HostId, transfer: Transfer) {
        if self.transfers.0.get(&transfer).is_some_and(|active| active.copy.to == host)
            && let Some(active) = self.transfers.0.remove(&transfer)
        {
            let bytes: u64 = active.blocks.iter().map(|place| place.block().size()).sum();
            log::warn!(
                "{bytes} bytes of the object store of {host} cannot be reused: a lost host may still write to them"
            );
            if !active.failure_reported {
                self.follow_up_events.push_back(active.copy.failure("its host was lost"));
            }
        }
    }

    /// Whether transfers to this host are in progress: its store will have more objects that can be spilled.
    pub(super) fn has_copies_to(&self, host: HostId) -> bool {
        self.transfers.0.values().any(|active| active.copy.to == host && !active.failure_reported)
    }

    fn finish_copy_if_done(&mut self, transfer: Transfer) {
        let Some(active) = self.transfers.0.get(&transfer) else { return };
        let (Some(sent), Some(received)) = (&active.sent, &active.received) else { return };
        let result = sent.clone().and(received.clone());
        let Some(ActiveTransfer { copy, blocks, failure_reported, .. }) = self.transfers.0.remove(&transfer)
        else {
            return;
        };
        let failed = match result {
            Ok(()) => {
                let mut blocks = blocks.into_iter();
                let object = copy.object.copied_with(|place| blocks.next().unwrap_or(place));
                return self.follow_up_events.push_back(Event::Copied { transfer, result: Ok(object) });
            }
            Err(why) => copy.failure(&why),
        };
        blocks.into_iter().for_each(|place| self.free_place(copy.to, place));
        if !failure_reported {
            self.follow_up_events.push_back(failed);
        }
    }

    /// A host is lost: transfers from and to it fail.
    pub(super) fn fail_transfers_of(&mut self, lost: HostId, name: &str) {
        let why = format!("host {name} was lost");
        let mut affected: Vec<_> = self.transfers.0.iter().collect();
        affected.retain(|(_, active)| active.copy.from == lost || active.copy.to == lost);
        let mut affected: Vec<_> = affected.into_iter().map(|(transfer, _)| *transfer).collect();
        affected.sort_unstable();
        for transfer in affected {
            let Some(active) = self.transfers.0.get_mut(&transfer) else { continue };
            if !std::mem::replace(&mut active.failure_reported, true) {
                self.follow_up_events.push_back(active.copy.failure(&why));
            }
            if active.copy.to == lost {
                self.transfers.0.remove(&transfer);
            } else {
                active.sent = Some(Err(why.clone()));
                self.finish_copy_if_done(transfer);
            }
        }
    }

    /// The network writes nothing more that comes from this host.
    pub(super) fn end_receives_from(&mut self, host: HostId) {
        let coming =
            |active: &ActiveTransfer| active.copy.from == host && active.copy.to == HostId::CONTROLLER;
        let coming: Vec<_> =
            self.transfers.0.iter().filter(|(_, active)| coming(active)).map(|(id, _)| *id).collect();
        for transfer in coming {
            self.copy_received(HostId::CONTROLLER, transfer, Err("its host was lost".into()));
        }
    }
}
