//! [`RemoteObject`]: objects that the workers hold, and when they drop them.

use super::arguments::SentObject;
use super::error::{PoolError, Result};
use super::local_copies::{CopyOwner, LocalCopies, ObjectKey};
use super::registry::Registry;
use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use unidist_core::{CallSettings, ObjectRef, ProcessId, prepare, workers};

/// An object of which each worker of a pool has its own copy or part: made by [`push`](super::WorkerPool::push),
/// [`scatter_list`](super::WorkerPool::scatter_list) and `scatter_array`.
///
/// Passed to a pool's functions as `&object`, it arrives as the worker's own [`Local`](super::Local) or
/// [`LocalMut`](super::LocalMut).
///
/// It is a handle; an object has several if it is cloned or pushed again. The workers drop their copies when all
/// handles are [removed](RemoteObject::remove) or dropped.
///
/// ```
/// use std::sync::Arc;
/// use unidist::pool::WorkerPool;
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let pool = WorkerPool::over_session()?;
/// let model = Arc::new(vec![1.0; 1000]);
/// let (first, second) = (pool.push(&model)?, pool.push(&model)?); // one copy per worker
/// assert_eq!(first.count(), 2);
/// first.remove();
/// first.remove(); // no effect
/// assert!(first.removed() && !second.removed());
/// assert_eq!(second.count(), 1);
/// # Ok(())
/// # }
/// ```
pub struct RemoteObject<T> {
    handle: Arc<Handle<T>>,
}

/// A handle of any type, for [`RemoteObjectManager`].
trait Removable: Send + Sync {
    fn remove(&self);
}

struct Handle<T> {
    object: Arc<Object<T>>,
    is_removed: AtomicBool,
}

/// The object that its handles share.
pub(super) struct Object<T> {
    key: ObjectKey,
    /// The workers of the pool; empty if it is sequential.
    workers: Vec<ProcessId>,
    pushed: Option<Pushed<T>>,
    state: Mutex<HandleState<T>>,
}

/// The original of a pushed object, to recognize it when it is pushed again. The weak reference keeps its address from
/// being reused.
struct Pushed<T> {
    original: Weak<T>,
    registry: Weak<Registry>,
}

struct HandleState<T> {
    handles: usize,
    /// Where workers get their copy of a pushed object; `None` in a sequential pool.
    source: Option<ObjectRef<T>>,
}

impl<T: Send + Sync + 'static> RemoteObject<T> {
    /// The first handle of a scattered object.
    pub(super) fn scattered(key: ObjectKey, workers: Vec<ProcessId>) -> Self {
        RemoteObject::first(Object {
            key,
            workers,
            pushed: None,
            state: Mutex::new(HandleState { handles: 1, source: None }),
        })
    }

    /// The first handle of a pushed object.
    pub(super) fn pushed(
        key: ObjectKey,
        workers: Vec<ProcessId>,
        original: &Arc<T>,
        source: Option<ObjectRef<T>>,
        registry: &Arc<Registry>,
    ) -> Self {
        let pushed = Pushed { original: Arc::downgrade(original), registry: Arc::downgrade(registry) };
        RemoteObject::first(Object {
            key,
            workers,
            pushed: Some(pushed),
            state: Mutex::new(HandleState { handles: 1, source }),
        })
    }

    fn first(object: Object<T>) -> Self {
        RemoteObject {
            handle: Arc::new(Handle { object: Arc::new(object), is_removed: AtomicBool::new(false) }),
        }
    }

    /// Another handle of an object, unless the workers have dropped it.
    pub(super) fn new_handle(object: &Arc<Object<T>>) -> Option<Self> {
        let mut state = object.state();
        if state.handles == 0 {
            return None;
        }
        state.handles += 1;
        let handle = Handle { object: object.clone(), is_removed: AtomicBool::new(false) };
        Some(RemoteObject { handle: Arc::new(handle) })
    }

    pub(super) fn object(&self) -> &Arc<Object<T>> {
        &self.handle.object
    }

    /// Removes this handle, as its drop does. If it is the last one of the object, the workers drop their copies; this
    /// does not wait for them. Removing it again has no effect.
    pub fn remove(&self) {
        self.handle.remove();
    }

    /// Whether this handle was removed.
    pub fn removed(&self) -> bool {
        self.handle.is_removed.load(Ordering::Acquire)
    }

    /// The number of the object's handles that were not removed.
    pub fn count(&self) -> usize {
        self.handle.object.state().handles
    }

    pub(super) fn sent(&self) -> Result<SentObject<T>> {
        let object = &self.handle.object;
        if self.removed() {
            return Err(PoolError::Removed { type_name: type_name::<T>() });
        }
        Ok(SentObject { key: object.key, source: object.state().source.clone() })
    }

    pub(super) fn sent_mut(&self) -> Result<SentObject<T>> {
        match self.handle.object.pushed {
            Some(_) => Err(PoolError::Immutable { type_name: type_name::<T>() }),
            None => self.sent(),
        }
    }
}

