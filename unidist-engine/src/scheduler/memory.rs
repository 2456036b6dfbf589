//! Which objects lie on which hosts, which may leave the memory there, and who keeps the others.
//!
//! An object with parts outside of messages has a copy on one host or on several. A copy is *in use* while a process of
//! its host has views of it or was sent a call that needs it, or while it is being copied to another host. What is in
//! use stays where it is; what is not may be moved to the spill file of its host, least recently used first. Every use
//! is a reference to the object, too, so what is in use is not freed either. A process is given its views with the
//! answer to its `get`, and a call is in use until its process has said that it has ended, gives it back, or is gone:
//! at no moment does a process read a block that nothing keeps.
//!
//! Objects whose value travels in messages cost nothing here.

use super::Scheduler;
use super::directory::Directory;
use super::event::Action;
use super::request::Value;
use crate::network::HostId;
use crate::store::{Block, StoredObject};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use unidist_common::{DataId, ProcessId};

/// Objects outside, and their users.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The copies of each object.
    pub(super) objects: FxHashMap<DataId, Vec<Outside>>,
    pub(super) processes: BTreeMap<ProcessId, Uses>,
    hosts: Vec<HostMemory>,
    clock: u64,
}

/// What is in the memory of a host.
#[derive(Debug, Default)]
struct HostMemory {
    /// Copies in memory that are not in use, by when they were last.
    idle: BTreeMap<u64, DataId>,
    idle_bytes: u64,
    resident_bytes: u64,
}

/// A copy of an object, with parts in the segment or in the spill file of its host.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) host: HostId,
    object: Arc<StoredObject>,
    /// Bytes in the segment.
    pub(super) memory: u64,
    /// Bytes in the spill file.
    pub(super) spilled: u64,
    /// How often it is in use.
    uses: u32,
    /// Its place in `HostMemory::idle`.
    idle_since: Option<u64>,
    /// It is being copied to another host.
    is_sending: bool,
}

/// What a process uses.
#[derive(Debug, Default)]
pub(super) struct Uses {
    pub(super) host: HostId,
    pub(super) views: FxHashMap<DataId, u32>,
    /// Calls that were sent there, with what they need.
    pub(super) calls: FxHashMap<DataId, Vec<DataId>>,
}

impl Memory {
    pub(crate) fn new(hosts: usize) -> Self {
        Memory {
            objects: FxHashMap::default(),
            processes: BTreeMap::new(),
            hosts: (0..hosts).map(|_| HostMemory::default()).collect(),
            clock: 0,
        }
    }

    /// An object has its value, or one more copy.
    pub(crate) fn add(&mut self, id: DataId, host: HostId, object: &Arc<StoredObject>) {
        if object.has_external_parts() {
            let memory = bytes(object.blocks());
            self.hosts[host.place()].resident_bytes += memory;
            self.objects.entry(id).or_default().push(Outside {
                host,
                object: object.clone(),
                memory,
                spilled: bytes(object.spilled_blocks()),
                uses: 0,
                idle_since: None,
                is_sending: false,
            });
            self.rest(id, host);
        }
    }

    /// All copies of an object that nobody uses, which are gone from here.
    pub(crate) fn remove(&mut self, id: DataId) -> Vec<(HostId, Arc<StoredObject>)> {
        let hosts: Vec<_> = self.copies(id).map(|(host, _)| host).collect();
        hosts.into_iter().filter_map(|host| Some((host, self.remove_copy(id, host)?))).collect()
    }

    fn remove_copy(&mut self, id: DataId, host: HostId) -> Option<Arc<StoredObject>> {
        self.wake(id, host);
        let copies = self.objects.get_mut(&id)?;
        let at = copies.iter().position(|copy| copy.host == host)?;
        let copy = copies.swap_remove(at);
        if copies.is_empty() {
            self.objects.remove(&id);
        }
        self.hosts[host.place()].resident_bytes -= copy.memory;
        Some(copy.object)
    }

    /// Where there are copies of this object, and what they are like.
    pub(crate) fn copies(&self, id: DataId) -> impl Iterator<Item = (HostId, &Arc<StoredObject>)> {
        self.objects.get(&id).into_iter().flatten().map(|copy| (copy.host, &copy.object))
    }

