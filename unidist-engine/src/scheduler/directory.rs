//! The object directory: which objects there are, who refers to them, who waits for them.

use super::Scheduler;
use super::event::Action;
use super::id_map::IdMap;
use super::makers::Makers;
use super::request::{RequestId, Value};
use crate::network::HostId;
use crate::store::StoredObject;
use std::sync::Arc;
use unidist_common::{DataId, ErrorKind, ProcessId, TaskError};

/// The objects (and actors) that somebody refers to.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    entries: IdMap<Entry>,
    /// The calls that ended of late.
    pub(crate) makers: Makers,
}

/// One object.
#[derive(Debug)]
struct Entry {
    value: Option<Value>,
    /// The call that makes it; for what was put, itself.
    task: DataId,
    /// References of processes, of calls that wait or run, and of other objects.
    references: u32,
    waiters: Waiters,
}

// As many as there are objects under way.
const _: () = assert!(size_of::<Option<Entry>>() <= 48);

/// Who is to be told when an object has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A call that depends on it.
    Task(DataId),
    /// A `get` or `wait`.
    Request(ProcessId, RequestId),
}

/// Those who wait for one object: mostly nobody or one.
#[derive(Debug, Default)]
pub(crate) enum Waiters {
    #[default]
    None,
    One(Waiter),
    #[expect(clippy::box_collection, reason = "there are millions of these, and few are many")]
    Many(Box<Vec<Waiter>>),
}

impl Waiters {
    fn push(&mut self, waiter: Waiter) {
        match self {
            Waiters::None => *self = Waiters::One(waiter),
            Waiters::One(first) => *self = Waiters::Many(Box::new(vec![*first, waiter])),
            Waiters::Many(all) => all.push(waiter),
        }
    }

    fn remove(&mut self, waiter: Waiter) {
        match self {
            Waiters::One(only) if *only == waiter => *self = Waiters::None,
            Waiters::None | Waiters::One(_) => {}
            Waiters::Many(all) => all.retain(|other| *other != waiter),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Waiters::None)
    }

    /// In the order in which they came.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = Waiter> {
        let (one, many) = match self {
            Waiters::None => (None, Vec::new()),
            Waiters::One(only) => (Some(only), Vec::new()),
            Waiters::Many(all) => (None, *all),
        };
        one.into_iter().chain(many)
    }
}

/// What the directory knows of an object.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// Its task has not ended.
    Pending,
    /// It has a value.
    Settled(Value),
    /// There is no such object (any more).
    Lost,
}

impl Directory {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The call that makes this object, while it has no value.
    pub(crate) fn maker(&self, id: DataId) -> Option<DataId> {
        self.entries.get(&id).filter(|entry| entry.value.is_none()).map(|entry| entry.task)
    }

    pub(crate) fn known(&self, id: DataId) -> Known {
        match self.entries.get(&id) {
            None => Known::Lost,
            Some(Entry { value: None, .. }) => Known::Pending,
            Some(Entry { value: Some(value), .. }) => Known::Settled(value.clone()),
        }
    }

    pub(crate) fn is_pending(&self, id: DataId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.value.is_none())
    }

    /// The value of an object, or that it is lost. Call it for settled or lost objects only.
    pub(crate) fn value(&self, id: DataId) -> Value {
        match self.known(id) {
            Known::Settled(value) => value,
            Known::Pending | Known::Lost => Value::Failed(Arc::new(self.lost(id))),
        }
    }

    /// Whether the object has a value of which part lies outside of messages.
    pub(crate) fn is_outside(&self, id: DataId) -> bool {
        let value = self.entries.get(&id).and_then(|entry| entry.value.as_ref());
        matches!(value, Some(Value::Ready(object)) if object.has_external_parts())
    }

    /// The error of an object that is not there.
    pub(crate) fn lost(&self, id: DataId) -> TaskError {
        let message = match self.makers.find(id) {
            Some((name, call)) => format!("object {id}, which `{name}` made (call {call}), was freed"),
            None => format!("object {id} was freed or never made in this session"),
        };
        TaskError::new(ErrorKind::ObjectLost, message)
    }

    /// Adds an object that this call will make, with one reference. False if the id is taken.
    #[must_use]
    pub(crate) fn declare(&mut self, id: DataId, task: DataId) -> bool {
        let entry = Entry { value: None, task, references: 1, waiters: Waiters::None };
        self.entries.insert(id, entry).is_ok()
    }

    /// One more reference. False if there is no such object.
    #[must_use]
    pub(crate) fn retain(&mut self, id: DataId) -> bool {
        self.entries.get_mut(&id).map(|entry| entry.references = entry.references.saturating_add(1)).is_some()
    }

    pub(crate) fn add_waiter(&mut self, id: DataId, waiter: Waiter) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.waiters.push(waiter);
        }
    }

    pub(crate) fn remove_waiter(&mut self, id: DataId, waiter: Waiter) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.waiters.remove(waiter);
        }
    }

    /// The value of an object lies somewhere else.
    pub(crate) fn replace(&mut self, id: DataId, object: &Arc<StoredObject>) {
        if let Some(Entry { value: Some(Value::Ready(old)), .. }) = self.entries.get_mut(&id) {
            old.clone_from(object);
        }
    }

    /// The value of an object is gone, and this is why. What it was, if it had one.
    pub(crate) fn lose(&mut self, id: DataId, why: TaskError) -> Option<Arc<StoredObject>> {
        let value = self.entries.get_mut(&id)?.value.as_mut()?;
        match std::mem::replace(value, Value::Failed(Arc::new(why))) {
            Value::Ready(object) => Some(object),
            Value::Failed(_) => None,
        }
    }

    /// How many references there are to this object.
    pub(crate) fn references(&self, id: DataId) -> u32 {
        self.entries.get(&id).map_or(0, |entry| entry.references)
    }

    /// The references inside of objects, one by one.
    pub(crate) fn inner_references(&self) -> impl Iterator<Item = DataId> + '_ {
        let ready = |entry: &Entry| match &entry.value {
            Some(Value::Ready(object)) => Some(object.clone()),
            _ => None,
        };
        self.entries
            .iter()
            .map(|(_, entry)| entry)
            .filter_map(ready)
            .flat_map(|object| object.borrowed.clone())
    }

    pub(crate) fn take_waiters(&mut self, id: DataId) -> Waiters {
        self.entries.get_mut(&id).map(|entry| std::mem::take(&mut entry.waiters)).unwrap_or_default()
    }
}

