//! The object directory: the objects, their references and their waiters.

use crate::scheduler::request::Value;
use crate::scheduler::state::id_map::IdMap;
use crate::scheduler::state::task_history::TaskHistory;
pub(crate) use crate::scheduler::state::waiters::{Waiter, Waiters};
use crate::store::StoredObject;
use std::sync::Arc;
use unidist_common::{DataId, ErrorKind, TaskError, TaskId};

/// The objects and actors that are referenced.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    entries: IdMap<DataId, Entry>,
    /// Recently finished tasks.
    pub(crate) history: TaskHistory,
}

/// An object.
#[derive(Debug)]
struct Entry {
    /// The value, once there is one.
    value: Option<Value>,
    /// The call that makes it; for an object that was put, its own id.
    task: TaskId,
    /// References of processes, of pending calls, and of other objects.
    references: u32,
    waiters: Waiters,
}

// There may be millions of these.
const _: () = assert!(size_of::<Option<Entry>>() <= 48);

/// The state of an object.
#[derive(Clone, Debug)]
pub(crate) enum ObjectState {
    /// Its task has not ended.
    Pending,
    /// It has a value.
    Settled(Value),
    /// The object was freed or never existed.
    Lost,
}

impl Objects {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The ids of all objects, in no particular order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = DataId> {
        self.entries.keys()
    }

    /// The call that makes this object, while the object has no value.
    pub(crate) fn maker(&self, id: DataId) -> Option<TaskId> {
        self.entries.get(&id).filter(|entry| entry.value.is_none()).map(|entry| entry.task)
    }

    pub(crate) fn known(&self, id: DataId) -> ObjectState {
        match self.entries.get(&id) {
            None => ObjectState::Lost,
            Some(Entry { value: None, .. }) => ObjectState::Pending,
            Some(Entry { value: Some(value), .. }) => ObjectState::Settled(value.clone()),
        }
    }

