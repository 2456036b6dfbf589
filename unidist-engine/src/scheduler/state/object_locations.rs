//! The copies of shared objects on each host, and their uses: which copies may leave the memory.
//!
//! An object with parts outside of messages has a copy on one host or several. A copy is *in use* while a process of
//! its host has views of it or was sent a call that needs it, or while it is being copied to another host. A copy in
//! use stays where it is; others may be moved to the spill file of their host, least recently used first.
//!
//! Invariant: each use is also a reference to the object, so a copy in use is not freed. A process has its views from
//! the moment the reply to its `get` is sent, and a call uses its arguments until its process reports that it has
//! ended, gives it back, or is gone: no process ever reads a block that is not in use.
//!
//! Objects whose values travel in messages have no entry here.

use crate::scheduler::state::objects::Objects;
use crate::store::{Block, StoredObject};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use unidist_common::{DataId, HostId, ProcessId, TaskId};

/// The copies of shared objects, and the processes that use them.
#[derive(Debug)]
pub(crate) struct ObjectLocations {
    /// The copies of each object.
    pub(crate) objects: FxHashMap<DataId, Vec<SharedCopy>>,
    pub(crate) processes: BTreeMap<ProcessId, ProcessUses>,
    hosts: Vec<HostMemory>,
    clock: u64,
}

/// The memory of a host.
#[derive(Debug, Default)]
struct HostMemory {
    /// Copies in memory that are not in use, by the time of their last use.
    idle: BTreeMap<u64, DataId>,
    idle_bytes: u64,
    resident_bytes: u64,
}

/// A copy of an object, with parts in the segment or in the spill file of its host.
#[derive(Debug)]
pub(crate) struct SharedCopy {
    pub(crate) host: HostId,
    object: Arc<StoredObject>,
    /// Bytes in the segment.
    pub(crate) memory: u64,
    /// Bytes in the spill file.
    pub(crate) spilled: u64,
    /// The number of its uses.
    uses: u32,
    /// Its key in `HostMemory::idle`.
    idle_since: Option<u64>,
    /// Whether it is being copied to another host.
    is_sending: bool,
}

/// The uses of a process.
#[derive(Debug, Default)]
pub(crate) struct ProcessUses {
    pub(crate) host: HostId,
    pub(crate) views: FxHashMap<DataId, u32>,
    /// Calls that were sent there, with their arguments.
    pub(crate) calls: FxHashMap<TaskId, CallArguments>,
}

/// The shared arguments of a call that was sent to a process.
#[derive(Debug, Default)]
pub(crate) struct CallArguments {
    pub(crate) objects: Vec<DataId>,
    /// Bytes in memory that the call brought into use.
    brought: u64,
}

impl ProcessUses {
    /// The object of each use.
    pub(crate) fn into_objects(self) -> impl Iterator<Item = DataId> {
        let views = self.views.into_iter().flat_map(|(id, count)| (0..count).map(move |_| id));
        views.chain(self.calls.into_values().flat_map(|arguments| arguments.objects))
    }
}

impl ObjectLocations {
    pub(crate) fn new(hosts: usize) -> Self {
        ObjectLocations {
            objects: FxHashMap::default(),
            processes: BTreeMap::new(),
            hosts: (0..hosts).map(|_| HostMemory::default()).collect(),
            clock: 0,
        }
    }

    /// An object has its value, or one more copy of it.
    pub(crate) fn add(&mut self, id: DataId, host: HostId, object: &Arc<StoredObject>) {
        if object.has_external_parts() {
            let memory = bytes(object.blocks());
            self.hosts[host.place()].resident_bytes += memory;
            self.objects.entry(id).or_default().push(SharedCopy {
                host,
                object: object.clone(),
                memory,
                spilled: bytes(object.spilled_blocks()),
                uses: 0,
                idle_since: None,
                is_sending: false,
            });
            self.mark_idle(id, host);
        }
    }

    /// Removes all copies of an unused object.
    pub(crate) fn remove(&mut self, id: DataId) -> Vec<(HostId, Arc<StoredObject>)> {
        let hosts: Vec<_> = self.copies(id).map(|(host, _)| host).collect();
        hosts.into_iter().filter_map(|host| Some((host, self.remove_copy(id, host)?))).collect()
    }

    fn remove_copy(&mut self, id: DataId, host: HostId) -> Option<Arc<StoredObject>> {
        self.mark_used(id, host);
        let copies = self.objects.get_mut(&id)?;
        let at = copies.iter().position(|copy| copy.host == host)?;
        let copy = copies.swap_remove(at);
        if copies.is_empty() {
            self.objects.remove(&id);
        }
        self.hosts[host.place()].resident_bytes -= copy.memory;
        Some(copy.object)
    }

