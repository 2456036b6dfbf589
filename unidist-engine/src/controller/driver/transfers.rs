//! Objects that are copied from one host to another.
//!
//! Room is made where the copy is wanted, then both sides are told; the copy is there when one side has said that it
//! sent the right bytes and the other that it has all of them. What is being filled is freed only when nobody fills it
//! any more. Each copy that the scheduler wants leads to one event.

use super::Driver;
use crate::network::{HostId, Transfer};
use crate::protocol::monitor::ToMonitor;
use crate::scheduler::{Copy, Event};
use crate::store::{Blob, Block};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use unidist_backend::WritableBuffer;
use unidist_common::{ErrorKind, TaskError};

/// The copies that are under way.
#[derive(Debug, Default)]
pub(super) struct Transfers(FxHashMap<Transfer, ActiveTransfer>);

#[derive(Debug)]
struct ActiveTransfer {
    copy: Copy,
    /// What is being filled.
    blocks: Vec<Block>,
    /// Whether the right bytes were sent, once that is known.
    sent: Option<Result<(), String>>,
    /// Whether all of them came, once nothing more comes.
    received: Option<Result<(), String>>,
    /// The scheduler knows already that it fails.
    told: bool,
}

#[cfg(test)]
impl Transfers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Copy {
    /// How long the parts are that are to be copied.
    pub(super) fn lens(&self) -> impl Iterator<Item = u64> + '_ {
        self.object.external_parts().filter_map(Blob::block).map(|block| block.len)
    }

    fn failure(&self, why: &str) -> Event {
        let text = format!("object {} cannot be copied from {} to {}: {why}", self.id, self.from, self.to);
        Event::Copied { transfer: self.transfer, result: Err(TaskError::new(ErrorKind::ObjectLost, text)) }
    }
}

impl Driver {
    /// The scheduler wants this copy.
    pub(super) fn copy(&mut self, copy: Copy) {
        let there = |host| host == HostId::CONTROLLER || self.hosts.as_ref().is_some_and(|all| all.has(host));
        if !there(copy.from) || !there(copy.to) || copy.from == copy.to {
            self.outcomes.push_back(copy.failure("one of the two is not part of the session"));
        } else if copy.lens().next().is_none() {
            let object = (*copy.object).clone();
            self.outcomes.push_back(Event::Copied { transfer: copy.transfer, result: Ok(object) });
        } else {
            self.allocate_for_copy(copy);
        }
    }

    /// There is room for the copy.
    pub(super) fn begin_copy(&mut self, copy: Copy, blocks: Vec<Block>) {
        let prepared = self.prepare(&copy, &blocks);
        let (hosts, (memory, targets)) = match (&mut self.hosts, prepared) {
            (Some(hosts), Ok(prepared)) => (hosts, prepared),
            (_, prepared) => {
                let why = prepared.err().unwrap_or_else(|| "there is one host only".into());
                self.outcomes.push_back(copy.failure(&why));
                return blocks.into_iter().for_each(|block| self.free(copy.to, block));
            }
        };
        let Copy { transfer, from, to, .. } = copy;
        match targets {
            Some(targets) => hosts.network.receive_memory(from, transfer, targets),
            None => hosts.tell(to, &ToMonitor::Receive(transfer, from, blocks.clone())),
        }
        let sent = memory.is_some().then_some(Ok(()));
        match memory {
            Some(memory) => hosts.network.send_memory(to, transfer, memory),
            None => {
                let parts = copy.object.external_parts().cloned().collect();
                hosts.tell(from, &ToMonitor::Send(transfer, to, parts));
            }
        }
        self.copies.0.insert(transfer, ActiveTransfer { copy, blocks, sent, received: None, told: false });
    }

    /// What this host has to give, and what it gets, if it is one of the two.
    #[expect(clippy::type_complexity, reason = "used once, at once")]
    fn prepare(
        &self,
        copy: &Copy,
        blocks: &[Block],
    ) -> Result<(Option<Vec<Bytes>>, Option<Vec<Box<dyn WritableBuffer>>>), String> {
        let memory = (copy.from == HostId::CONTROLLER)
            .then(|| copy.object.external_parts().map(|part| self.local_store.read(part)).collect())
            .transpose()?;
        let writable = |block: &Block| {
            let writable = self.local_store.writable(*block).ok_or("a block is out of bounds")?;
            Ok::<_, String>(Box::new(writable) as Box<dyn WritableBuffer>)
        };
        let targets =
            (copy.to == HostId::CONTROLLER).then(|| blocks.iter().map(writable).collect()).transpose()?;
        Ok((memory, targets))
    }