    pub(crate) fn is_pending(&self, id: DataId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.value.is_none())
    }

    pub(crate) fn contains(&self, id: DataId) -> bool {
        self.entries.contains_key(&id)
    }

    /// Gives a pending object its value. Gives the value back if there is no pending object with this id.
    pub(crate) fn set_value(&mut self, id: DataId, value: Value) -> Result<&Value, Value> {
        match self.entries.get_mut(&id) {
            Some(entry) if entry.value.is_none() => Ok(entry.value.insert(value)),
            _ => Err(value),
        }
    }

    /// Drops a reference. At the last one the object is removed: its value, if it had one.
    pub(crate) fn release(&mut self, id: DataId) -> Option<Option<Value>> {
        let entry = self.entries.get_mut(&id)?;
        if entry.references == u32::MAX {
            return None; // too many to count: it stays
        }
        entry.references -= 1;
        if entry.references > 0 {
            return None;
        }
        self.entries.remove(&id).map(|entry| entry.value)
    }

    /// The value of an object, or that it is lost. Call it for settled or lost objects only.
    pub(crate) fn value(&self, id: DataId) -> Value {
        match self.known(id) {
            ObjectState::Settled(value) => value,
            ObjectState::Pending | ObjectState::Lost => Value::Failed(Arc::new(self.lost_error(id))),
        }
    }

    /// Whether the object has a value with parts outside of messages.
    pub(crate) fn has_external_parts(&self, id: DataId) -> bool {
        let value = self.entries.get(&id).and_then(|entry| entry.value.as_ref());
        matches!(value, Some(Value::Ready(object)) if object.has_external_parts())
    }

    /// The error of an object that does not exist.
    pub(crate) fn lost_error(&self, id: DataId) -> TaskError {
        let message = match self.history.producer_of(id) {
            Some((name, call)) => format!("object {id}, which `{name}` made (call {call}), was freed"),
            None => format!("object {id} was freed or never existed in this session"),
        };
        TaskError::new(ErrorKind::ObjectLost, message)
    }

    /// Adds an object that this call will make, with one reference. False if the id is taken.
    #[must_use]
    pub(crate) fn declare(&mut self, id: DataId, task: TaskId) -> bool {
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

    /// The newest waiter for this object, if those that gave up after it are few.
    pub(crate) fn newest_waiter(&self, id: DataId) -> Option<Waiter> {
        self.entries.get(&id)?.waiters.newest()
    }

    /// How many entries the list of waiters of this object has.
    #[cfg(test)]
    pub(crate) fn waiter_count(&self, id: DataId) -> usize {
        self.entries.get(&id).map_or(0, |entry| entry.waiters.len())
    }

    /// The value of an object has moved.
    pub(crate) fn replace(&mut self, id: DataId, object: &Arc<StoredObject>) {
        if let Some(Entry { value: Some(Value::Ready(old)), .. }) = self.entries.get_mut(&id) {
            old.clone_from(object);
        }
    }

    /// The value of an object is lost, for this reason. The value that it had.
    pub(crate) fn lose(&mut self, id: DataId, why: TaskError) -> Option<Arc<StoredObject>> {
        let value = self.entries.get_mut(&id)?.value.as_mut()?;
        match std::mem::replace(value, Value::Failed(Arc::new(why))) {
            Value::Ready(object) => Some(object),
            Value::Failed(_) => None,
        }
    }

    /// The number of references to this object.
    pub(crate) fn references(&self, id: DataId) -> u32 {
        self.entries.get(&id).map_or(0, |entry| entry.references)
    }

    /// The references inside of values, one by one.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Blob;
    use bytes::Bytes;
    use unidist_common::ProcessId;

    fn id(number: u64) -> DataId {
        DataId::new(ProcessId::CONTROLLER, number)
    }

    fn value() -> Value {
        let header = Blob::Inline(Bytes::new());
        Value::Ready(Arc::new(StoredObject { header, buffers: Vec::new(), borrowed: Vec::new() }))
    }

    #[test]
    fn object_lives_until_its_last_reference() {
        let mut objects = Objects::default();
        assert!(
            objects.declare(id(1), TaskId::of_first_return(id(1)))
                && !objects.declare(id(1), TaskId::of_first_return(id(1))),
            "an id is taken once"
        );
        assert!(objects.retain(id(1)) && !objects.retain(id(2)));
        assert_eq!(objects.set_value(id(1), value()), Ok(&value()));
        assert_eq!(objects.release(id(1)), None);
        assert_eq!(objects.release(id(1)), Some(Some(value())));
        assert_eq!((objects.release(id(1)), objects.len()), (None, 0));
    }

    #[test]
    fn value_is_set_once() {
        let mut objects = Objects::default();
        assert!(objects.declare(id(1), TaskId::of_first_return(id(7))));
        assert_eq!(
            (objects.maker(id(1)), objects.is_pending(id(1))),
            (Some(TaskId::of_first_return(id(7))), true)
        );
        assert!(objects.set_value(id(1), value()).is_ok());
        assert_eq!(objects.set_value(id(1), value()), Err(value()));
        assert_eq!(objects.set_value(id(2), value()), Err(value()));
        assert_eq!((objects.maker(id(1)), objects.is_pending(id(1))), (None, false));
    }

    #[test]
    fn waiters_are_taken_in_order() {
        let mut objects = Objects::default();
        assert!(objects.declare(id(1), TaskId::of_first_return(id(1))));
        let waiters = [10, 11, 12].map(|number| Waiter::Task(TaskId::of_first_return(id(number))));
        waiters.iter().for_each(|waiter| objects.add_waiter(id(1), *waiter));
        objects.remove_waiter(id(1), waiters[1]);
        assert!(objects.take_waiters(id(1)).into_iter().eq([waiters[0], waiters[2]]));
        assert!(objects.take_waiters(id(1)).is_empty());
    }
}