    /// The hosts with a copy of this object, and the copies.
    pub(crate) fn copies(&self, id: DataId) -> impl Iterator<Item = (HostId, &Arc<StoredObject>)> {
        self.objects.get(&id).into_iter().flatten().map(|copy| (copy.host, &copy.object))
    }

    /// The copy on this host.
    pub(crate) fn copy_on(&self, id: DataId, host: HostId) -> Option<&Arc<StoredObject>> {
        self.copies(id).find(|(at, _)| *at == host).map(|(_, object)| object)
    }

    /// Whether there is a copy of the object on some host.
    pub(crate) fn has_copy(&self, id: DataId) -> bool {
        self.objects.contains_key(&id)
    }

    /// The bytes that the object takes on a host.
    pub(crate) fn size(&self, id: DataId) -> u64 {
        self.objects.get(&id).and_then(|copies| copies.first()).map_or(0, |copy| copy.memory + copy.spilled)
    }

    /// A copy that can be the source of a transfer now.
    pub(crate) fn free_source(&self, id: DataId) -> Option<(HostId, Arc<StoredObject>)> {
        let copy = self.objects.get(&id)?.iter().find(|copy| !copy.is_sending)?;
        Some((copy.host, copy.object.clone()))
    }

    /// The copy is the source of a transfer, which is a use.
    pub(crate) fn begin_sending(&mut self, id: DataId, host: HostId) {
        if let Some(copy) = self.find(id, host) {
            copy.is_sending = true;
            self.begin_use(id, host);
        }
    }

    pub(crate) fn end_sending(&mut self, id: DataId, host: HostId) {
        if let Some(copy) = self.find(id, host)
            && std::mem::take(&mut copy.is_sending)
        {
            self.end_use(id, host);
        }
    }

    fn find(&mut self, id: DataId, host: HostId) -> Option<&mut SharedCopy> {
        self.objects.get_mut(&id)?.iter_mut().find(|copy| copy.host == host)
    }

    /// One more use: the bytes in memory that were not in use before. None if there is no such copy: uses of objects that
    /// travel in messages do not count.
    fn begin_use(&mut self, id: DataId, host: HostId) -> Option<u64> {
        let copy = self.find(id, host)?;
        copy.uses += 1;
        let brought = if copy.idle_since.is_some() { copy.memory } else { 0 };
        if brought > 0 {
            self.mark_used(id, host);
        }
        Some(brought)
    }

    pub(crate) fn end_use(&mut self, id: DataId, host: HostId) {
        if let Some(copy) = self.find(id, host) {
            copy.uses -= 1;
            if copy.uses == 0 {
                self.mark_idle(id, host);
            }
        }
    }

    /// The copy is not in use from now on.
    fn mark_idle(&mut self, id: DataId, host: HostId) {
        self.clock += 1;
        let now = self.clock;
        if let Some(copy) = self.find(id, host)
            && copy.memory > 0
        {
            copy.idle_since = Some(now);
            let memory = copy.memory;
            let host = &mut self.hosts[host.place()];
            host.idle_bytes += memory;
            host.idle.insert(now, id);
        }
    }

    fn mark_used(&mut self, id: DataId, host: HostId) {
        if let Some(copy) = self.find(id, host)
            && let Some(since) = copy.idle_since.take()
        {
            let memory = copy.memory;
            let host = &mut self.hosts[host.place()];
            host.idle.remove(&since);
            host.idle_bytes -= memory;
        }
    }

    /// A call was sent to this process, on this host, with these objects.
    pub(crate) fn pin_arguments(
        &mut self,
        directory: &mut Objects,
        (process, host): (ProcessId, HostId),
        call: TaskId,
        objects: &[(DataId, Arc<StoredObject>)],
    ) {
        let mut needed = CallArguments::default();
        for (id, _) in objects.iter().filter(|(_, object)| object.has_external_parts()) {
            if let Some(brought) = self.begin_use(*id, host)
                && directory.retain(*id)
            {
                needed.objects.push(*id);
                needed.brought += brought;
            }
        }
        if !needed.objects.is_empty() {
            let arguments = self.uses_of(process, host).calls.entry(call).or_default();
            arguments.objects.append(&mut needed.objects);
            arguments.brought += needed.brought;
        }
    }

    /// Bytes of these objects in the memory of a host that are not in use.
    pub(crate) fn idle_bytes_of(&self, ids: &[DataId], host: HostId) -> u64 {
        let copies = ids.iter().filter_map(|id| self.objects.get(id)).flatten();
        let idle = copies.filter(|copy| copy.host == host && copy.idle_since.is_some());
        idle.map(|copy| copy.memory).sum()
    }

