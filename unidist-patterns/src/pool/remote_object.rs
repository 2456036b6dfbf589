//! What the workers have copies or parts of, and when they give them up.

use super::arguments::SentObject;
use super::error::{PoolError, Result};
use super::registry::Registry;
use super::store::{ObjectKey, Place, Store};
use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use unidist_core::{CallSettings, ObjectRef, ProcessId, prepare, workers};

/// An object of which each worker of a pool has its own copy or part: what [`push`](super::WorkerPool::push),
/// [`scatter_list`](super::WorkerPool::scatter_list) and `scatter_array` give.
///
/// Passed to a pool's functions as `&object`, it arrives as the worker's own [`Local`](super::Local) or
/// [`LocalMut`](super::LocalMut).
///
/// This is a handle, and there may be several for one object: clones, and what further pushes of the same object give.
/// The workers give their copies up when all handles were [removed](RemoteObject::remove) or dropped.
///
/// ```
/// use std::sync::Arc;
/// use unidist::pool::WorkerPool;
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let pool = WorkerPool::over_session()?;
/// let model = Arc::new(vec![1.0; 1000]);
/// let (first, second) = (pool.push(&model)?, pool.push(&model)?); // one copy a worker
/// assert_eq!(first.count(), 2);
/// first.remove();
/// first.remove(); // twice is fine
/// assert!(first.removed() && !second.removed());
/// assert_eq!(second.count(), 1);
/// # Ok(())
/// # }
/// ```
pub struct RemoteObject<T> {
    handle: Arc<Handle<T>>,
}

/// What [`RemoteObjectManager`] can remove of any type.
trait Removable: Send + Sync {
    fn remove(&self);
}

struct Handle<T> {
    object: Arc<Object<T>>,
    is_removed: AtomicBool,
}

/// What all handles have in common.
pub(super) struct Object<T> {
    key: ObjectKey,
    /// The workers of the pool; none if it is sequential.
    workers: Vec<ProcessId>,
    pushed: Option<Pushed<T>>,
    state: Mutex<State<T>>,
}

/// What was pushed, so that it is known if it is pushed again: its address is not used for another object while this
/// is there.
struct Pushed<T> {
    original: Weak<T>,
    registry: Weak<Registry>,
}

struct State<T> {
    handles: usize,
    /// Where workers get their copy of what was pushed, in a session.
    source: Option<ObjectRef<T>>,
}

impl<T: Send + Sync + 'static> RemoteObject<T> {
    /// A handle of a new object, which the workers have or will get.
    pub(super) fn scattered(key: ObjectKey, workers: Vec<ProcessId>) -> Self {
        RemoteObject::first(Object {
            key,
            workers,
            pushed: None,
            state: Mutex::new(State { handles: 1, source: None }),
        })
    }

    /// The same, for something that was pushed.
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
            state: Mutex::new(State { handles: 1, source }),
        })
    }

    fn first(object: Object<T>) -> Self {
        RemoteObject {
            handle: Arc::new(Handle { object: Arc::new(object), is_removed: AtomicBool::new(false) }),
        }
    }

    /// One more handle of an object, unless the workers have given that up.
    pub(super) fn another(object: &Arc<Object<T>>) -> Option<Self> {
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

    /// Removes this handle: if it was the last one of its object, the workers give their copies up, without being
    /// waited for. The same happens when it is dropped; twice is fine.
    pub fn remove(&self) {
        self.handle.remove();
    }

    /// Whether this handle was removed.
    pub fn removed(&self) -> bool {
        self.handle.is_removed.load(Ordering::Acquire)
    }

    /// How many handles of the object there are that were not removed.
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

    pub(super) fn sent_to_be_changed(&self) -> Result<SentObject<T>> {
        match self.handle.object.pushed {
            Some(_) => Err(PoolError::Immutable { type_name: type_name::<T>() }),
            None => self.sent(),
        }
    }
}

impl<T: Send + Sync + 'static> Clone for RemoteObject<T> {
    /// Another handle, to be removed for itself. The clone of one that was removed is removed.
    fn clone(&self) -> Self {
        let object = &self.handle.object;
        let another = if self.removed() { None } else { RemoteObject::another(object) };
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
            self.object.one_less();
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
    /// What it was pushed from, if the program still has that.
    pub(super) fn is_of(&self, original: &Arc<T>) -> bool {
        self.pushed.as_ref().is_some_and(|pushed| pushed.original.as_ptr() == Arc::as_ptr(original))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_less(&self) {
        let source = {
            let mut state = self.state();
            state.handles -= 1;
            if state.handles > 0 {
                return;
            }
            state.source.take()
        };
        drop(source); // not under the lock
        if let Some(pushed) = &self.pushed
            && let Some(registry) = pushed.registry.upgrade()
        {
            registry.forget(pushed.original.as_ptr().cast(), self.key);
        }
        self.forget();
    }

    /// Has all copies given up. Nobody is left who could pass the object to a call; those that are running keep what
    /// they have.
    fn forget(&self) {
        Store::of_process().forget_all(self.key);
        if self.workers.is_empty() {
            return;
        }
        // A call of `map` may have run on a worker that is not the pool's. Without a session there are no workers.
        let there = workers().unwrap_or_default().into_iter().map(|worker| worker.id);
        for worker in there.collect::<BTreeSet<_>>() {
            let settings = CallSettings::new().name("RemoteObject::remove").on_worker(worker);
            let _ = prepare(forget_here, &settings).remote((self.key,)); // a worker that dies has no copy left
        }
    }
}

fn forget_here(key: ObjectKey) {
    Store::of_process().forget(key, Place::current());
}

/// Removes what it manages when it is dropped, whatever handles of it the program still has.
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
    /// One that manages nothing yet.
    pub fn new() -> Self {
        RemoteObjectManager::default()
    }

    /// Manages this handle, and gives it back.
    pub fn manage<T: Send + Sync + 'static>(&self, object: RemoteObject<T>) -> RemoteObject<T> {
        self.managed().push(object.handle.clone());
        object
    }

    /// Removes everything that it manages now.
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
