//! Every `UNIDIST_*` setting, once: its type, default, allowed values and documentation.
//!
//! A *variable* ([`Variable`]) is an entry of the registry ([`VARIABLES`]); the reference page ([`reference_page`]) is
//! generated from the registry. A *parameter* is a type that stands for one variable in code ([`CpuCount`] and so on):
//! `put` sets it before `init`, `get` reads it, `source` tells where the value comes from. A value from `put` overrides
//! the environment, which overrides the default. [`Settings`] holds the values of all variables; it is resolved and
//! validated once, when a session starts. Later code reads no variable.
//!
//! ```
//! use unidist_config::{Backend, BackendName, CpuCount, Settings, Source};
//!
//! CpuCount::put(4)?;
//! Backend::put(BackendName::Pyseq)?;
//!
//! assert_eq!(CpuCount::source(), Source::Code);
//! let settings = Settings::resolve()?;
//! assert_eq!((settings.backend, settings.cpus.get()), (BackendName::Pyseq, 4));
//! assert_eq!(
//!     CpuCount::put(0).unwrap_err().to_string(),
//!     "UNIDIST_CPUS: `0` is not valid; allowed: an integer of at least 1",
//! );
//! # Ok::<(), unidist_config::ConfigError>(())
//! ```

pub mod cgroup;
mod error;
mod host;
mod machine;
mod parameters;
mod parameters_mpi;
mod parameters_spmd;
mod parameters_test;
mod parse;
mod reference;
mod settings;
mod table;
mod variable;

pub use error::ConfigError;
pub use host::HostName;
pub use parameters::{
    Backend, CancelGrace, CpuCount, HostTimeout, LogDir, MaxPendingTasks, MaxProcesses, MaxWorkers,
    MpiBackoff, MpiHosts, MpiLog, MpiPickleThreshold, MpiSharedObjectStore, MpiSharedObjectStoreMemory,
    MpiSharedObjectStoreThreshold, MpiSharedServiceMemory, MpiSpawn, ObjectStoreMemory, Resources, SpillDir,
    SpillLimit, SpmdLocal, TerminateGrace, TestBackend, VARIABLES,
};
pub use parameters_mpi::MpiRuntimeEnv;
pub use reference::reference_page;
pub use settings::{BackendName, MpiSettings, Settings};
pub use table::{freeze, suggest_backend, thaw};
pub use variable::{Source, Variable};
