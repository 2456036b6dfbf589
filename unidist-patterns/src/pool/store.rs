//! The copies that a process has. With a backend that runs everything in one process, several workers have theirs here,
//! so each is kept under the name of its worker too.

use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use unidist_core::{ProcessId, current_worker};

/// One object of one pool: no other has this name, in any process or session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct ObjectKey {
    /// The process that made it, by a number drawn by chance: ids of processes and workers are used again.
    origin: u64,
    number: u64,
}

/// Whose copy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// That of a sequential pool.
    Here,
    Worker(ProcessId),
}

impl Place {
    /// That of the worker this code runs on.
    pub(super) fn current() -> Self {
        current_worker().map_or(Place::Here, Place::Worker)
    }
}

type AnyCopy = Arc<dyn Any + Send + Sync>;

/// All copies in this process.
pub(super) struct Store {
    origin: u64,
    next: AtomicU64,
    copies: Mutex<HashMap<ObjectKey, HashMap<Place, AnyCopy>>>,
}

/// The one of this process: calls on a worker have nothing else in common.
static STORE: LazyLock<Store> = LazyLock::new(|| Store {
    origin: RandomState::new().hash_one(std::process::id()),
    next: AtomicU64::new(0),
    copies: Mutex::default(),
});

impl Store {
    pub(super) fn of_process() -> &'static Store {
        &STORE
    }

    /// A key that no other object has.
    pub(super) fn new_key(&self) -> ObjectKey {
        ObjectKey { origin: self.origin, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }

    /// The copy that is there.
    pub(super) fn find<T: Send + Sync + 'static>(
        &self,
        key: ObjectKey,
        place: Place,
    ) -> Option<Arc<Kept<T>>> {
        let copy = self.copies().get(&key)?.get(&place)?.clone();
        copy.downcast().ok()
    }

    /// Keeps a value, unless there is one already; gives the one that is kept.
    pub(super) fn keep<T: Send + Sync + 'static>(
        &self,
        key: ObjectKey,
        place: Place,
        value: Arc<T>,
    ) -> Option<Arc<Kept<T>>> {
        let new: AnyCopy = Arc::new(Kept::new(value));
        let kept = self.copies().entry(key).or_default().entry(place).or_insert_with(|| new.clone()).clone();
        drop(new); // not under the lock: it may be a value that is not needed, with code of its own
        kept.downcast().ok()
    }

    /// Gives up the copy that is there.
    pub(super) fn forget(&self, key: ObjectKey, place: Place) {
        let gone = {
            let mut copies = self.copies();
            let gone = copies.get_mut(&key).and_then(|places| places.remove(&place));
            if copies.get(&key).is_some_and(HashMap::is_empty) {
                copies.remove(&key);
            }
            gone
        };
        drop(gone); // not under the lock
    }

    /// Gives up all copies in this process.
    pub(super) fn forget_all(&self, key: ObjectKey) {
        let gone = self.copies().remove(&key);
        drop(gone); // not under the lock
    }

    fn copies(&self) -> MutexGuard<'_, HashMap<ObjectKey, HashMap<Place, AnyCopy>>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One copy: there, perhaps read by some, or taken by whoever changes it.
pub(super) struct Kept<T> {
    value: Mutex<Option<Arc<T>>>,
}

impl<T> Kept<T> {
    fn new(value: Arc<T>) -> Self {
        Kept { value: Mutex::new(Some(value)) }
    }

    /// The value, to be read. None while it is changed.
    pub(super) fn share(&self) -> Option<Arc<T>> {
        self.value().clone()
    }

    /// The value itself. None while others have it.
    pub(super) fn take(&self) -> Option<T> {
        let mut slot = self.value();
        match Arc::try_unwrap(slot.take()?) {
            Ok(value) => Some(value),
            Err(shared) => {
                *slot = Some(shared);
                None
            }
        }
    }

    pub(super) fn put_back(&self, value: T) {
        *self.value() = Some(Arc::new(value));
    }

    fn value(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_changes_a_copy_has_it_alone() {
        let store = Store::of_process();
        let key = store.new_key();
        let copy = store.keep(key, Place::Here, Arc::new(1)).unwrap();
        let readers = (copy.share().unwrap(), copy.share().unwrap());
        assert!(copy.take().is_none());
        drop(readers);
        let value = copy.take().unwrap();
        assert!(copy.share().is_none() && copy.take().is_none());
        copy.put_back(value + 1);
        assert_eq!(copy.share().as_deref(), Some(&2));
        store.forget_all(key);
        assert!(store.find::<i32>(key, Place::Here).is_none());
    }

    #[test]
    fn the_first_copy_stays() {
        let store = Store::of_process();
        let key = store.new_key();
        store.keep(key, Place::Here, Arc::new(1)).unwrap();
        let copy = store.keep(key, Place::Here, Arc::new(2)).unwrap();
        assert_eq!(copy.share().as_deref(), Some(&1));
        assert!(store.find::<String>(key, Place::Here).is_none());
        store.forget(key, Place::Here);
        assert!(store.find::<i32>(key, Place::Here).is_none());
    }
}
