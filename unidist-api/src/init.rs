//! The beginning and the end of a session.

use crate::entry;
use std::sync::Arc;
use unidist_config::{BackendName, Settings};
use unidist_core::session::{self, SessionHandle};
use unidist_core::{Backend, Error, PROGRAM, Program, Result, registry};

/// A handle of the session. When the last one is dropped the session ends: what is running is waited for, all its
/// processes end, all its memory is freed.
#[derive(Debug)]
#[must_use = "the session ends when its last handle is dropped"]
pub struct Session {
    _handle: SessionHandle,
}

/// Starts the backend that the configuration chooses, or gives another handle of the session that is there.
///
/// In a worker this gives a handle of the session that the worker belongs to, and its drop ends nothing.
///
/// ```
/// {
///     let session = unidist::init()?;
///     let same = unidist::init()?;
///     drop(session);
///     assert!(unidist::is_initialized());
/// }
/// assert!(!unidist::is_initialized()); // and `init` works again
/// # Ok::<(), unidist::Error>(())
/// ```
///
/// # Errors
///
/// A setting is wrong, two remote functions have one name, or the backend cannot be started.
pub fn init() -> Result<Session> {
    entry::serve_if_worker();
    registry::validate()?;
    open(start)
}

/// A handle of the session that is there, or of the one that this starts. The settings are looked at no more.
pub(crate) fn open(start: impl FnOnce() -> Result<Arc<dyn Backend>>) -> Result<Session> {
    let handle = session::open(start, unidist_config::thaw)?;
    Ok(Session { _handle: handle })
}

/// The settings. From the first look at them on, none can be changed, unless they are wrong.
pub(crate) fn resolve() -> Result<Settings> {
    unidist_config::freeze();
    // A program that an MPI launcher has started uses MPI, if that is built in and nothing else is chosen.
    #[cfg(feature = "mpi")]
    if unidist_mpi::launch::under_launcher() {
        unidist_config::suggest_backend(BackendName::Mpi);
    }
    Settings::resolve().map_err(|error| {
        unidist_config::thaw();
        Error::from(error)
    })
}

/// Whether there is a session.
pub fn is_initialized() -> bool {
    session::is_installed()
}

/// Ends the session now, whatever handles there are; without one it does nothing, and in a worker neither.
///
/// # Errors
///
/// Something could not be ended or freed; as much as possible was.
pub fn shutdown() -> Result<()> {
    session::close()
}

/// Starts the backend.
fn start() -> Result<Arc<dyn Backend>> {
    let started = select(&resolve()?, PROGRAM);
    if started.is_err() {
        unidist_config::thaw();
    }
    started
}

/// The one place that names the backends.
fn select(settings: &Settings, program: Program) -> Result<Arc<dyn Backend>> {
    let _ = &program; // a build may have no backend at all
    match settings.backend {
        #[cfg(feature = "mpi")]
        BackendName::Mpi => unidist_mpi::start(settings, program),
        #[cfg(feature = "pymp")]
        BackendName::Pymp => unidist_pymp::start(settings, program),
        #[cfg(feature = "pyseq")]
        BackendName::Pyseq => unidist_pyseq::start(settings, program),
        #[allow(unreachable_patterns, reason = "which are reachable depends on the features")]
        missing => Err(not_built(missing)),
    }
}

#[allow(dead_code, reason = "needed unless all backends are built")]
fn not_built(backend: BackendName) -> Error {
    Error::Unsupported {
        message: format!(
            "this build has no backend `{backend}`: enable the feature `{backend}` of unidist-api, or set \
             UNIDIST_BACKEND to another one"
        ),
    }
}