    /// The source says whether it sends the right bytes. One of which nothing is known was given up meanwhile.
    pub(super) fn copy_sent(&mut self, host: HostId, transfer: Transfer, result: Result<(), String>) {
        if let Some(moving) = self.copies.0.get_mut(&transfer).filter(|moving| moving.copy.from == host) {
            moving.sent = Some(result);
            self.copy_went_on(transfer);
        }
    }

    /// The target says whether it has all bytes.
    pub(super) fn copy_received(&mut self, host: HostId, transfer: Transfer, result: Result<(), String>) {
        if let Some(moving) = self.copies.0.get_mut(&transfer).filter(|moving| moving.copy.to == host) {
            moving.received = Some(result);
            self.copy_went_on(transfer);
        }
    }

    /// The blocks of this copy may be written to for ever: nobody gets them again.
    pub(super) fn copy_is_stuck(&mut self, host: HostId, transfer: Transfer) {
        if self.copies.0.get(&transfer).is_some_and(|moving| moving.copy.to == host)
            && let Some(moving) = self.copies.0.remove(&transfer)
        {
            let bytes: u64 = moving.blocks.iter().map(|block| block.size()).sum();
            log::warn!(
                "{bytes} bytes of the store of {host} are not used again: a lost host may still write to them"
            );
            if !moving.told {
                self.outcomes.push_back(moving.copy.failure("its host was lost"));
            }
        }
    }

    /// Whether copies are on their way to this host, so that its store will have more that may be spilled.
    pub(super) fn are_coming_to(&self, host: HostId) -> bool {
        self.copies.0.values().any(|moving| moving.copy.to == host && !moving.told)
    }

    fn copy_went_on(&mut self, transfer: Transfer) {
        let Some(moving) = self.copies.0.get(&transfer) else { return };
        let (Some(sent), Some(received)) = (&moving.sent, &moving.received) else { return };
        let result = sent.clone().and(received.clone());
        let Some(ActiveTransfer { copy, blocks, told, .. }) = self.copies.0.remove(&transfer) else { return };
        let failed = match result {
            Ok(()) => {
                let mut blocks = blocks.into_iter();
                let object = copy.object.copied_with(|block| blocks.next().unwrap_or(block));
                return self.outcomes.push_back(Event::Copied { transfer, result: Ok(object) });
            }
            Err(why) => copy.failure(&why),
        };
        blocks.into_iter().for_each(|block| self.free(copy.to, block));
        if !told {
            self.outcomes.push_back(failed);
        }
    }

    /// A host is lost: no copy from or to it will be made.
    pub(super) fn lose_copies(&mut self, lost: HostId, name: &str) {
        let why = format!("host {name} was lost");
        let mut concerned: Vec<_> = self.copies.0.iter().collect();
        concerned.retain(|(_, moving)| moving.copy.from == lost || moving.copy.to == lost);
        let mut concerned: Vec<_> = concerned.into_iter().map(|(transfer, _)| *transfer).collect();
        concerned.sort_unstable();
        for transfer in concerned {
            let Some(moving) = self.copies.0.get_mut(&transfer) else { continue };
            if !std::mem::replace(&mut moving.told, true) {
                self.outcomes.push_back(moving.copy.failure(&why));
            }
            if moving.copy.to == lost {
                self.copies.0.remove(&transfer);
            } else {
                moving.sent = Some(Err(why.clone()));
                self.copy_went_on(transfer);
            }
        }
    }

    /// The network writes nothing any more that comes from this host.
    pub(super) fn nothing_comes_from(&mut self, host: HostId) {
        let coming =
            |moving: &ActiveTransfer| moving.copy.from == host && moving.copy.to == HostId::CONTROLLER;
        let coming: Vec<_> =
            self.copies.0.iter().filter(|(_, moving)| coming(moving)).map(|(id, _)| *id).collect();
        for transfer in coming {
            self.copy_received(HostId::CONTROLLER, transfer, Err("its host was lost".into()));
        }
    }
}