    /// The copy on this host.
    pub(crate) fn copy_on(&self, id: DataId, host: HostId) -> Option<&Arc<StoredObject>> {
        self.copies(id).find(|(at, _)| *at == host).map(|(_, object)| object)
    }

    /// Whether there is a copy of the object on some host.
    pub(crate) fn is_outside(&self, id: DataId) -> bool {
        self.objects.contains_key(&id)
    }

    /// What the object takes on a host.
    pub(crate) fn size(&self, id: DataId) -> u64 {
        self.objects.get(&id).and_then(|copies| copies.first()).map_or(0, |copy| copy.memory + copy.spilled)
    }

    /// A copy from which another one can be made now.
    pub(crate) fn free_source(&self, id: DataId) -> Option<(HostId, Arc<StoredObject>)> {
        let copy = self.objects.get(&id)?.iter().find(|copy| !copy.is_sending)?;
        Some((copy.host, copy.object.clone()))
    }

    /// Another copy is being made from this one, which is a use.
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

    fn find(&mut self, id: DataId, host: HostId) -> Option<&mut Outside> {
        self.objects.get_mut(&id)?.iter_mut().find(|copy| copy.host == host)
    }

    /// One more use; false if there is no such copy, as the object is not outside, where uses do not matter.
    fn begin_use(&mut self, id: DataId, host: HostId) -> bool {
        let Some(copy) = self.find(id, host) else { return false };
        copy.uses += 1;
        if copy.idle_since.is_some() {
            self.wake(id, host);
        }
        true
    }

    fn end_use(&mut self, id: DataId, host: HostId) {
        if let Some(copy) = self.find(id, host) {
            copy.uses -= 1;
            if copy.uses == 0 {
                self.rest(id, host);
            }
        }
    }

    /// The copy is not in use from now on.
    fn rest(&mut self, id: DataId, host: HostId) {
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

    fn wake(&mut self, id: DataId, host: HostId) {
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
    pub(crate) fn note_call(
        &mut self,
        directory: &mut Directory,
        (process, host): (ProcessId, HostId),
        call: DataId,
        objects: &[(DataId, Arc<StoredObject>)],
    ) {
        let mut needed = Vec::new();
        for (id, _) in objects.iter().filter(|(_, object)| object.has_external_parts()) {
            if self.begin_use(*id, host) && directory.retain(*id) {
                needed.push(*id);
            }
        }
        if !needed.is_empty() {
            self.uses_of(process, host).calls.entry(call).or_default().extend(needed);
        }
    }

    fn uses_of(&mut self, process: ProcessId, host: HostId) -> &mut Uses {
        self.processes.entry(process).or_insert_with(|| Uses { host, ..Uses::default() })
    }

    fn forget_if_unused(&mut self, process: ProcessId) {
        if self.processes.get(&process).is_some_and(|uses| uses.views.is_empty() && uses.calls.is_empty()) {
            self.processes.remove(&process);
        }
    }

    /// What is still there, if anything is.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn describe(&self) -> Option<String> {
        let in_use = |host: &HostMemory| !host.idle.is_empty() || host.idle_bytes + host.resident_bytes > 0;
        let empty = self.objects.is_empty() && self.processes.is_empty();
        (!empty || self.hosts.iter().any(in_use)).then(|| format!("memory in use: {self:?}"))
    }
}

impl Scheduler {
    /// The process has one more view of this object.
    pub(crate) fn add_view(&mut self, process: ProcessId, id: DataId) {
        let Some(host) = self.host_of(process) else { return };
        if self.memory.begin_use(id, host) && self.objects.retain(id) {
            *self.memory.uses_of(process, host).views.entry(id).or_default() += 1;
        }
    }

    /// One view fewer; one that the process does not have is ignored.
    pub(crate) fn drop_view(&mut self, process: ProcessId, id: DataId) {
        let Some(uses) = self.memory.processes.get_mut(&process) else { return };
        let Some(count) = uses.views.get_mut(&id) else { return };
        let host = uses.host;
        *count -= 1;
        if *count == 0 {
            uses.views.remove(&id);
            self.memory.forget_if_unused(process);
        }
        self.memory.end_use(id, host);
        self.release(id);
    }

