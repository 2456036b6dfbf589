//! Simulated hosts: transfers between them, and the loss of one.

use super::process::Process;
use super::world::World;
use crate::network::HostId;
use crate::protocol::worker::FromWorker;
use crate::scheduler::{Copy, Event};
use crate::store::StoredObject;
use std::collections::BTreeSet;
use unidist_common::{ErrorKind, TaskError, TaskId};

/// The network between the hosts.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// Copies that have not arrived.
    pub(super) copies: Vec<Copy>,
    pub(super) lost: BTreeSet<HostId>,
}

impl World {
    /// A transfer arrives or fails.
    pub(super) fn copy_arrives(&mut self) {
        if self.network.copies.is_empty() {
            return;
        }
        let at = self.rng.usize(0..self.network.copies.len());
        let copy = self.network.copies.swap_remove(at);
        let failed = |kind| Err(TaskError::new(kind, "as drawn"));
        let result = if self.network.lost.contains(&copy.to) {
            return; // the controller does not hear of it
        } else if self.network.lost.contains(&copy.from) {
            failed(ErrorKind::ObjectLost)
        } else if self.rng.u32(0..20) == 0 {
            failed(ErrorKind::StoreFull)
        } else {
            self.copied(&copy).ok_or_else(|| TaskError::new(ErrorKind::StoreFull, "there is no room"))
        };
        self.handle(Event::Copied { transfer: copy.transfer, result });
    }

    /// The object's parts at the destination.
    fn copied(&mut self, copy: &Copy) -> Option<StoredObject> {
        let mut places = self.room_for_copy(copy.to, &copy.object)?.into_iter();
        let broken = &mut self.broken;
        let read = self.memory.view(copy.from, &copy.object, |what| _ = broken.get_or_insert(what));
        self.memory.end_view(&read);
        Some(copy.object.copied_with(|place| places.next().unwrap_or(place)))
    }

    /// A host other than the controller's is lost: its processes, its memory, and messages in flight.
    pub(super) fn lose_host(&mut self) {
        let hosts = (1..self.hosts).map(HostId::new).filter(|host| !self.network.lost.contains(host));
        let hosts: Vec<_> = hosts.collect();
        let Some(&host) = self.rng.choice(&hosts) else { return };
        let on_host = |(id, process): (_, &Process)| (process.host == host).then_some(id);
        let processes: Vec<_> =
            self.processes.iter().filter_map(|(id, process)| on_host((*id, process))).collect();
        let mut lost = Vec::new();
        for id in processes {
            let Some(process) = self.processes.remove(&id) else { continue };
            self.to_kill.remove(&id);
            let mut of_process: Vec<_> = process.running().collect();
            of_process.extend(process.outbox.iter().filter_map(|message| match message {
                FromWorker::Done { task: call, .. } => Some(*call),
                _ => None,
            }));
            self.record.lost(id, &of_process);
            self.record.lost_unstarted(process.unstarted());
            for message in &process.outbox {
                if let FromWorker::Retracted(calls) = message {
                    self.record.lost_unstarted(calls.iter().copied());
                }
            }
            lost.extend(of_process);
            self.requests.take_unsealed(id);
        }
        self.memory.lose(host);
        self.network.lost.insert(host);
        self.handle(Event::HostLost { host, cause: "it was drawn".into() });
        let (record, scheduler) = (&mut self.record, &self.scheduler);
        record.expect_again(lost.into_iter().filter(|call: &TaskId| scheduler.has_task(*call)));
    }

    /// Whether referenced objects may be lost.
    pub(super) fn has_lost_hosts(&self) -> bool {
        !self.network.lost.is_empty()
    }
}
