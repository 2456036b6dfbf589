//! One API for distributed execution: tasks, actors and objects on one machine or a cluster.
//!
//! `.remote(..)` on a function runs it in another process. An argument is a value or a ref to one, and the result is a
//! ref, whose value [`get`] fetches. Values that cannot be sent do not compile.
//!
//! ```
//! use unidist::prelude::*;
//!
//! #[remote]
//! fn square(x: i64) -> i64 {
//!     x * x
//! }
//!
//! struct Counter {
//!     n: i64,
//! }
//!
//! #[remote]
//! impl Counter {
//!     #[new]
//!     pub fn new(n: i64) -> Self {
//!         Counter { n }
//!     }
//!     pub fn inc(&mut self, by: i64) -> i64 {
//!         self.n += by;
//!         self.n
//!     }
//! }
//!
//! fn main() -> unidist::Result<()> {
//!     let _session = unidist::init()?; // ends when it is dropped
//!     let four = square.remote(2); // returns a ref at once
//!     let sixteen = square.remote(&four); // a ref as an argument
//!     assert_eq!(get((four, sixteen))?, (4, 16));
//!
//!     let counter = Counter::remote(5); // an actor, in a process of its own
//!     assert_eq!(get(counter.inc.remote(3))?, 8);
//!     Ok(())
//! }
//! ```
//!
//! # Vocabulary
//!
//! - A *session* ([`init()`]) is a running backend, chosen by `UNIDIST_BACKEND`, with its workers.
//! - A *task* is one call of a function ([`remote`], the traits in [`prelude`]); [`closure!`] and [`map`] call
//!   closures.
//! - An *object* is an immutable value in the session; an [`ObjectRef`] refers to it: [`put`], [`get`], [`wait`]. Large
//!   arrays are shared, not copied: [`SharedSlice`].
//! - An *actor* is a value that lives in a process of its own; its methods are called through an [`ActorHandle`].
//!
//! # Failures
//!
//! `.remote(..)` neither fails nor panics: [`get`] on the ref of a failed call returns an [`Error`].
//! [`Error::downcast`] gives the error that the function itself returned.
//!
//! [`cancel`] cancels calls whose results are no longer needed, and `timeout`, an option of [`remote`] and of
//! `.options()`, limits how long a call may run. A long computation checks [`is_cancelled`] for both.
//!
//! ```
//! use std::time::Duration;
//! use unidist::prelude::*;
//! use unidist::{ErrorKind, is_cancelled};
//!
//! #[remote(timeout = 0.02)]
//! fn patient() {
//!     while !is_cancelled() {
//!         std::thread::sleep(Duration::from_millis(1));
//!     }
//! }
//!
//! # fn main() -> unidist::Result<()> {
//! # let _session = unidist::init()?;
//! # // On other backends a call may have ended when `.remote` returns.
//! # if unidist::config::Backend::get()? != unidist::config::BackendName::Pymp { return Ok(()) }
//! let error = get(patient.remote()).unwrap_err();
//! assert_eq!(error.as_task().map(|error| error.kind), Some(ErrorKind::TimedOut));
//!
//! let pending = patient.options().timeout(Duration::MAX).remote();
//! assert!(pending.cancel()?);
//! let error = get(pending).unwrap_err();
//! assert_eq!(error.as_task().map(|error| error.kind), Some(ErrorKind::Cancelled));
//! # Ok(())
//! # }
//! ```
//!
//! # Workers
//!
//! Workers are processes of the same executable. They become workers before `main` runs, so `main` needs no special
//! case for them, and only the calls run there. (Other code that runs before `main`, such as constructors of crates,
//! may not have run.) Code in a worker finds what it finds in `main`: arguments, standard streams, SIGPIPE ignored, a
//! thread named `main`, a message when its stack overflows. A shared library that starts sessions must call
//! [`worker_main`] in the executable of its workers.

#[cfg(doctest)]
mod book;
mod cluster;
mod entry;
mod init;
#[cfg(feature = "mpi")]
pub mod mpi;
mod terminate;
mod testing;

