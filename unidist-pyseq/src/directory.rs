//! The objects of the session: reference counts, outcomes, waiting calls.

use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use unidist_backend::{Live, LiveKind, Outcome};
use unidist_common::{ActorId, DataId, Object, TaskId, TaskSpec};

/// Called with the outcome once an object is settled.
pub(crate) type Callback = Box<dyn FnOnce(Outcome) + Send>;

/// Every object and actor that has references. An actor is an object whose value says that its constructor
/// succeeded.
#[derive(Default)]
pub(crate) struct Directory {
    entries: FxHashMap<DataId, Record>,
}

struct Record {
    /// References held by the program, by unfinished calls, and by objects that contain this one.
    references: usize,
    outcome: Option<Outcome>,
    /// This object holds one reference to each of these.
    borrowed: Vec<DataId>,
    is_actor: bool,
    /// The call that makes it.
    call: Option<TaskId>,
    /// The function that makes it; empty for an object that was put.
    name: Arc<str>,
    /// Calls that depend on this object, by their number in the queue.
    waiting: Vec<u64>,
    then: Vec<Callback>,
}

/// A freed object. It must be dropped without the lock: dropping it may run user code.
pub(crate) struct Freed {
    pub(crate) id: DataId,
    pub(crate) is_actor: bool,
    _outcome: Option<Outcome>,
    _then: Vec<Callback>,
}

/// The calls and callbacks that waited for an object.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) waiting: Vec<u64>,
    pub(crate) then: Vec<Callback>,
}

impl Directory {
    /// Adds an object that this call will make.
    pub(crate) fn insert_pending(&mut self, id: DataId, spec: &TaskSpec, is_actor: bool, references: usize) {
        let record = Record {
            references,
            outcome: None,
            borrowed: Vec::new(),
            is_actor,
            call: Some(spec.id()),
            name: spec.name.clone(),
            waiting: Vec::new(),
            then: Vec::new(),
        };
        self.entries.insert(id, record);
    }

    /// Adds an object with its value and one reference.
    pub(crate) fn put(&mut self, id: DataId, object: Object) {
        for &inner in &object.borrowed {
            self.retain(inner);
        }
        let record = Record {
            references: 1,
            outcome: Some(Ok(object.payload)),
            borrowed: object.borrowed,
            is_actor: false,
            call: None,
            name: "".into(),
            waiting: Vec::new(),
            then: Vec::new(),
        };
        self.entries.insert(id, record);
    }

    /// Gives an object its outcome. It takes over the references in `borrowed`.
    pub(crate) fn settle(&mut self, id: DataId, outcome: Outcome, borrowed: Vec<DataId>) -> Settled {
        match self.entries.get_mut(&id) {
            Some(record) => {
                record.outcome = Some(outcome);
                record.borrowed = borrowed;
                Settled {
                    waiting: std::mem::take(&mut record.waiting),
                    then: std::mem::take(&mut record.then),
                }
            }
            None => Settled::default(), // the session is ending
        }
    }

    /// The outcome of an object, if it exists and has one.
    pub(crate) fn outcome(&self, id: DataId) -> Option<&Outcome> {
        self.entries.get(&id)?.outcome.as_ref()
    }

    /// The call that will settle the object, if it is not settled.
    pub(crate) fn unsettled_by(&self, id: DataId) -> Option<TaskId> {
        let record = self.entries.get(&id)?;
        match record.outcome {
            Some(_) => None,
            None => record.call,
        }
    }

    pub(crate) fn actors(&self) -> Vec<ActorId> {
        let actors = self.entries.iter().filter(|(_, record)| record.is_actor);
        let mut actors: Vec<_> = actors.map(|(id, _)| ActorId::of_handle(*id)).collect();
        actors.sort_unstable();
        actors
    }

    /// Whether the object has an outcome, or does not exist.
    pub(crate) fn is_settled(&self, id: DataId) -> bool {
        self.entries.get(&id).is_none_or(|record| record.outcome.is_some())
    }

    /// Registers the call with this number as waiting for the object. False if there is nothing to wait for.
    pub(crate) fn await_by(&mut self, id: DataId, call: u64) -> bool {
        match self.entries.get_mut(&id) {
            Some(record) if record.outcome.is_none() => {
                record.waiting.push(call);
                true
            }
            _ => false,
        }
    }

