//! Handles the controller's orders and the events of this host.

use super::forward::Forwarder;
use super::{Monitor, lost};
use crate::host::supervisor::ProcessEvent;
use crate::network::{Arrival, HostId, Transfer};
use crate::protocol::monitor::{FromMonitor, SpillFailure, ToMonitor, unpack};
use crate::protocol::wire::WireError;
use crate::store::spill::SpillError;
use crate::store::{Blob, Block, Place};
use bytes::Bytes;
use std::time::Instant;
use unidist_backend::WritableBuffer;
use unidist_common::{DataId, ProcessId};

/// What is wrong with an order.
type InvalidOrder = String;

impl Monitor<'_> {
    /// Handles everything that has happened; false if nothing has.
    pub(super) fn poll(&mut self) -> bool {
        let mut progressed = self.forward_all();
        while let Ok(event) = self.process_events.try_recv() {
            progressed = true;
            self.on_process_event(event);
        }
        self.flush();
        // Last: polling the network takes longer than all of the above, which would wait for it.
        let mut arrivals = Vec::new();
        self.network.poll(&mut arrivals);
        progressed |= !arrivals.is_empty();
        arrivals.into_iter().for_each(|arrival| self.on_arrival(arrival));
        if progressed {
            self.poll_backoff.on_activity(Instant::now());
        }
        self.flush();
        progressed
    }

    /// Sends the batched messages to the controller.
    pub(super) fn flush(&mut self) {
        while let Some(bytes) = self.batch.take() {
            self.network.send(HostId::CONTROLLER, bytes);
            self.poll_backoff.on_traffic(Instant::now());
        }
    }

    pub(super) fn report(&mut self, message: &FromMonitor) {
        let added = self.batch.add(message);
        self.check(added);
    }

    fn check(&mut self, added: Result<(), WireError>) {
        if let Err(error) = added {
            self.ended
                .get_or_insert(Err(lost(&format!("a message to the controller cannot be sent: {error}"))));
        }
    }

    pub(super) fn on_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Message(HostId::CONTROLLER, bytes) => {
                self.poll_backoff.on_traffic(Instant::now());
                for message in unpack::<ToMonitor>(&bytes) {
                    let done = message.map_err(|error| error.0).and_then(|message| self.on_order(message));
                    if let Err(why) = done {
                        self.ended.get_or_insert(Err(lost(&why)));
                    }
                }
            }
            Arrival::Message(host, _) => log::error!("an unexpected message arrived from {host}"),
            Arrival::Received(transfer) => {
                if self.receiving.remove(&transfer).is_some() {
                    self.report(&FromMonitor::Received { transfer, result: Ok(()) });
                }
            }
            Arrival::Sent(_) => {}
            Arrival::Stuck(transfer) => {
                if self.receiving.remove(&transfer).is_some() {
                    self.report(&FromMonitor::Stuck(transfer));
                }
            }
            Arrival::Lost(HostId::CONTROLLER, why) => {
                self.ended.get_or_insert(Err(lost(&format!("the controller was lost: {why}"))));
            }
            Arrival::Lost(host, why) => {
                self.lost.insert(host);
                let from_there = self.receiving.extract_if(|_, from| *from == host);
                let mut from_there: Vec<_> = from_there.map(|(transfer, _)| transfer).collect();
                from_there.sort_unstable();
                for transfer in from_there {
                    self.report(&FromMonitor::Received { transfer, result: Err(why.clone()) });
                }
            }
        }
    }

    fn on_order(&mut self, message: ToMonitor) -> Result<(), InvalidOrder> {
        match message {
            ToMonitor::Start { process, actor } => self.supervisor.launch(process, actor),
            ToMonitor::Deliver { process, urgent, bytes } => {
                // A lost process gets nothing; its loss was reported.
                if let Some(forwarder) = self.forwarders.get_mut(&process) {
                    let delivered = forwarder.deliver(&bytes, urgent);
                    self.close_on_error(process, delivered);
                }
            }
            ToMonitor::Kill(process) => self.supervisor.kill(process),
            ToMonitor::Send { transfer, to, parts } => self.send(transfer, to, &parts)?,
            ToMonitor::Receive { transfer, from, .. } if self.lost.contains(&from) => {
                let why = "the source host was lost";
                self.report(&FromMonitor::Received { transfer, result: Err(why.into()) });
            }
            ToMonitor::Receive { transfer, from, blocks } => {
                let memory = blocks.iter().map(|place| self.writable(*place)).collect::<Result<_, _>>()?;
                self.receiving.insert(transfer, from);
                self.network.receive_memory(from, transfer, memory);
            }
            ToMonitor::Reserve { ticket, lens } => {
                let reserved = match &mut self.spill {
                    Some((space, _)) => space.reserve_all(&lens),
                    None => Err(SpillError::Full),
                };
                self.report(&FromMonitor::Reserved { ticket, result: reserved.map_err(SpillFailure::from) });
            }
            ToMonitor::Spill { id, blocks } => self.spill(id, &blocks),
            ToMonitor::FreeSpilled(block) => {
                if !self.spill.as_mut().is_some_and(|(space, _)| space.free(block)) {
                    log::error!("a block of the spill file was freed twice: {block:?}");
                }
            }
            ToMonitor::Flush => {
                self.forward_all();
                self.report(&FromMonitor::Flushed);
            }
            ToMonitor::HostLost(host) => self.network.forget(host),
            ToMonitor::End => {
                self.ended.get_or_insert(Ok(()));
            }
        }
        Ok(())
    }

    /// Forwards the bytes of all processes, both ways; false if there are none.
    fn forward_all(&mut self) -> bool {
        let mut progressed = false;
        let mut failed_links = Vec::new();
        for (process, forwarder) in &mut self.forwarders {
            if forwarder.can_flush() {
                progressed = true;
                failed_links.extend(forwarder.flush_backlog().err().map(|error| (*process, error)));
            }
            match forwarder.read() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    progressed = true;
                    let (process, taken) = (*process, forwarder.taken());
                    let said = |bytes| FromMonitor::Output { process, bytes, taken };
                    let added = self.batch.add_stream(Bytes::from(bytes), said);
                    failed_links.extend(added.err().map(|error| (process, error)));
                }
                Err(error) => failed_links.push((*process, error)),
            }
        }
        for (process, error) in failed_links {
            progressed = true;
            self.close_on_error(process, Err(error));
        }
        progressed
    }

    fn close_on_error(&mut self, process: ProcessId, result: Result<(), WireError>) {
        let Err(error) = result else { return };
        log::error!("{process}: {error}: closing its link and killing the process");
        if let Some(forwarder) = self.forwarders.get_mut(&process) {
            forwarder.close();
        }
        self.supervisor.kill(process);
    }

    fn on_process_event(&mut self, event: ProcessEvent) {
        match event {
            ProcessEvent::Joined { process, pid, link } => {
                self.forwarders.insert(process, Forwarder::new(link));
                self.report(&FromMonitor::Joined { process, pid });
            }
            ProcessEvent::Lost(process, why) => {
                // What the process sent before it ended still counts.
                self.forward_all();
                let taken = self.forwarders.remove(&process).map_or(0, |forwarder| forwarder.taken());
                self.report(&FromMonitor::Lost { process, why, taken });
            }
        }
    }

    /// Sends parts of an object. A part that cannot be read is sent as zeros, so that the target does not wait for it.
    fn send(&mut self, transfer: Transfer, to: HostId, parts: &[Blob]) -> Result<(), InvalidOrder> {
        let (mut memory, mut failed) = (Vec::with_capacity(parts.len()), Ok(()));
        for part in parts {
            let bytes = match (part, &self.spill) {
                (Blob::Shared(block), _) => {
                    self.segment.view(*block, ()).ok_or("a block is out of bounds")?
                }
                (Blob::Spilled(block), Some((_, file))) => match file.view(*block, ()) {
                    Ok(bytes) => bytes.ok_or("a block is outside the spill file")?,
                    Err(error) => {
                        failed = Err(format!("it cannot be read from the spill file: {error}"));
                        Bytes::from(vec![0; usize::try_from(block.len).map_err(|error| error.to_string())?])
                    }
                },
                (Blob::Spilled(_), None) => return Err("this host has no spill file".into()),
                (Blob::Inline(_), _) => {
                    return Err("an inline part of an object cannot be transferred".into());
                }
            };
            memory.push(bytes);
        }
        self.network.send_memory(to, transfer, memory);
        self.report(&FromMonitor::SendStarted { transfer, result: failed });
        Ok(())
    }

    fn spill(&mut self, id: DataId, blocks: &[Block]) {
        let written = match &mut self.spill {
            Some((space, _)) => space.write_all(&self.segment, blocks.iter().copied()),
            None => Err(SpillError::Full),
        };
        self.report(&FromMonitor::Spilled { id, result: written.map_err(SpillFailure::from) });
    }

    /// The memory of a new block, for the network to fill.
    fn writable(&self, place: Place) -> Result<Box<dyn WritableBuffer>, InvalidOrder> {
        match (place, &self.spill) {
            (Place::Memory(block), _) => {
                Ok(Box::new(self.segment.writable(block).ok_or("a block is out of bounds")?))
            }
            (Place::Disk(block), Some((_, file))) => {
                let writable =
                    file.writable(block).map_err(|error| format!("a block cannot be written: {error}"))?;
                Ok(Box::new(writable.ok_or("a block is outside the spill file")?))
            }
            (Place::Disk(_), None) => Err("this host has no spill file".into()),
        }
    }
}