#[doc(hidden)]
pub use cluster::live_objects;
pub use cluster::{cluster_resources, get_ip, num_cpus, store_usage};
pub use entry::worker_main;
pub use init::{Session, init, is_initialized, shutdown};
pub use terminate::on_terminate;
pub use unidist_core::{
    Actor, ActorHandle, ActorMethod, ActorOptions, AnyValue, AsCompleted, Bound, ByteSize, CallOptions,
    CallSettings, CallStatus, Dep, Error, ErrorKind, Fallible, Fetch, FunctionOptions, Gettable, Group,
    HeldBy, IntoArg, MethodOptions, ObjectRef, Portable, Prepared, ProcessId, Ready, RemoteFn, Result,
    SharedSlice, StoreFull, StoreHolder, StoreUsage, TaskError, WaitSet, Waitable, Waited, WorkerInfo,
    as_completed, build_id, bulk, cancel, cancel_unstarted, closure, current_worker, end_worker, fallible,
    get, get_actor, get_timeout, is_cancelled, is_object_ref, map, prepare, put, put_ref, put_slice, refs,
    status, wait, wait_at_least, wait_for_workers, workers,
};
pub use unidist_macros::{remote, test};
#[cfg(feature = "patterns")]
pub use unidist_patterns::{executor, pool, view};

/// A shared array, a lock and a batch for programs whose ranks all run the same code.
#[cfg(feature = "spmd")]
pub use unidist_spmd as spmd;

/// Settings in code: one type per `UNIDIST_*` variable, read with `get` and set with `put` before [`init()`].
///
/// A value that was put takes precedence over the environment, which takes precedence over the default. The settings
/// are resolved together when a session starts, and cannot change while it exists.
///
/// ```
/// use unidist::config::{Backend, BackendName, CpuCount, Source};
///
/// CpuCount::put(2)?;
/// Backend::put(BackendName::Pyseq)?;
/// assert_eq!(CpuCount::source(), Source::Code);
///
/// let session = unidist::init()?;
/// assert_eq!(unidist::num_cpus()?, 2);
/// assert!(CpuCount::put(3).is_err());
/// # Ok::<(), unidist::Error>(())
/// ```
pub mod config {
    pub use unidist_config::{
        Backend, BackendName, CancelGrace, ConfigError, CpuCount, LogDir, MaxPendingTasks, MaxProcesses,
        MaxWorkers, ObjectStoreMemory, Resources, Source, SpillDir, SpillLimit, SpmdLocal, TerminateGrace,
        TestBackend,
    };
}

/// Runs the samples of the README as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// What most programs need, with the traits that give functions their `.remote`.
///
/// ```
/// use unidist::prelude::*;
///
/// fn sum(values: SharedSlice<f64>) -> f64 {
///     values.iter().sum()
/// }
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let values: ObjectRef<SharedSlice<f64>> = put_slice(&[1.0, 2.0, 3.0])?;
/// assert_eq!(get(sum.remote(&values))?, 6.0);
/// assert_eq!(get(map(|x: i64| x * x, 0..4))?, [0, 1, 4, 9]);
///
/// let factor = 10;
/// let scale = closure!([factor] |x: i64| x * factor);
/// assert_eq!(get(scale.map(0..3))?, [0, 10, 20]);
/// # Ok(())
/// # }
/// ```
pub mod prelude {
    pub use crate::{
        ActorHandle, ObjectRef, SharedSlice, closure, get, map, put, put_slice, refs, remote, wait,
    };
    pub use unidist_core::remote_traits::{
        Remote0 as _, Remote1 as _, Remote2 as _, Remote3 as _, Remote4 as _, Remote5 as _, Remote6 as _,
        RemoteAny0 as _, RemoteAny1 as _, RemoteAny2 as _, RemoteAny3 as _, RemoteAny4 as _, RemoteAny5 as _,
        RemoteAny6 as _, TooMany7 as _, TooMany8 as _,
    };
}

/// Items that the macros refer to; not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::testing::{run, run_async};
    pub use unidist_core::__private::*;
}