    /// Registers a callback, or returns it if there is nothing to wait for.
    pub(crate) fn add_callback(&mut self, id: DataId, then: Callback) -> Option<Callback> {
        match self.entries.get_mut(&id) {
            Some(record) if record.outcome.is_none() => {
                record.then.push(then);
                None
            }
            _ => Some(then),
        }
    }

    pub(crate) fn retain(&mut self, id: DataId) {
        if let Some(record) = self.entries.get_mut(&id) {
            record.references += 1;
        }
    }

    /// Gives one reference back. The last one frees the object and releases what it refers to; freed objects go to
    /// `freed`.
    pub(crate) fn release(&mut self, id: DataId, freed: &mut Vec<Freed>) {
        let mut released = vec![id];
        while let Some(id) = released.pop() {
            let Entry::Occupied(mut place) = self.entries.entry(id) else {
                continue;
            };
            let record = place.get_mut();
            record.references = record.references.saturating_sub(1);
            if record.references > 0 {
                continue;
            }
            let record = place.remove();
            released.extend(record.borrowed);
            freed.push(Freed { id, is_actor: record.is_actor, _outcome: record.outcome, _then: record.then });
        }
    }

    /// All objects, actors, and calls that make objects.
    pub(crate) fn live(&self) -> impl Iterator<Item = Live> {
        self.entries.iter().map(|(id, record)| {
            let kind = match (record.is_actor, &record.outcome) {
                (true, _) => LiveKind::Actor,
                (false, None) => LiveKind::Call,
                (false, Some(_)) => LiveKind::Object,
            };
            Live { id: *id, kind, name: record.name.to_string() }
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) -> Vec<Freed> {
        let records = self.entries.drain();
        records
            .map(|(id, record)| Freed {
                id,
                is_actor: record.is_actor,
                _outcome: record.outcome,
                _then: record.then,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::{Payload, ProcessId};

    fn id(n: u64) -> DataId {
        DataId::new(ProcessId::CONTROLLER, n)
    }

    fn value(borrowed: &[DataId]) -> Object {
        Object { payload: Payload::inline("value"), borrowed: borrowed.to_vec() }
    }

    fn release(directory: &mut Directory, id: DataId) -> usize {
        let mut freed = Vec::new();
        directory.release(id, &mut freed);
        freed.len()
    }

    #[test]
    fn last_release_frees_the_object() {
        let mut directory = Directory::default();
        directory.put(id(1), value(&[]));
        directory.retain(id(1));
        assert_eq!(release(&mut directory, id(1)), 0);
        assert_eq!(release(&mut directory, id(1)), 1);
        assert_eq!(directory.len(), 0);
        assert_eq!(release(&mut directory, id(1)), 0); // already freed
    }

    #[test]
    fn object_keeps_its_inner_objects_alive() {
        let mut directory = Directory::default();
        directory.put(id(1), value(&[]));
        directory.put(id(2), value(&[id(1), id(1)]));
        directory.put(id(3), value(&[id(2)]));
        assert_eq!(release(&mut directory, id(1)), 0);
        assert_eq!(release(&mut directory, id(2)), 0);
        assert_eq!(directory.len(), 3);
        assert_eq!(release(&mut directory, id(3)), 3);
    }

    #[test]
    fn release_of_a_long_chain_does_not_recurse() {
        let mut directory = Directory::default();
        directory.put(id(0), value(&[]));
        for n in 1..200_000 {
            directory.put(id(n), value(&[id(n - 1)]));
            assert_eq!(release(&mut directory, id(n - 1)), 0);
        }
        assert_eq!(release(&mut directory, id(199_999)), 200_000);
    }

    #[test]
    fn settle_returns_waiting_calls_and_callbacks() {
        let mut directory = Directory::default();
        directory.insert_pending(id(1), &crate::tests::task(id(1), 1), false, 1);
        assert!(!directory.is_settled(id(1)));
        assert!(directory.await_by(id(1), 7));
        assert!(directory.add_callback(id(1), Box::new(|_| ())).is_none());
        let settled = directory.settle(id(1), Ok(Payload::default()), Vec::new());
        assert_eq!((settled.waiting, settled.then.len()), (vec![7], 1));
        assert!(!directory.await_by(id(1), 8));
        assert!(directory.add_callback(id(1), Box::new(|_| ())).is_some());
        assert!(directory.is_settled(id(9))); // what does not exist will not change
    }
}