    /// Whether one of these objects is in the memory of a host.
    pub(crate) fn is_any_in_memory(&self, ids: &[DataId], host: HostId) -> bool {
        let mut copies = ids.iter().filter_map(|id| self.objects.get(id)).flatten();
        copies.any(|copy| copy.host == host && copy.memory > 0)
    }

    /// Bytes that a call which was sent to a process brought into use there.
    pub(crate) fn brought_bytes(&self, process: ProcessId, call: TaskId) -> u64 {
        let arguments = self.processes.get(&process).and_then(|uses| uses.calls.get(&call));
        arguments.map_or(0, |arguments| arguments.brought)
    }

    /// Whether a call that was sent to a process keeps objects in memory.
    pub(crate) fn keeps_memory(&self, process: ProcessId, call: TaskId) -> bool {
        let Some(uses) = self.processes.get(&process) else { return false };
        uses.calls.get(&call).is_some_and(|arguments| self.is_any_in_memory(&arguments.objects, uses.host))
    }

    fn uses_of(&mut self, process: ProcessId, host: HostId) -> &mut ProcessUses {
        self.processes.entry(process).or_insert_with(|| ProcessUses { host, ..ProcessUses::default() })
    }

    fn forget_if_unused(&mut self, process: ProcessId) {
        if self.processes.get(&process).is_some_and(|uses| uses.views.is_empty() && uses.calls.is_empty()) {
            self.processes.remove(&process);
        }
    }

    /// The process has one more view of this object, if the object is shared and its host has a copy.
    pub(crate) fn pin_view(
        &mut self,
        objects: &mut Objects,
        (process, host): (ProcessId, HostId),
        id: DataId,
    ) {
        if self.begin_use(id, host).is_some() && objects.retain(id) {
            *self.uses_of(process, host).views.entry(id).or_default() += 1;
        }
    }

    /// The process has one view fewer. False if it has none; otherwise the caller releases a reference.
    pub(crate) fn unpin_view(&mut self, process: ProcessId, id: DataId) -> bool {
        let Some(uses) = self.processes.get_mut(&process) else { return false };
        let Some(count) = uses.views.get_mut(&id) else { return false };
        let host = uses.host;
        *count -= 1;
        if *count == 0 {
            uses.views.remove(&id);
            self.forget_if_unused(process);
        }
        self.end_use(id, host);
        true
    }

    /// The copies of which the process has views, by the address of their parts.
    pub(crate) fn viewed_copies(&self, process: ProcessId) -> FxHashMap<*const StoredObject, DataId> {
        let uses = self.processes.get(&process).into_iter();
        let viewed = uses.flat_map(|uses| uses.views.keys().map(|id| (*id, uses.host)));
        viewed.filter_map(|(id, host)| Some((Arc::as_ptr(self.copy_on(id, host)?), id))).collect()
    }

    /// The arguments that the call uses on this process, with its host. The caller ends each use.
    pub(crate) fn take_arguments(
        &mut self,
        process: ProcessId,
        call: TaskId,
    ) -> Option<(HostId, Vec<DataId>)> {
        let uses = self.processes.get_mut(&process)?;
        let CallArguments { objects, .. } = uses.calls.remove(&call)?;
        let host = uses.host;
        self.forget_if_unused(process);
        Some((host, objects))
    }

    /// All uses of a process. The caller ends each.
    pub(crate) fn take_process(&mut self, process: ProcessId) -> Option<ProcessUses> {
        self.processes.remove(&process)
    }

    /// The uses of each process on this host.
    pub(crate) fn uses_on(&self, host: HostId) -> impl Iterator<Item = (ProcessId, &ProcessUses)> {
        self.processes
            .iter()
            .filter(move |(_, uses)| uses.host == host)
            .map(|(process, uses)| (*process, uses))
    }

    /// The copies on this host.
    pub(crate) fn copies_on(&self, host: HostId) -> impl Iterator<Item = (DataId, &SharedCopy)> {
        let all = self.objects.iter().flat_map(|(id, copies)| copies.iter().map(move |copy| (*id, copy)));
        all.filter(move |(_, copy)| copy.host == host)
    }

    /// Whether there is a copy in the memory of this host that is not in use.
    pub(crate) fn is_idle(&self, id: DataId, host: HostId) -> bool {
        let copy = self.objects.get(&id).and_then(|copies| copies.iter().find(|copy| copy.host == host));
        copy.is_some_and(|copy| copy.idle_since.is_some())
    }

    /// The copy on this host has other parts from now on. Those that it had.
    pub(crate) fn replace_copy(
        &mut self,
        id: DataId,
        host: HostId,
        object: &Arc<StoredObject>,
    ) -> Option<Arc<StoredObject>> {
        let old = self.remove_copy(id, host);
        self.add(id, host, object);
        old
    }

