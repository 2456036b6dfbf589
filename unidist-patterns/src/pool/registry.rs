//! The pushed objects of a pool: pushing an object again gives another handle of it.

use super::local_copies::ObjectKey;
use super::remote_object::{Object, RemoteObject};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The objects that were pushed and not removed.
#[derive(Default)]
pub(super) struct Registry {
    pushed: Mutex<ByAddress>,
}

type ByAddress = HashMap<usize, (ObjectKey, Arc<dyn Any + Send + Sync>)>;

impl Registry {
    /// Another handle of the object, if it is registered.
    pub(super) fn find<T: Send + Sync + 'static>(&self, original: &Arc<T>) -> Option<RemoteObject<T>> {
        let found = self.pushed().get(&address(Arc::as_ptr(original).cast()))?.1.clone();
        handle_of(&found, original)
    }

    /// Registers a pushed object. Returns a handle of the registered one, since another thread may have pushed the same
    /// object meanwhile.
    pub(super) fn insert<T: Send + Sync + 'static>(
        &self,
        original: &Arc<T>,
        key: ObjectKey,
        handle: RemoteObject<T>,
    ) -> RemoteObject<T> {
        let mut pushed = self.pushed();
        let address = address(Arc::as_ptr(original).cast());
        if let Some(existing) = pushed.get(&address).and_then(|(_, object)| handle_of(object, original)) {
            drop(pushed); // dropping the handle takes the lock
            return existing;
        }
        let before = pushed.insert(address, (key, handle.object().clone()));
        drop(pushed);
        drop(before); // outside of the lock
        handle
    }

    /// Removes an object that the workers have dropped, unless another one has replaced it.
    pub(super) fn forget(&self, original: *const (), key: ObjectKey) {
        let removed = {
            let mut pushed = self.pushed();
            let address = address(original);
            let is_it = pushed.get(&address).is_some_and(|(entered, _)| *entered == key);
            if is_it { pushed.remove(&address) } else { None }
        };
        drop(removed); // outside of the lock
    }

    fn pushed(&self) -> MutexGuard<'_, ByAddress> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(pointer: *const ()) -> usize {
    pointer.addr()
}

/// Another handle of a registered object, if it was pushed from `original` and still has handles.
fn handle_of<T: Send + Sync + 'static>(
    registered: &Arc<dyn Any + Send + Sync>,
    original: &Arc<T>,
) -> Option<RemoteObject<T>> {
    let object: Arc<Object<T>> = registered.clone().downcast().ok()?;
    object.is_copy_of(original).then(|| RemoteObject::new_handle(&object))?
}
