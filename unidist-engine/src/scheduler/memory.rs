//! Which objects may leave the memory, and who keeps the others there.
//!
//! An object with parts outside of messages is *in use* while a process has views of it, or was sent a call that needs
//! it. What is in use stays where it is; what is not may be moved to the spill file, least recently used first. Every
//! use is a reference, too, so what is in use is not freed either. A process is given its views with the answer to its
//! `get`, and a call is in use until its process has said that it has ended, gives it back, or is gone: at no moment
//! does a process read a block that nothing keeps.
//!
//! Objects whose value travels in messages cost nothing here.

use super::Scheduler;
use super::directory::Directory;
use super::event::Action;
use crate::link::message::Value;
use crate::store::{Block, StoredObject};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use unidist_common::{DataId, HeldBy, ProcessId, StoreHolder};

/// Objects outside, and their users.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    objects: FxHashMap<DataId, Outside>,
    processes: BTreeMap<ProcessId, Uses>,
    /// Objects in memory that are not in use, by when they were last.
    idle: BTreeMap<u64, DataId>,
    idle_bytes: u64,
    resident_bytes: u64,
    clock: u64,
}

/// An object with parts in the segment or in the spill file.
#[derive(Debug)]
struct Outside {
    /// Bytes in the segment.
    memory: u64,
    /// Bytes in the spill file.
    spilled: u64,
    /// How often it is in use.
    uses: u32,
    /// Its place in `Memory::idle`.
    idle_since: Option<u64>,
}

/// What a process uses.
#[derive(Debug, Default)]
struct Uses {
    views: FxHashMap<DataId, u32>,
    /// Calls that were sent there, with what they need.
    calls: FxHashMap<DataId, Vec<DataId>>,
}

impl Memory {
    /// An object has its value.
    pub(crate) fn add(&mut self, id: DataId, object: &StoredObject) {
        if object.is_outside() {
            let memory = bytes(object.blocks());
            self.resident_bytes += memory;
            self.objects
                .insert(id, Outside { memory, spilled: bytes(object.spilled()), uses: 0, idle_since: None });
            self.rest(id);
        }
    }

    /// An object is freed, which nobody uses.
    pub(crate) fn remove(&mut self, id: DataId, object: &StoredObject) {
        if object.is_outside() {
            self.wake(id);
            self.resident_bytes -= self.objects.remove(&id).map_or(0, |object| object.memory);
        }
    }

    /// One more use; false if the object is not outside, where uses do not matter.
    fn begin_use(&mut self, id: DataId) -> bool {
        let Some(object) = self.objects.get_mut(&id) else { return false };
        object.uses += 1;
        if object.idle_since.is_some() {
            self.wake(id);
        }
        true
    }

    fn end_use(&mut self, id: DataId) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.uses -= 1;
            if object.uses == 0 {
                self.rest(id);
            }
        }
    }

    /// The object is not in use from now on.
    fn rest(&mut self, id: DataId) {
        if let Some(object) = self.objects.get_mut(&id)
            && object.memory > 0
        {
            self.clock += 1;
            object.idle_since = Some(self.clock);
            self.idle_bytes += object.memory;
            self.idle.insert(self.clock, id);
        }
    }

    fn wake(&mut self, id: DataId) {
        if let Some(object) = self.objects.get_mut(&id)
            && let Some(since) = object.idle_since.take()
        {
            self.idle.remove(&since);
            self.idle_bytes -= object.memory;
        }
    }

    /// A call was sent to this process with these objects.
    pub(crate) fn note_call(
        &mut self,
        directory: &mut Directory,
        process: ProcessId,
        call: DataId,
        objects: &[(DataId, Arc<StoredObject>)],
    ) {
        let mut needed = Vec::new();
        for (id, _) in objects.iter().filter(|(_, object)| object.is_outside()) {
            if self.begin_use(*id) && directory.retain(*id) {
                needed.push(*id);
            }
        }
        if !needed.is_empty() {
            self.processes.entry(process).or_default().calls.entry(call).or_default().extend(needed);
        }
    }

    fn forget_if_unused(&mut self, process: ProcessId) {
        if self.processes.get(&process).is_some_and(|uses| uses.views.is_empty() && uses.calls.is_empty()) {
            self.processes.remove(&process);
        }
    }

    /// What is still there, if anything is.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn describe(&self) -> Option<String> {
        let empty = self.objects.is_empty() && self.processes.is_empty() && self.idle.is_empty();
        (!empty || self.idle_bytes + self.resident_bytes > 0).then(|| format!("memory in use: {self:?}"))
    }
}

impl Scheduler {
    /// The process has one more view of this object.
    pub(crate) fn add_view(&mut self, process: ProcessId, id: DataId) {
        let is_there = process == ProcessId::CONTROLLER || self.workers.contains_key(&process);
        if is_there && self.memory.begin_use(id) && self.objects.retain(id) {
            *self.memory.processes.entry(process).or_default().views.entry(id).or_default() += 1;
        }
    }

