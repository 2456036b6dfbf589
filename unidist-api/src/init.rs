//! Starts and ends a session.

use crate::entry;
use std::num::NonZeroUsize;
use std::sync::Arc;
use unidist_config::{BackendName, CpuCount, Settings, Source};
use unidist_core::session::{self, SessionHandle};
use unidist_core::{Backend, Error, PROGRAM, Program, Result, registry};

/// The CPU slots of a test's session.
const CPUS_OF_TESTS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// A handle of the session. When the last handle is dropped the session ends: it waits for running tasks, then stops
/// all its processes and frees all its memory.
#[derive(Debug)]
#[must_use = "the session ends when its last handle is dropped"]
pub struct Session {
    _handle: SessionHandle,
}

/// Starts the backend that the configuration chooses, or returns another handle of the existing session.
///
/// In a worker, returns a handle of the worker's session; dropping it does not end the session.
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
/// A setting is invalid, two remote functions have the same name, or the backend cannot start.
pub fn init() -> Result<Session> {
    prepare()?;
    open(start)
}

/// What comes before each session of this process.
pub(crate) fn prepare() -> Result<()> {
    entry::serve_if_worker();
    registry::validate()
}

/// Returns a handle of the existing session, or of the one that `start` starts, with settings that are already
/// resolved.
pub(crate) fn open(start: impl FnOnce() -> Result<Arc<dyn Backend>>) -> Result<Session> {
    let handle = session::open(start, unidist_config::thaw)?;
    Ok(Session { _handle: handle })
}

/// Resolves the settings. They can no longer change after that, unless they are invalid.
pub(crate) fn resolve() -> Result<Settings> {
    unidist_config::freeze();
    // A program that an MPI launcher started uses MPI, unless another backend is chosen.
    #[cfg(feature = "mpi")]
    if unidist_mpi::launch::under_launcher() {
        unidist_config::suggest_backend(BackendName::Mpi);
    }
    Settings::resolve().map_err(|error| {
        unidist_config::thaw();
        Error::from(error)
    })
}

/// Whether a session exists.
pub fn is_initialized() -> bool {
    session::is_installed()
}

/// Ends the session now, regardless of remaining handles. Does nothing without a session, and in a worker.
///
/// # Errors
///
/// A process could not be stopped or memory not be freed; the rest of the shutdown was carried out.
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

/// Starts the backend for a test: that of `UNIDIST_TEST_BACKEND`, with two CPU slots unless another number is set.
pub(crate) fn start_for_test() -> Result<Arc<dyn Backend>> {
    let mut settings = resolve()?;
    settings.backend = settings.test_backend.unwrap_or(settings.backend);
    if CpuCount::source() == Source::Default {
        settings.cpus = CPUS_OF_TESTS;
    }
    select(&settings, PROGRAM).inspect_err(|_| unidist_config::thaw())
}

/// The only place that names the backends.
fn select(settings: &Settings, program: Program) -> Result<Arc<dyn Backend>> {
    let _ = &program; // unused in a build without backends
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
