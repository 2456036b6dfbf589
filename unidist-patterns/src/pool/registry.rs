//! Which objects a pool's workers have copies of: who pushes one of them again gets another handle of it.

use super::remote_object::{Object, RemoteObject};
use super::store::ObjectKey;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was pushed and not removed yet, by its address.
#[derive(Default)]
pub(super) struct Registry {
    pushed: Mutex<HashMap<usize, (ObjectKey, Arc<dyn Any + Send + Sync>)>>,
}

impl Registry {
    /// Another handle of the object, if it is there.
    pub(super) fn find<T: Send + Sync + 'static>(&self, original: &Arc<T>) -> Option<RemoteObject<T>> {
        let found = self.pushed().get(&address(Arc::as_ptr(original).cast()))?.1.clone();
        let object: Arc<Object<T>> = found.downcast().ok()?;
        object.is_of(original).then(|| RemoteObject::another(&object))?
    }

    /// Remembers what was pushed.
    pub(super) fn enter<T: Send + Sync + 'static>(
        &self,
        original: &Arc<T>,
        key: ObjectKey,
        handle: &RemoteObject<T>,
    ) {
        let object = handle.object().clone();
        let before = self.pushed().insert(address(Arc::as_ptr(original).cast()), (key, object));
        drop(before); // not under the lock
    }

    /// Forgets what the workers have given up, unless something else was entered in its place.
    pub(super) fn forget(&self, original: *const (), key: ObjectKey) {
        let gone = {
            let mut pushed = self.pushed();
            let address = address(original);
            let is_it = pushed.get(&address).is_some_and(|(entered, _)| *entered == key);
            if is_it { pushed.remove(&address) } else { None }
        };
        drop(gone); // not under the lock
    }

    fn pushed(&self) -> MutexGuard<'_, HashMap<usize, (ObjectKey, Arc<dyn Any + Send + Sync>)>> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(pointer: *const ()) -> usize {
    pointer.addr()
}