impl Scheduler {
    /// Gives a pending object its value, which was made on this host. Those who wait for it are told once the present
    /// event has been dealt with.
    pub(crate) fn settle(&mut self, id: DataId, host: HostId, mut value: Value) {
        if let Value::Ready(object) = &mut value
            && !object.borrowed.is_empty()
        {
            // A ref to what is not there stays one to nothing: its `get` says so, and nothing is released for it.
            Arc::make_mut(object).borrowed.retain(|borrowed| self.objects.retain(*borrowed));
        }
        match self.objects.entries.get_mut(&id) {
            Some(entry) if entry.value.is_none() => {
                if let Value::Ready(object) = &value {
                    self.memory.add(id, host, object);
                }
                entry.value = Some(value);
                self.settled.push_back(id);
            }
            _ => self.discard(host, value), // nobody refers to it any more
        }
    }

    /// One reference fewer; at the last one the object is gone, and with it what it refers to.
    pub(crate) fn release(&mut self, id: DataId) {
        let mut worklist = vec![id];
        while let Some(id) = worklist.pop() {
            let Some(entry) = self.objects.entries.get_mut(&id) else {
                continue;
            };
            if entry.references == u32::MAX {
                continue; // more than can be counted: it stays
            }
            entry.references -= 1;
            if entry.references > 0 {
                continue;
            }
            let entry = self.objects.entries.remove(&id);
            if let Some(Entry { value: Some(Value::Ready(object)), .. }) = entry {
                if object.has_external_parts() {
                    for (host, copy) in self.memory.remove(id) {
                        self.free(host, &copy);
                    }
                }
                worklist.extend_from_slice(&object.borrowed);
            }
            self.actor_unreferenced(id);
        }
    }

    fn discard(&mut self, host: HostId, value: Value) {
        if let Value::Ready(object) = value {
            self.free(host, &object);
            object.borrowed.iter().for_each(|id| self.release(*id));
        }
    }

    pub(crate) fn free(&mut self, host: HostId, object: &StoredObject) {
        self.actions.extend(object.blocks().map(|block| Action::Free { host, block }));
        self.actions.extend(object.spilled_blocks().map(|block| Action::FreeSpilled { host, block }));
    }

    /// A reference of a process, which is given back if the process is lost.
    pub(crate) fn retain_for(&mut self, process: ProcessId, id: DataId) {
        if self.objects.retain(id) {
            self.note_reference(process, id);
        }
    }

    pub(crate) fn note_reference(&mut self, process: ProcessId, id: DataId) {
        if let Some(worker) = self.workers.get_mut(&process) {
            let count = worker.references.entry(id).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// A process gives a reference back; one that it does not have is ignored.
    pub(crate) fn release_for(&mut self, process: ProcessId, id: DataId) {
        if process != ProcessId::CONTROLLER {
            let Some(worker) = self.workers.get_mut(&process) else {
                return;
            };
            let Some(count) = worker.references.get_mut(&id) else {
                return;
            };
            *count -= 1;
            if *count == 0 {
                worker.references.remove(&id);
            }
        }
        self.release(id);
    }
}
