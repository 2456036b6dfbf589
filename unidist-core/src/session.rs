//! The default session: one of the workspace's mutable statics. (Another is the table of settings made in code, in
//! `unidist-config`, which is closed while a session exists.)
//!
//! # States
//!
//! `closed` → [`open`] → `open`, with a count of handles → the last handle dropped, or [`close`] → `closed`. A worker
//! [`install`]s the connection to its scheduler instead; then [`open`] returns handles that end nothing. The lifecycle
//! lock serialises all four. The backend itself is behind a second lock, held only for a clone, so that code that runs
//! while a session starts or ends can still use it.
//!
//! The session belongs to a process. In a forked child, all calls are errors and all drops do nothing, without a lock,
//! since another thread may have held it at the moment of the fork.

use crate::callbacks;
use crate::terminate;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use unidist_backend::{Backend, Owner};
use unidist_common::{Error, Result};

/// A backend in use: cheap to clone.
#[derive(Clone)]
pub struct BackendProxy(Arc<dyn Backend>);

impl BackendProxy {
    /// A proxy of this backend.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        BackendProxy(backend)
    }

    /// Whether both belong to the same session.
    pub fn is_same(&self, other: &BackendProxy) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl Deref for BackendProxy {
    type Target = dyn Backend;

    fn deref(&self) -> &(dyn Backend + 'static) {
        &*self.0
    }
}

impl fmt::Debug for BackendProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackendProxy({})", self.0.name())
    }
}

struct DefaultSession {
    owner: Owner,
    backend: RwLock<Option<BackendProxy>>,
    lifecycle: Mutex<Lifecycle>,
}

struct Lifecycle {
    /// Counts the sessions, so that a handle of an earlier one cannot end a later one.
    generation: u64,
    handles: usize,
    /// Called once the session has ended. `None` for an installed session.
    on_end: Option<fn()>,
}

static DEFAULT: DefaultSession = DefaultSession {
    owner: Owner::none(),
    backend: RwLock::new(None),
    lifecycle: Mutex::new(Lifecycle { generation: 0, handles: 0, on_end: None }),
};

/// Whether a default session has been shut down.
static HAS_ENDED: AtomicBool = AtomicBool::new(false);

/// Makes `backend` the default session of this process. A session installed before is forgotten, not shut down.
pub fn install(backend: Arc<dyn Backend>) {
    set(Some(BackendProxy::new(backend)));
}

/// Forgets the default session without shutting it down.
pub fn uninstall() {
    set(None);
}

/// Whether there is a default session. A forked child has none.
pub fn is_installed() -> bool {
    peek().is_some()
}

/// Whether this is a forked child of the process that the session belongs to.
pub(crate) fn is_forked() -> bool {
    DEFAULT.owner.is_forked()
}

/// The default session, on behalf of the public function `call`.
///
/// # Errors
///
/// [`Error::NotInitialized`], [`Error::SessionEnded`] if there was a session, or [`Error::Forked`], naming `call`.
pub fn current(call: &str) -> Result<BackendProxy> {
    check_owner(call)?;
    peek().ok_or_else(|| match HAS_ENDED.load(Ordering::Relaxed) {
        true => Error::SessionEnded { call: call.to_owned() },
        false => Error::NotInitialized { call: call.to_owned() },
    })
}

/// A handle of the default session. The drop of the last one shuts the session down.
#[derive(Debug)]
pub struct SessionHandle {
    /// `None` in a worker, whose session ends with the process.
    generation: Option<u64>,
    owner: Owner,
}

impl SessionHandle {
    fn new(generation: Option<u64>) -> Self {
        SessionHandle { generation, owner: Owner::this_process() }
    }
}

/// A handle of the default session, started with `start` if there is none. `on_end` is called when the session has
/// ended.
///
/// # Errors
///
/// Those of `start`, or [`Error::Forked`].
pub fn open(start: impl FnOnce() -> Result<Arc<dyn Backend>>, on_end: fn()) -> Result<SessionHandle> {
    check_owner("init")?;
    let mut lifecycle = lifecycle();
    if is_installed() {
        let owned = lifecycle.on_end.is_some();
        lifecycle.handles += usize::from(owned);
        return Ok(SessionHandle::new(owned.then_some(lifecycle.generation)));
    }
    DEFAULT.owner.claim();
    install(start().inspect_err(|_| DEFAULT.owner.release())?);
    lifecycle.generation += 1;
    lifecycle.handles = 1;
    lifecycle.on_end = Some(on_end);
    Ok(SessionHandle::new(Some(lifecycle.generation)))
}

/// Shuts the default session down, however many handles exist. Does nothing in a worker, in a forked child or without a
/// session.
///
/// # Errors
///
/// Those of [`Backend::shutdown`]. The session has ended nevertheless.
pub fn close() -> Result<()> {
    if DEFAULT.owner.is_forked() {
        return Ok(());
    }
    terminate::wait_if_terminating();
    let ended = end(&mut lifecycle());
    callbacks::finish(); // without the lock: a callback may use it
    ended
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        if self.owner.is_forked() {
            return;
        }
        terminate::wait_if_terminating();
        let mut lifecycle = lifecycle();
        if self.generation != Some(lifecycle.generation) || lifecycle.handles == 0 {
            return;
        }
        lifecycle.handles -= 1;
        if lifecycle.handles > 0 {
            return;
        }
        if let Err(error) = end(&mut lifecycle) {
            log::error!("the session did not end cleanly: {error}");
        }
        drop(lifecycle);
        callbacks::finish(); // without the lock: a callback may use it
    }
}

fn end(lifecycle: &mut Lifecycle) -> Result<()> {
    let Some(on_end) = lifecycle.on_end.take() else {
        return Ok(());
    };
    lifecycle.handles = 0;
    // It stays installed during the shutdown: running calls may need it.
    let ended = match peek() {
        Some(backend) => backend.shutdown(),
        None => Ok(()),
    };
    HAS_ENDED.store(true, Ordering::Relaxed);
    uninstall();
    terminate::forget_hooks();
    on_end();
    ended
}

fn lifecycle() -> MutexGuard<'static, Lifecycle> {
    DEFAULT.lifecycle.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_owner(call: &str) -> Result<()> {
    if DEFAULT.owner.is_forked() { Err(Error::Forked { call: call.to_owned() }) } else { Ok(()) }
}

/// Whether the session belongs to this process, which ends it: false in a worker.
pub(crate) fn is_own() -> bool {
    lifecycle().on_end.is_some()
}

pub(crate) fn peek() -> Option<BackendProxy> {
    if DEFAULT.owner.is_forked() {
        return None;
    }
    DEFAULT.backend.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set(backend: Option<BackendProxy>) {
    if backend.is_some() {
        DEFAULT.owner.claim()
    } else {
        DEFAULT.owner.release()
    }
    let before = {
        let mut slot = DEFAULT.backend.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *slot, backend)
    };
    drop(before); // without the lock: dropping a backend may run code
}