impl<T: Send + Sync + 'static> Clone for RemoteObject<T> {
    /// Another handle, removed independently. The clone of a removed handle is removed.
    fn clone(&self) -> Self {
        let object = &self.handle.object;
        let another = if self.removed() { None } else { RemoteObject::new_handle(object) };
        another.unwrap_or_else(|| {
            let handle = Handle { object: object.clone(), is_removed: AtomicBool::new(true) };
            RemoteObject { handle: Arc::new(handle) }
        })
    }
}

impl<T> fmt::Debug for RemoteObject<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handle = &self.handle;
        f.debug_struct(&format!("RemoteObject<{}>", type_name::<T>()))
            .field("handles", &handle.object.state().handles)
            .field("removed", &handle.is_removed.load(Ordering::Acquire))
            .finish()
    }
}

impl<T> Handle<T> {
    fn remove(&self) {
        if !self.is_removed.swap(true, Ordering::AcqRel) {
            self.object.release_handle();
        }
    }
}

impl<T: Send + Sync> Removable for Handle<T> {
    fn remove(&self) {
        Handle::remove(self);
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        self.remove();
    }
}

impl<T> Object<T> {
    /// Whether it was pushed from `original`.
    pub(super) fn is_copy_of(&self, original: &Arc<T>) -> bool {
        self.pushed.as_ref().is_some_and(|pushed| pushed.original.as_ptr() == Arc::as_ptr(original))
    }

    fn state(&self) -> MutexGuard<'_, HandleState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release_handle(&self) {
        let source = {
            let mut state = self.state();
            state.handles -= 1;
            if state.handles > 0 {
                return;
            }
            state.source.take()
        };
        drop(source); // outside of the lock
        if let Some(pushed) = &self.pushed
            && let Some(registry) = pushed.registry.upgrade()
        {
            registry.forget(pushed.original.as_ptr().cast(), self.key);
        }
        self.forget();
    }

    /// Drops all copies. No handle is left to pass the object to a call; running calls keep their copies.
    fn forget(&self) {
        LocalCopies::of_process().forget_all(self.key);
        if self.workers.is_empty() {
            return;
        }
        // A call of `map` may have run on a worker outside of the pool. Without a session there are no workers.
        let current = workers().unwrap_or_default().into_iter().map(|worker| worker.id);
        for worker in current.collect::<BTreeSet<_>>() {
            let settings = CallSettings::new().name("RemoteObject::remove").on_worker(worker);
            // It fails only if the worker dies, and its copy with it.
            let _ = prepare(forget_here, &settings).remote((self.key,));
        }
    }
}

fn forget_here(key: ObjectKey) {
    LocalCopies::of_process().forget(key, CopyOwner::current());
}

/// Removes the handles that it manages when it is dropped.
///
/// ```
/// use std::sync::Arc;
/// use unidist::pool::{RemoteObjectManager, WorkerPool};
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let pool = WorkerPool::over_session()?;
/// let matrix = {
///     let manager = RemoteObjectManager::new();
///     let matrix = manager.manage(pool.push(&Arc::new(vec![0.0; 100]))?);
///     assert!(!matrix.removed());
///     matrix
/// };
/// assert!(matrix.removed());
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct RemoteObjectManager {
    managed: Mutex<Vec<Arc<dyn Removable>>>,
}

impl RemoteObjectManager {
    /// A manager of no objects.
    pub fn new() -> Self {
        RemoteObjectManager::default()
    }

    /// Manages this handle, and returns it.
    pub fn manage<T: Send + Sync + 'static>(&self, object: RemoteObject<T>) -> RemoteObject<T> {
        self.managed().push(object.handle.clone());
        object
    }

    /// Removes all handles that it manages.
    pub fn remove_all(&self) {
        let managed = std::mem::take(&mut *self.managed());
        managed.iter().for_each(|object| object.remove());
    }

    fn managed(&self) -> MutexGuard<'_, Vec<Arc<dyn Removable>>> {
        self.managed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RemoteObjectManager {
    fn drop(&mut self) {
        self.remove_all();
    }
}

impl fmt::Debug for RemoteObjectManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteObjectManager({} objects)", self.managed().len())
    }
}