    /// The memory of a host is gone. The objects that it had copies of, each with another copy, if there is one.
    pub(crate) fn lose_host(&mut self, host: HostId) -> Vec<(DataId, Option<Arc<StoredObject>>)> {
        let mut affected: Vec<_> = self.copies_on(host).map(|(id, _)| id).collect();
        affected.sort_unstable();
        let lose = |id| {
            self.remove_copy(id, host);
            (id, self.copies(id).next().map(|(_, object)| object.clone()))
        };
        affected.into_iter().map(lose).collect()
    }

    /// Of the unused copies in a host's memory, the least recently used after this moment, with the moment of its own
    /// last use.
    pub(crate) fn next_victim(&self, host: HostId, after: u64) -> Option<(u64, DataId, Arc<StoredObject>)> {
        let (&moment, &id) = self.hosts.get(host.place())?.idle.range(after + 1..).next()?;
        Some((moment, id, self.copy_on(id, host)?.clone()))
    }

    /// Bytes of copies in a host's memory: of all copies, and of unused ones.
    pub(crate) fn resident_bytes(&self, host: HostId) -> (u64, u64) {
        self.hosts.get(host.place()).map_or((0, 0), |host| (host.resident_bytes, host.idle_bytes))
    }

    /// Describes what is left, if anything is.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn describe(&self) -> Option<String> {
        let in_use = |host: &HostMemory| !host.idle.is_empty() || host.idle_bytes + host.resident_bytes > 0;
        let empty = self.objects.is_empty() && self.processes.is_empty();
        (!empty || self.hosts.iter().any(in_use)).then(|| format!("memory in use: {self:?}"))
    }
}

/// The bytes that blocks take, rounding included.
fn bytes(blocks: impl Iterator<Item = Block>) -> u64 {
    blocks.map(Block::size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Blob;

    const HERE: HostId = HostId::CONTROLLER;
    const THERE: HostId = HostId::new(1);
    const ME: ProcessId = ProcessId::CONTROLLER;

    fn id(number: u64) -> DataId {
        DataId::new(ME, number)
    }

    fn shared(offset: u64) -> Arc<StoredObject> {
        let header = Blob::Shared(Block { offset, len: 64 });
        Arc::new(StoredObject { header, buffers: Vec::new(), borrowed: Vec::new() })
    }

    fn victims(locations: &ObjectLocations) -> Vec<DataId> {
        let next = |after| locations.next_victim(HERE, after).map(|(moment, id, _)| (moment, id));
        std::iter::successors(next(0), |(moment, _)| next(*moment)).map(|(_, id)| id).collect()
    }

    #[test]
    fn victims_come_least_recently_used_first() {
        let (mut locations, mut objects) = (ObjectLocations::new(1), Objects::default());
        for number in [1, 2] {
            assert!(objects.declare(id(number), TaskId::of_first_return(id(number))));
            locations.add(id(number), HERE, &shared(64 * number));
        }
        assert_eq!((victims(&locations), locations.resident_bytes(HERE)), (vec![id(1), id(2)], (128, 128)));
        locations.pin_view(&mut objects, (ME, HERE), id(1));
        assert_eq!((victims(&locations), locations.resident_bytes(HERE)), (vec![id(2)], (128, 64)));
        assert!(locations.unpin_view(ME, id(1)) && !locations.unpin_view(ME, id(1)));
        assert_eq!(victims(&locations), [id(2), id(1)]);
        assert_eq!(locations.remove(id(1)).len() + locations.remove(id(2)).len(), 2);
        assert_eq!(locations.describe(), None);
    }

    #[test]
    fn source_serves_one_transfer_at_a_time() {
        let mut locations = ObjectLocations::new(2);
        locations.add(id(1), HERE, &shared(64));
        locations.begin_sending(id(1), HERE);
        assert!(locations.free_source(id(1)).is_none() && !locations.is_idle(id(1), HERE));
        locations.add(id(1), THERE, &shared(128));
        assert_eq!(locations.free_source(id(1)), Some((THERE, shared(128))));
        locations.end_sending(id(1), HERE);
        assert!(locations.is_idle(id(1), HERE));
    }

    #[test]
    fn lost_host_leaves_copies_elsewhere() {
        let mut locations = ObjectLocations::new(2);
        locations.add(id(1), HERE, &shared(64));
        locations.add(id(1), THERE, &shared(128));
        locations.add(id(2), THERE, &shared(192));
        assert_eq!(locations.lose_host(THERE), [(id(1), Some(shared(64))), (id(2), None)]);
        assert!(locations.copy_on(id(1), THERE).is_none() && !locations.has_copy(id(2)));
    }
}