    /// One view fewer; one that the process does not have is ignored.
    pub(crate) fn drop_view(&mut self, process: ProcessId, id: DataId) {
        let Some(uses) = self.memory.processes.get_mut(&process) else { return };
        let Some(count) = uses.views.get_mut(&id) else { return };
        *count -= 1;
        if *count == 0 {
            uses.views.remove(&id);
            self.memory.forget_if_unused(process);
        }
        self.memory.end_use(id);
        self.release(id);
    }

    /// The process will not get an answer with these values after all.
    pub(crate) fn take_views_back(&mut self, process: ProcessId, values: &[Value]) {
        let Some(uses) = self.memory.processes.get(&process) else { return };
        let stored = uses.views.keys().filter_map(|id| match self.objects.value(*id) {
            Value::Ready(object) => Some((Arc::as_ptr(&object), *id)),
            Value::Failed(_) => None,
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
        self.memory.forget_if_unused(process);
        for id in objects {
            self.memory.end_use(id);
            self.release(id);
        }
    }

    /// The process is gone, and with it what it used.
    pub(crate) fn process_left(&mut self, process: ProcessId) {
        let Some(uses) = self.memory.processes.remove(&process) else { return };
        let views = uses.views.into_iter().flat_map(|(id, count)| (0..count).map(move |_| id));
        for id in views.chain(uses.calls.into_values().flatten()) {
            self.memory.end_use(id);
            self.release(id);
        }
    }

    /// Of the objects in memory that may leave it, the one that was used the longest ago but after this moment, with
    /// the moment of its own.
    pub(crate) fn next_victim(&self, after: u64) -> Option<(u64, DataId, Arc<StoredObject>)> {
        let (&moment, &id) = self.memory.idle.range(after + 1..).next()?;
        match self.objects.value(id) {
            Value::Ready(object) => Some((moment, id, object)),
            Value::Failed(_) => None,
        }
    }

    /// Bytes of objects in memory: of all, and of those that may leave it.
    pub(crate) fn resident_bytes(&self) -> (u64, u64) {
        (self.memory.resident_bytes, self.memory.idle_bytes)
    }

    /// An object that may leave the memory has left it.
    pub(crate) fn spilled(&mut self, id: DataId, moved: StoredObject) {
        let may_leave = self.memory.objects.get(&id).is_some_and(|object| object.idle_since.is_some());
        if !may_leave {
            // It came into use or was freed meanwhile: it stays what it was.
            return self.actions.extend(moved.spilled().map(Action::FreeSpilled));
        }
        self.memory.remove(id, &moved);
        self.memory.add(id, &moved);
        if let Some(old) = self.objects.replace(id, moved) {
            self.actions.extend(old.blocks().map(Action::Free));
        }
    }

    /// Who holds the objects that are outside, and in what way. It looks at everything there is.
    pub(crate) fn memory_holders(&self) -> Vec<StoreHolder> {
        let mut named = [FxHashMap::<DataId, u32>::default(), FxHashMap::default()];
        let calls =
            self.tasks.iter().flat_map(|(_, task)| task.spec.dependencies.iter().chain(&task.spec.borrowed));
        calls.for_each(|id| *named[0].entry(*id).or_default() += 1);
        self.objects.inner_references().for_each(|id| *named[1].entry(id).or_default() += 1);
        let mut users: FxHashMap<DataId, BTreeSet<HeldBy>> = FxHashMap::default();
        for (process, uses) in &self.memory.processes {
            let views = uses.views.keys().map(|id| (id, HeldBy::Views(*process)));
            let calls = uses.calls.values().flatten().map(|id| (id, HeldBy::Call(*process)));
            views.chain(calls).for_each(|(id, by)| {
                users.entry(*id).or_default().insert(by);
            });
        }
        let mut sums: BTreeMap<HeldBy, (u64, u64, u64)> = BTreeMap::new();
        for (id, object) in &self.memory.objects {
            let used_by = users.remove(id);
            for by in used_by.unwrap_or_else(|| self.referrers(*id, &named)) {
                let (memory, spilled, count) = sums.entry(by).or_default();
                (*memory, *spilled, *count) =
                    (*memory + object.memory, *spilled + object.spilled, *count + 1);
            }
        }
        sums.into_iter()
            .map(|(by, (memory, spilled, count))| StoreHolder::new(by, memory, spilled, count))
            .collect()
    }

    /// Who has refs of an object that nobody uses.
    fn referrers(&self, id: DataId, named: &[FxHashMap<DataId, u32>; 2]) -> BTreeSet<HeldBy> {
        let mut holders = BTreeSet::new();
        let [calls, objects] = named.each_ref().map(|counts| counts.get(&id).copied().unwrap_or_default());
        let mut others = calls + objects;
        for (process, worker) in &self.workers {
            if let Some(count) = worker.references.get(&id) {
                holders.insert(HeldBy::Refs(*process));
                others += count;
            }
        }
        holders.extend((calls > 0).then_some(HeldBy::WaitingCalls));
        holders.extend((objects > 0).then_some(HeldBy::Objects));
        let of_the_program = self.objects.references(id) > others;
        holders.extend(of_the_program.then_some(HeldBy::Refs(ProcessId::CONTROLLER)));
        holders
    }
}

/// What blocks take, rounding included.
fn bytes(blocks: impl Iterator<Item = Block>) -> u64 {
    blocks.map(Block::size).sum()
}
