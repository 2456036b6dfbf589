//! What a monitor does in a turn: what has come is done, what has happened is told.

use super::forward::Forwarder;
use super::{Monitor, lost};
use crate::host::supervisor::ProcessEvent;
use crate::network::{Arrival, HostId, Transfer};
use crate::protocol::monitor::{FromMonitor, SpillFailure, ToMonitor, unpack};
use crate::protocol::wire::WireError;
use crate::store::spill::SpillError;
use crate::store::{Blob, Block};
use bytes::Bytes;
use std::time::Instant;
use unidist_backend::WritableBuffer;
use unidist_common::{DataId, ProcessId};

/// What the controller said that cannot be.
type Nonsense = String;

impl Monitor<'_> {
    /// Deals with everything that has happened; false if nothing had.
    pub(super) fn turn(&mut self) -> bool {
        let mut happened = self.pass_on_everything();
        while let Ok(notice) = self.notices.try_recv() {
            happened = true;
            self.noticed(notice);
        }
        self.flush();
        // Last, since to look at the network takes longer than all of the above, which would wait for it.
        let mut arrivals = Vec::new();
        self.network.poll(&mut arrivals);
        happened |= !arrivals.is_empty();
        arrivals.into_iter().for_each(|arrival| self.arrived(arrival));
        if happened {
            self.poll_backoff.on_activity(Instant::now());
        }
        self.flush();
        happened
    }

    /// Sends what there is for the controller.
    pub(super) fn flush(&mut self) {
        while let Some(bytes) = self.batch.take() {
            self.network.send(HostId::CONTROLLER, bytes);
            self.poll_backoff.on_traffic(Instant::now());
        }
    }

    pub(super) fn tell(&mut self, message: &FromMonitor) {
        let added = self.batch.add(message);
        self.check(added);
    }

    fn check(&mut self, added: Result<(), WireError>) {
        if let Err(error) = added {
            self.ended.get_or_insert(Err(lost(&format!("something cannot be told: {error}"))));
        }
    }

    pub(super) fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Message(HostId::CONTROLLER, bytes) => {
                self.poll_backoff.on_traffic(Instant::now());
                for message in unpack::<ToMonitor>(&bytes) {
                    let done = message.map_err(|error| error.0).and_then(|message| self.obey(message));
                    if let Err(why) = done {
                        self.ended.get_or_insert(Err(lost(&why)));
                    }
                }
            }
            Arrival::Message(host, _) => log::error!("{host} has nothing to say to this one"),
            Arrival::Received(transfer) => {
                if self.receiving.remove(&transfer).is_some() {
                    self.tell(&FromMonitor::Received(transfer, Ok(())));
                }
            }
            Arrival::Sent(_) => {}
            Arrival::Stuck(transfer) => {
                if self.receiving.remove(&transfer).is_some() {
                    self.tell(&FromMonitor::Stuck(transfer));
                }
            }
            Arrival::Lost(HostId::CONTROLLER, why) => {
                self.ended.get_or_insert(Err(lost(&format!("it is lost: {why}"))));
            }
            Arrival::Lost(host, why) => {
                self.lost.insert(host);
                let from_there = self.receiving.extract_if(|_, from| *from == host);
                let mut from_there: Vec<_> = from_there.map(|(transfer, _)| transfer).collect();
                from_there.sort_unstable();
                for transfer in from_there {
                    self.tell(&FromMonitor::Received(transfer, Err(why.clone())));
                }
            }
        }
    }

    fn obey(&mut self, message: ToMonitor) -> Result<(), Nonsense> {
        match message {
            ToMonitor::Start { process, actor } => self.supervisor.launch(process, actor),
            ToMonitor::Deliver { process, urgent, bytes } => {
                // One that is gone hears nothing; that it is gone was told.
                if let Some(forwarder) = self.forwarders.get_mut(&process) {
                    let delivered = forwarder.deliver(&bytes, urgent);
                    self.break_off_on_error(process, delivered);
                }
            }
            ToMonitor::Kill(process) => self.supervisor.kill(process),
            ToMonitor::Send(transfer, to, parts) => self.send(transfer, to, &parts)?,
            ToMonitor::Receive(transfer, from, _) if self.lost.contains(&from) => {
                let why = "the host that was to send it cannot be reached from there";
                self.tell(&FromMonitor::Received(transfer, Err(why.into())));
            }
            ToMonitor::Receive(transfer, from, blocks) => {
                let memory = blocks.iter().map(|block| {
                    let writable = self.segment.writable(*block).ok_or("a block is out of bounds")?;
                    Ok::<_, Nonsense>(Box::new(writable) as Box<dyn WritableBuffer>)
                });
                let memory = memory.collect::<Result<_, _>>()?;
                self.receiving.insert(transfer, from);
                self.network.receive_memory(from, transfer, memory);
            }
            ToMonitor::Spill(id, blocks) => self.spill(id, &blocks),
            ToMonitor::FreeSpilled(block) => {
                if !self.spill.as_mut().is_some_and(|(space, _)| space.free(block)) {
                    log::error!("a block of the spill file was freed twice: {block:?}");
                }
            }
            ToMonitor::Look => {
                self.pass_on_everything();
                self.tell(&FromMonitor::Looked);
            }
            ToMonitor::Forget(host) => self.network.forget(host),
            ToMonitor::End => {
                self.ended.get_or_insert(Ok(()));
            }
        }
        Ok(())
    }

    /// Passes on what processes have said, and to them what they have room for again; false if that is nothing.
    fn pass_on_everything(&mut self) -> bool {
        let mut happened = false;
        let mut broken = Vec::new();
        for (process, forwarder) in &mut self.forwarders {
            if forwarder.can_go_on() {
                happened = true;
                broken.extend(forwarder.go_on().err().map(|error| (*process, error)));
            }
            match forwarder.read() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    happened = true;
                    let (process, taken) = (*process, forwarder.taken());
                    let said = |bytes| FromMonitor::Said { process, bytes, taken };
                    let added = self.batch.add_stream(Bytes::from(bytes), said);
                    broken.extend(added.err().map(|error| (process, error)));
                }
                Err(error) => broken.push((*process, error)),
            }
        }
        for (process, error) in broken {
            happened = true;
            self.break_off_on_error(process, Err(error));
        }
        happened
    }

    fn break_off_on_error(&mut self, process: ProcessId, result: Result<(), WireError>) {
        let Err(error) = result else { return };
        log::error!("{process}: {error}: its link is closed and its process killed");
        if let Some(forwarder) = self.forwarders.get_mut(&process) {
            forwarder.break_off();
        }
        self.supervisor.kill(process);
    }

    fn noticed(&mut self, notice: ProcessEvent) {
        match notice {
            ProcessEvent::Joined(process, memory) => {
                self.forwarders.insert(process, Forwarder::new(memory));
                self.tell(&FromMonitor::Joined(process));
            }
            ProcessEvent::Lost(process, why) => {
                // What it said before it ended still counts.
                self.pass_on_everything();
                let taken = self.forwarders.remove(&process).map_or(0, |forwarder| forwarder.taken());
                self.tell(&FromMonitor::Lost { process, why, taken });
            }
        }
    }

    /// Sends parts of an object; what cannot be read is sent as zeros, so that the other side does not wait for it.
    fn send(&mut self, transfer: Transfer, to: HostId, parts: &[Blob]) -> Result<(), Nonsense> {
        let (mut memory, mut failed) = (Vec::with_capacity(parts.len()), Ok(()));
        for part in parts {
            let bytes = match (part, &self.spill) {
                (Blob::Shared(block), _) => {
                    self.segment.view(*block, ()).ok_or("a block is out of bounds")?
                }
                (Blob::Spilled(block), Some((_, file))) => match file.view(*block, ()) {
                    Ok(bytes) => bytes.ok_or("a block lies outside the spill file")?,
                    Err(error) => {
                        failed = Err(format!("it cannot be read from the spill file: {error}"));
                        Bytes::from(vec![0; usize::try_from(block.len).map_err(|error| error.to_string())?])
                    }
                },
                (Blob::Spilled(_), None) => return Err("nothing was spilled here".into()),
                (Blob::Inline(_), _) => {
                    return Err("what travels in messages is to be sent beside them".into());
                }
            };
            memory.push(bytes);
        }
        self.network.send_memory(to, transfer, memory);
        self.tell(&FromMonitor::Sends(transfer, failed));
        Ok(())
    }

    fn spill(&mut self, id: DataId, blocks: &[Block]) {
        let written = match &mut self.spill {
            Some((space, _)) => space.write_all(&self.segment, blocks.iter().copied()),
            None => Err(SpillError::Full),
        };
        let written = written.map_err(|error| match error {
            SpillError::Full => SpillFailure::Full,
            SpillError::System(error) => SpillFailure::System(error.to_string()),
        });
        self.tell(&FromMonitor::Spilled(id, written));
    }
}
