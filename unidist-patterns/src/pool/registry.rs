//! Which objects a pool's workers have copies of: who pushes one of them again gets another handle of it.

use super::remote_object::{Object, RemoteObject};
use super::store::ObjectKey;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was pushed and not removed yet.
#[derive(Default)]
pub(super) struct Registry {
    pushed: Mutex<ByAddress>,
}

type ByAddress = HashMap<usize, (ObjectKey, Arc<dyn Any + Send + Sync>)>;

impl Registry {
    /// Another handle of the object, if it is there.
    pub(super) fn find<T: Send + Sync + 'static>(&self, original: &Arc<T>) -> Option<RemoteObject<T>> {
        let found = self.pushed().get(&address(Arc::as_ptr(original).cast()))?.1.clone();
        handle_of(&found, original)
    }

    /// Remembers what was pushed. Gives a handle of what is remembered: another thread may have pushed the same object
    /// meanwhile.
    pub(super) fn enter<T: Send + Sync + 'static>(
        &self,
        original: &Arc<T>,
        key: ObjectKey,
        handle: RemoteObject<T>,
    ) -> RemoteObject<T> {
        let mut pushed = self.pushed();
        let address = address(Arc::as_ptr(original).cast());
        if let Some(there) = pushed.get(&address).and_then(|(_, object)| handle_of(object, original)) {
            drop(pushed); // the handle's drop needs the lock
            return there;
        }
        let before = pushed.insert(address, (key, handle.object().clone()));
        drop(pushed);
        drop(before); // not under the lock
        handle
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

    fn pushed(&self) -> MutexGuard<'_, ByAddress> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(pointer: *const ()) -> usize {
    pointer.addr()
}

/// Another handle of what is entered, if it is of this original and there are handles still.
fn handle_of<T: Send + Sync + 'static>(
    entered: &Arc<dyn Any + Send + Sync>,
    original: &Arc<T>,
) -> Option<RemoteObject<T>> {
    let object: Arc<Object<T>> = entered.clone().downcast().ok()?;
    object.is_of(original).then(|| RemoteObject::another(&object))?
}
