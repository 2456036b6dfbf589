//! The copies and parts of remote objects in this process. With a backend that runs all workers in one process, several
//! workers have their copies here, so each copy also has an owner.

use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use unidist_core::{ProcessId, current_worker};

/// The key of an object, unique across processes and sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct ObjectKey {
    /// A random number of the process that made it, since ids of processes and workers are reused.
    origin: u64,
    number: u64,
}

/// The worker to which a copy belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum CopyOwner {
    /// The program itself, for sequential pools.
    SequentialPool,
    Worker(ProcessId),
}

impl CopyOwner {
    /// The worker that runs this code.
    pub(super) fn current() -> Self {
        current_worker().map_or(CopyOwner::SequentialPool, CopyOwner::Worker)
    }
}

type AnyCopy = Arc<dyn Any + Send + Sync>;

/// All copies in this process.
pub(super) struct LocalCopies {
    origin: u64,
    next: AtomicU64,
    copies: Mutex<HashMap<ObjectKey, HashMap<CopyOwner, AnyCopy>>>,
}

/// The copies of this process: calls on a worker share no other state.
static COPIES: LazyLock<LocalCopies> = LazyLock::new(|| LocalCopies {
    origin: RandomState::new().hash_one(std::process::id()),
    next: AtomicU64::new(0),
    copies: Mutex::default(),
});

impl LocalCopies {
    pub(super) fn of_process() -> &'static LocalCopies {
        &COPIES
    }

    /// A new key.
    pub(super) fn new_key(&self) -> ObjectKey {
        ObjectKey { origin: self.origin, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }

    /// The copy, if there is one.
    pub(super) fn find<T: Send + Sync + 'static>(
        &self,
        key: ObjectKey,
        owner: CopyOwner,
    ) -> Option<Arc<LocalCopy<T>>> {
        let copy = self.copies().get(&key)?.get(&owner)?.clone();
        copy.downcast().ok()
    }

    /// Inserts a value, unless there is one. Returns the stored copy.
    pub(super) fn insert<T: Send + Sync + 'static>(
        &self,
        key: ObjectKey,
        owner: CopyOwner,
        value: Arc<T>,
    ) -> Option<Arc<LocalCopy<T>>> {
        let new: AnyCopy = Arc::new(LocalCopy::new(value));
        let kept = self.copies().entry(key).or_default().entry(owner).or_insert_with(|| new.clone()).clone();
        drop(new); // outside of the lock, since `drop` of an unneeded value may run user code
        kept.downcast().ok()
    }

    /// Drops the copy of one owner.
    pub(super) fn forget(&self, key: ObjectKey, owner: CopyOwner) {
        let removed = {
            let mut copies = self.copies();
            let removed = copies.get_mut(&key).and_then(|places| places.remove(&owner));
            if copies.get(&key).is_some_and(HashMap::is_empty) {
                copies.remove(&key);
            }
            removed
        };
        drop(removed); // outside of the lock
    }

    /// Drops all copies in this process.
    pub(super) fn forget_all(&self, key: ObjectKey) {
        let removed = self.copies().remove(&key);
        drop(removed); // outside of the lock
    }

    fn copies(&self) -> MutexGuard<'_, HashMap<ObjectKey, HashMap<CopyOwner, AnyCopy>>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One copy: present, possibly shared with readers, or taken by a writer.
pub(super) struct LocalCopy<T> {
    value: Mutex<Option<Arc<T>>>,
}

impl<T> LocalCopy<T> {
    fn new(value: Arc<T>) -> Self {
        LocalCopy { value: Mutex::new(Some(value)) }
    }

    /// The value for reading; `None` while a writer has it.
    pub(super) fn share(&self) -> Option<Arc<T>> {
        self.value().clone()
    }

    /// The value for writing; `None` while others have it.
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
    fn writer_has_exclusive_access() {
        let store = LocalCopies::of_process();
        let key = store.new_key();
        let copy = store.insert(key, CopyOwner::SequentialPool, Arc::new(1)).unwrap();
        let readers = (copy.share().unwrap(), copy.share().unwrap());
        assert!(copy.take().is_none());
        drop(readers);
        let value = copy.take().unwrap();
        assert!(copy.share().is_none() && copy.take().is_none());
        copy.put_back(value + 1);
        assert_eq!(copy.share().as_deref(), Some(&2));
        store.forget_all(key);
        assert!(store.find::<i32>(key, CopyOwner::SequentialPool).is_none());
    }

    #[test]
    fn first_inserted_copy_stays() {
        let store = LocalCopies::of_process();
        let key = store.new_key();
        store.insert(key, CopyOwner::SequentialPool, Arc::new(1)).unwrap();
        let copy = store.insert(key, CopyOwner::SequentialPool, Arc::new(2)).unwrap();
        assert_eq!(copy.share().as_deref(), Some(&1));
        assert!(store.find::<String>(key, CopyOwner::SequentialPool).is_none());
        store.forget(key, CopyOwner::SequentialPool);
        assert!(store.find::<i32>(key, CopyOwner::SequentialPool).is_none());
    }
}
