//! Every `UNIDIST_*` setting, once: its type, default, allowed values and documentation.
//!
//! A *variable* ([`Variable`]) is an entry of the registry ([`VARIABLES`]), from which the reference page is written
//! ([`reference_page`]). A *parameter* is its face in code, one type a variable ([`CpuCount`] and so on): `put` sets
//! it before `init`, `get` reads it, `source` says where the value comes from. What was put wins over the environment,
//! which wins over the default. [`Settings`] is all of them, resolved and validated together, once, when a session
//! starts; nothing after that reads a variable.
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
//!     "UNIDIST_CPUS: `0` is not a valid value; allowed: an integer, at least 1",
//! );
//! # Ok::<(), unidist_config::ConfigError>(())
//! ```

mod error;
mod host;
mod machine;
mod parameters;
mod parameters_mpi;
mod parameters_spmd;
mod parse;
mod reference;
mod settings;
mod table;
mod variable;

pub use error::ConfigError;
pub use host::HostName;
pub use parameters::{
    Backend, CancelGrace, CpuCount, HostTimeout, LogDir, MaxPendingTasks, MaxWorkers, MpiBackoff, MpiHosts,
    MpiLog, MpiPickleThreshold, MpiSharedObjectStore, MpiSharedObjectStoreMemory,
    MpiSharedObjectStoreThreshold, MpiSharedServiceMemory, MpiSpawn, ObjectStoreMemory, Resources, SpillDir,
    SpillLimit, SpmdLocal, VARIABLES,
};
pub use parameters_mpi::MpiRuntimeEnv;
pub use reference::reference_page;
pub use settings::{BackendName, MpiSettings, Settings};
pub use table::{freeze, suggest_backend, thaw};
pub use variable::{Source, Variable};
