//! Requests for memory: what the driver does with them, on simulated hosts.
//!
//! Promises: with a disk, none is refused. Without one, none is refused while a call that has not started keeps
//! arguments in memory, apart from one for each worker that is about to start.

use super::frame::object_in;
use super::world::World;
use crate::network::HostId;
use crate::protocol::worker::{Reply, RequestId, ToWorker};
use crate::scheduler::Event;
use crate::store::{Place, StoredObject};
use std::collections::{BTreeMap, BTreeSet};
use unidist_common::{DataId, ProcessId, StoreFull};

/// The requests that wait, and what was granted.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: Vec<(ProcessId, RequestId, u64)>,
    /// The hosts of which the scheduler was told that their memory is short.
    short: BTreeSet<HostId>,
    /// Blocks that are not part of an object yet.
    unsealed: BTreeMap<ProcessId, BTreeSet<u64>>,
    granted: BTreeMap<u64, Place>,
}

impl Requests {
    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The blocks that a process was granted and that are part of no object.
    pub(super) fn take_unsealed(&mut self, process: ProcessId) -> Vec<Place> {
        let unsealed = self.unsealed.remove(&process).unwrap_or_default();
        unsealed.iter().filter_map(|offset| self.granted.remove(offset)).collect()
    }

    /// This block is part of an object, or free.
    pub(super) fn seal(&mut self, process: ProcessId, place: Place) -> bool {
        let offset = place.block().offset;
        self.granted.remove(&offset);
        self.unsealed.get_mut(&process).is_some_and(|unsealed| unsealed.remove(&offset))
    }
}

enum Room {
    Found(Place),
    NotYet,
    Lacking,
}

impl World {
    /// The length of a new block.
    pub(super) fn draw_len(&mut self) -> u64 {
        64 * self.rng.u64(1..=8)
    }

    /// A process asks for a block.
    pub(super) fn request_memory(&mut self, process: ProcessId, request: RequestId, len: u64) {
        self.requests.waiting.push((process, request, len));
        self.serve_requests();
    }

    /// Tries to serve the waiting requests.
    pub(super) fn serve_requests(&mut self) {
        for (process, request, len) in std::mem::take(&mut self.requests.waiting) {
            let Some(host) = self.processes.get(&process).map(|process| process.host) else { continue };
            match self.make_room(host, len) {
                Room::Found(place) => {
                    let offset = place.block().offset;
                    self.requests.unsealed.entry(process).or_default().insert(offset);
                    self.requests.granted.insert(offset, place);
                    self.send(process, ToWorker::Reply(request, Reply::Allocated(place)));
                }
                Room::NotYet => self.requests.waiting.push((process, request, len)),
                Room::Lacking => {
                    self.check_refusal(host);
                    let error = StoreFull::new(len, 0, 0).into();
                    self.send(process, ToWorker::Reply(request, Reply::Failed(error)));
                }
            }
        }
        let host_of = |process| self.processes.get(process).map(|process| process.host);
        let waiting: BTreeSet<_> =
            self.requests.waiting.iter().filter_map(|(process, ..)| host_of(process)).collect();
        for host in std::mem::take(&mut self.requests.short) {
            match waiting.contains(&host) {
                true => _ = self.requests.short.insert(host),
                false => self.handle(Event::MemoryFound(host)),
            }
        }
    }

    fn make_room(&mut self, host: HostId, len: u64) -> Room {
        if let Some(place) = self.in_memory(host, len) {
            return Room::Found(place);
        }
        if self.keeps_arguments() {
            return Room::Lacking;
        }
        if self.memory.may_hold(len) && self.scheduler.are_arguments_kept_ahead(host) {
            self.requests.short.insert(host);
            self.handle(Event::MemoryShort(host));
            return Room::NotYet;
        }
        self.memory.allocate_on_disk(host, len).map_or(Room::Lacking, Room::Found)
    }

    /// A block in memory, for which other objects are spilled if necessary.
    fn in_memory(&mut self, host: HostId, len: u64) -> Option<Place> {
        let mut after = 0;
        loop {
            if let Some(place) = self.memory.allocate(host, len) {
                return Some(place);
            }
            let victim = self.scheduler.next_victim(host, after).filter(|_| self.memory.has_disk);
            let (moment, id, object) = victim?;
            after = moment;
            self.spill_object(host, id, &object);
        }
    }

    /// A block that nothing waits for.
    fn room_at_once(&mut self, host: HostId, len: u64) -> Option<Place> {
        self.in_memory(host, len).or_else(|| self.memory.allocate_on_disk(host, len))
    }

    /// An object that the program makes, with or without a block.
    pub(super) fn object_of_program(&mut self, borrowed: Vec<DataId>) -> StoredObject {
        let len = self.draw_len();
        let place = self.rng.bool().then(|| self.room_at_once(HostId::CONTROLLER, len)).flatten();
        object_in(place, borrowed)
    }

    /// Blocks for a copy of an object on this host: all or none.
    pub(super) fn room_for_copy(&mut self, host: HostId, object: &StoredObject) -> Option<Vec<Place>> {
        let mut places = Vec::new();
        for part in object.places() {
            match self.room_at_once(host, part.block().len) {
                Some(place) => places.push(place),
                None => {
                    places.into_iter().for_each(|place| self.memory.abandon(place));
                    return None;
                }
            }
        }
        Some(places)
    }

    /// A request is refused: see the promises.
    fn check_refusal(&mut self, host: HostId) {
        let here = self.processes.values().filter(|process| process.host == host);
        if self.memory.has_disk {
            self.broken.get_or_insert("a request for memory is refused although there is a disk".into());
        } else if here.map(|process| process.arguments_kept_ahead()).any(|calls| calls > 0) {
            let what = "a request for memory is refused, and calls that have not started keep arguments";
            self.broken.get_or_insert(what.into());
        }
    }
}