    /// The process will not get an answer with these values after all.
    pub(crate) fn take_views_back(&mut self, process: ProcessId, values: &[Value]) {
        let Some(uses) = self.memory.processes.get(&process) else { return };
        let stored = uses.views.keys().filter_map(|id| {
            let copy = self.memory.copy_on(*id, uses.host)?;
            Some((Arc::as_ptr(copy), *id))
        });
        let stored: FxHashMap<_, _> = stored.collect();
        for value in values {
            if let Value::Ready(object) = value
                && let Some(id) = stored.get(&Arc::as_ptr(object))
            {
                self.drop_view(process, *id);
            }
        }
    }

    /// A call that was sent to this process does not need its objects there any more.
    pub(crate) fn call_left(&mut self, process: ProcessId, call: DataId) {
        let Some(uses) = self.memory.processes.get_mut(&process) else { return };
        let Some(objects) = uses.calls.remove(&call) else { return };
        let host = uses.host;
        self.memory.forget_if_unused(process);
        for id in objects {
            self.memory.end_use(id, host);
            self.release(id);
        }
    }

    /// The process is gone, and with it what it used.
    pub(crate) fn process_left(&mut self, process: ProcessId) {
        let Some(uses) = self.memory.processes.remove(&process) else { return };
        let views = uses.views.into_iter().flat_map(|(id, count)| (0..count).map(move |_| id));
        for id in views.chain(uses.calls.into_values().flatten()) {
            self.memory.end_use(id, uses.host);
            self.release(id);
        }
    }

    /// Of the objects in a host's memory that may leave it, the one that was used the longest ago but after this
    /// moment, with the moment of its own.
    pub(crate) fn next_victim(&self, host: HostId, after: u64) -> Option<(u64, DataId, Arc<StoredObject>)> {
        let (&moment, &id) = self.memory.hosts.get(host.place())?.idle.range(after + 1..).next()?;
        Some((moment, id, self.memory.copy_on(id, host)?.clone()))
    }

    /// Bytes of objects in a host's memory: of all, and of those that may leave it.
    pub(crate) fn resident_bytes(&self, host: HostId) -> (u64, u64) {
        self.memory.hosts.get(host.place()).map_or((0, 0), |host| (host.resident_bytes, host.idle_bytes))
    }

    /// A copy that may leave the memory of its host has left it.
    pub(crate) fn spilled(&mut self, host: HostId, id: DataId, moved: StoredObject) {
        let may_leave = self.memory.find(id, host).is_some_and(|copy| copy.idle_since.is_some());
        if !may_leave {
            // It came into use or was freed meanwhile: it stays what it was.
            return self
                .actions
                .extend(moved.spilled_blocks().map(|block| Action::FreeSpilled { host, block }));
        }
        let moved = Arc::new(moved);
        let old = self.memory.remove_copy(id, host);
        self.memory.add(id, host, &moved);
        self.objects.replace(id, &moved);
        if let Some(old) = old {
            self.actions.extend(old.blocks().map(|block| Action::Free { host, block }));
        }
    }

    /// The memory of this host is gone. The objects of which there is no other copy now.
    pub(crate) fn lose_copies(&mut self, host: HostId) -> Vec<DataId> {
        let on_host = |copies: &Vec<Outside>| copies.iter().any(|copy| copy.host == host);
        let affected = self.memory.objects.iter().filter(|(_, copies)| on_host(copies));
        let mut affected: Vec<_> = affected.map(|(id, _)| *id).collect();
        affected.sort_unstable();
        let mut lost = Vec::new();
        for id in affected {
            self.memory.remove_copy(id, host);
            match self.memory.copies(id).next().map(|(_, object)| object.clone()) {
                Some(object) => self.objects.replace(id, &object),
                None => lost.push(id),
            }
        }
        lost
    }
}

/// What blocks take, rounding included.
fn bytes(blocks: impl Iterator<Item = Block>) -> u64 {
    blocks.map(Block::size).sum()
}
