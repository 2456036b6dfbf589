//! The registry: one parameter type for each variable.

use crate::machine::{available_cpus, half_of_available_memory};
use crate::parse::{Allowed, ByteCount, ByteLimit, Positive, Threshold};
use crate::variable::{self, Definition, Source, Variable};
use crate::{BackendName, ConfigError, HostName, table};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Declares the parameter types, each with its documentation, default (as a value and in words) and type of value,
/// and the list of their variables.
macro_rules! registry {
    ($(
        $(#[doc = $doc:literal])+
        $parameter:ident = $name:literal: $value:ty, default $default:expr, $default_text:literal;
    )+) => {
        /// The registry: every variable there is.
        pub const VARIABLES: &[Variable] = &[$($parameter::VARIABLE),+];

        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug)]
            pub struct $parameter;

            impl Definition for $parameter {
                type Value = $value;
                const VARIABLE: Variable = Variable {
                    name: $name,
                    parameter: stringify!($parameter),
                    kind: <$value>::KIND,
                    default: $default_text,
                    allowed: <$value>::ALLOWED,
                    doc: concat!($($doc, "\n"),+),
                };

                fn default_value() -> $value {
                    $default
                }
            }

            impl $parameter {
                /// Where the value comes from.
                pub fn source() -> Source {
                    table::given($name).map_or(Source::Default, |raw| raw.source)
                }

                /// Forgets what was put.
                ///
                /// # Errors
                ///
                /// [`ConfigError::AfterInit`] while a session exists.
                pub fn reset() -> Result<(), ConfigError> {
                    table::with(|table| table.reset($name))
                }

                pub(crate) fn read() -> Result<$value, ConfigError> {
                    variable::resolve::<$parameter>(table::given($name))
                }
            }
        )+
    };
}

registry! {
    /// What runs the tasks: `pymp`, worker processes on this machine; `mpi`, worker processes on all hosts of an MPI
    /// job; or `pyseq`, the calling process itself, one task after the other (to debug a program, or to compare with).
    /// A program that was built with `mpi`, and started by an MPI launcher, uses that where nothing is set.
    Backend = "UNIDIST_BACKEND": BackendName, default BackendName::Pymp, "pymp";

    /// How many CPU slots this machine has. A task holds one while it runs, unless it asks for another number.
    CpuCount = "UNIDIST_CPUS": NonZeroUsize, default available_cpus(),
        "the CPUs that the process may use";

    /// How many bytes the objects on this machine may take together. It is a limit, not a reservation: memory is
    /// taken as objects come.
    ObjectStoreMemory = "UNIDIST_OBJECT_STORE_MEMORY": ByteCount, default half_of_available_memory(),
        "half of the memory available when the session starts";

    /// The folder for objects that do not fit into memory: over the limit, those that were not used for the longest
    /// time are written to a file there, and read from it when they are needed. The file has no name, so nothing is
    /// left in the folder, however the session ends. `pyseq` has no use for it.
    SpillDir = "UNIDIST_SPILL_DIR": Option<PathBuf>, default None, "the system's temporary folder";

    /// How many bytes of objects may lie on disk. 0: none, so that a full store is an error at once.
    SpillLimit = "UNIDIST_SPILL_LIMIT": ByteLimit, default ByteLimit(None),
        "half of what is free in the folder when the session starts";

    /// What this machine has besides CPUs, by names of your own choice, for tasks and actors that ask for it.
    Resources = "UNIDIST_RESOURCES": BTreeMap<String, f64>, default BTreeMap::new(), "none";

    /// The folder in which each worker process writes its log file. Without it they write to standard error.
    LogDir = "UNIDIST_LOG_DIR": Option<PathBuf>, default None, "none";

    /// How many tasks of the program may be unfinished at once: above it, `.remote` waits for one to end. Inside a
    /// task it never waits.
    MaxPendingTasks = "UNIDIST_MAX_PENDING_TASKS": Option<NonZeroUsize>, default None, "no limit";

    /// How many calls of an executor (`unidist::executor`) run at once, if the program does not say so itself.
    MaxWorkers = "UNIDIST_MAX_WORKERS": Option<NonZeroUsize>, default None, "as many as there are workers";

    /// How many seconds a call that was cancelled, or has run out of time, has to leave its worker process. One that
    /// has not by then, because it computes without end or waits for something else, loses its worker.
    CancelGrace = "UNIDIST_CANCEL_GRACE": Duration, default Duration::from_secs(1), "1";

    /// How many seconds another host of the session may be silent. Then it is lost, with what runs and lies there.
    HostTimeout = "UNIDIST_HOST_TIMEOUT": Positive, default Positive(Duration::from_secs(30)), "30";

    /// How `mpi` gets its processes. If true, the program is one MPI process and has MPI start one process on each
    /// further host. If false, they were all started by the launcher (`mpiexec -n N`): the first is the program, on
    /// each host one more looks after that host, and each other one stands for a worker.
    MpiSpawn = "UNIDIST_MPI_SPAWN": bool, default true, "true";

    /// The hosts of `mpi` besides the one that the program runs on, which is always the first. Of a list that names
    /// this host, the number of CPU slots counts.
    MpiHosts = "UNIDIST_MPI_HOSTS": Vec<HostName>, default Vec::new(), "the hosts that the launcher was given";

    /// For how many seconds at most a process does not look whether another host has sent something, while the
    /// session is in use. Less is quicker and takes more of a core.
    MpiBackoff = "UNIDIST_MPI_BACKOFF": Positive, default Positive(Duration::from_millis(1)), "0.001";

    /// Whether each message and each piece of memory that goes from host to host is logged, at the level `info`.
    MpiLog = "UNIDIST_MPI_LOG": bool, default false, "false";

    /// What UNIDIST_OBJECT_STORE_MEMORY is for the other backends; with `mpi` it is the limit of each host.
    MpiSharedObjectStoreMemory = "UNIDIST_MPI_SHARED_OBJECT_STORE_MEMORY": Option<ByteCount>, default None,
        "that of UNIDIST_OBJECT_STORE_MEMORY";

    /// How many bytes a buffer of an object may have to travel in the messages of `mpi`. One of more lies in the store
    /// of each host that needs it, in memory that the processes there share, and counts against its limit.
    MpiSharedObjectStoreThreshold = "UNIDIST_MPI_SHARED_OBJECT_STORE_THRESHOLD": Option<Threshold>, default None,
        "that of UNIDIST_MPI_PICKLE_THRESHOLD, else 32KiB";

    /// Another name for UNIDIST_MPI_SHARED_OBJECT_STORE_THRESHOLD, which wins: what does not travel in a message lies
    /// in the store. In the Python package there is a way between.
    MpiPickleThreshold = "UNIDIST_MPI_PICKLE_THRESHOLD": Option<Threshold>, default None,
        "that of UNIDIST_MPI_SHARED_OBJECT_STORE_THRESHOLD";

    /// Whether the processes of a host share the memory of its objects. With `mpi` they always do, so that `false` is
    /// an error of `init`; the variable is that of the Python package.
    MpiSharedObjectStore = "UNIDIST_MPI_SHARED_OBJECT_STORE": bool, default true, "true";

    /// In the Python package, how many bytes the shared table of objects takes. With `mpi` there is none: each process
    /// has 512 KiB for messages, both ways together, and what else is needed grows and shrinks. A value changes
    /// nothing, and the log says so.
    MpiSharedServiceMemory = "UNIDIST_MPI_SHARED_SERVICE_MEMORY": Option<ByteCount>, default None, "none";

    /// Whether programs of ranks (`spmd`) take each process for one alone: then they need no MPI, and run as they would
    /// with a single rank.
    SpmdLocal = "UNIDIST_SPMD_LOCAL": bool, default false, "false";
}

impl Backend {
    /// The backend that the next session uses.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has a wrong value.
    pub fn get() -> Result<BackendName, ConfigError> {
        Self::read()
    }

    /// Sets the backend that the next session uses.
    ///
    /// ```
    /// use unidist_config::{Backend, BackendName};
    /// Backend::put(BackendName::Pyseq)?;
    /// assert_eq!(Backend::get()?, BackendName::Pyseq);
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put(backend: BackendName) -> Result<(), ConfigError> {
        put::<Self>(backend.as_str().into())
    }
}

impl CpuCount {
    /// The number of CPU slots.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has a wrong value.
    pub fn get() -> Result<NonZeroUsize, ConfigError> {
        Self::read()
    }

    /// Sets the number of CPU slots.
    ///
    /// ```
    /// use unidist_config::{CpuCount, Source};
    /// CpuCount::put(4)?;
    /// assert_eq!((CpuCount::get()?.get(), CpuCount::source()), (4, Source::Code));
    /// assert!(CpuCount::put(0).is_err());
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for 0, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(cpus: usize) -> Result<(), ConfigError> {
        put::<Self>(cpus.to_string().into())
    }
}

impl ObjectStoreMemory {
    /// The limit in bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has a wrong value.
    pub fn get() -> Result<u64, ConfigError> {
        Ok(Self::read()?.0)
    }

    /// Sets the limit, in bytes.
    ///
    /// ```
    /// use unidist_config::ObjectStoreMemory;
    /// ObjectStoreMemory::put(512 << 20)?;
    /// assert_eq!(ObjectStoreMemory::get()?, 512 << 20);
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for 0 and for 8 EiB or more, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(bytes: u64) -> Result<(), ConfigError> {
        put::<Self>(bytes.to_string().into())
    }
}

impl SpillDir {
    /// The folder, if one was given.
    ///
    /// # Errors
    ///
    /// None today; the signature is that of the other parameters.
    pub fn get() -> Result<Option<PathBuf>, ConfigError> {
        Self::read()
    }

    /// Sets the folder, or `None` for the system's temporary folder. Whether it can be used is seen by `init`.
    ///
    /// ```
    /// use std::path::PathBuf;
    /// use unidist_config::SpillDir;
    /// SpillDir::put(PathBuf::from("/var/tmp"))?;
    /// assert_eq!(SpillDir::get()?, Some("/var/tmp".into()));
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put(folder: impl Into<Option<PathBuf>>) -> Result<(), ConfigError> {
        put::<Self>(folder.into().unwrap_or_default().into())
    }
}

impl SpillLimit {
    /// The limit in bytes, if one was given.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has a wrong value.
    pub fn get() -> Result<Option<u64>, ConfigError> {
        Ok(Self::read()?.0)
    }

    /// Sets the limit, in bytes; 0 turns spilling off, `None` leaves the choice to the session.
    ///
    /// ```
    /// use unidist_config::SpillLimit;
    /// SpillLimit::put(10 << 30)?;
    /// assert_eq!(SpillLimit::get()?, Some(10 << 30));
    /// SpillLimit::put(0)?;
    /// assert_eq!(SpillLimit::get()?, Some(0));
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for 8 EiB or more, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(limit: impl Into<Option<u64>>) -> Result<(), ConfigError> {
        put::<Self>(limit.into().map(|limit| limit.to_string()).unwrap_or_default().into())
    }
}

impl Resources {
    /// The amount of each resource, by name.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has a wrong value.
    pub fn get() -> Result<BTreeMap<String, f64>, ConfigError> {
        Self::read()
    }

    /// Sets what this machine has, instead of all that was set before.
    ///
    /// ```
    /// use unidist_config::Resources;
    /// Resources::put([("gpu", 2.0), ("licence", 1.0)])?;
    /// assert_eq!(Resources::get()?["gpu"], 2.0);
    /// assert!(Resources::put([("CPU", 8.0)]).is_err());
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for an amount that is negative or not finite, for a name that is empty, occurs
    /// twice or has a space, `=` or `,` in it, and for `CPU`; [`ConfigError::AfterInit`] while a session exists.
    pub fn put<N: AsRef<str>>(resources: impl IntoIterator<Item = (N, f64)>) -> Result<(), ConfigError> {
        let mut text = String::new();
        for (name, amount) in resources {
            let (name, comma) = (name.as_ref(), if text.is_empty() { "" } else { "," });
            if name.contains([',', '=']) {
                return Err(variable::invalid::<Self>(name.as_ref()));
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{name}={amount}");
        }
        put::<Self>(text.into())
    }
}

impl LogDir {
    /// The folder, if there is one.
    ///
    /// # Errors
    ///
    /// None today; the signature is that of the other parameters.
    pub fn get() -> Result<Option<PathBuf>, ConfigError> {
        Self::read()
    }

    /// Sets the folder, or `None` for standard error.
    ///
    /// ```
    /// use std::path::PathBuf;
    /// use unidist_config::LogDir;
    /// LogDir::put(PathBuf::from("logs"))?;
    /// assert_eq!(LogDir::get()?, Some("logs".into()));
    /// LogDir::put(None)?;
    /// assert_eq!(LogDir::get()?, None);
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put(folder: impl Into<Option<PathBuf>>) -> Result<(), ConfigError> {
        put::<Self>(folder.into().unwrap_or_default().into())
    }
}

impl MaxPendingTasks {
    /// The limit, if there is one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has a wrong value.
    pub fn get() -> Result<Option<NonZeroUsize>, ConfigError> {
        Self::read()
    }

    /// Sets the limit, or `None` for no limit.
    ///
    /// ```
    /// use unidist_config::MaxPendingTasks;
    /// MaxPendingTasks::put(1000)?;
    /// assert_eq!(MaxPendingTasks::get()?.map(|limit| limit.get()), Some(1000));
    /// MaxPendingTasks::put(None)?;
    /// assert_eq!(MaxPendingTasks::get()?, None);
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for 0, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(limit: impl Into<Option<usize>>) -> Result<(), ConfigError> {
        put::<Self>(limit.into().map(|limit| limit.to_string()).unwrap_or_default().into())
    }
}

impl MaxWorkers {
    /// The limit, if there is one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has a wrong value.
    pub fn get() -> Result<Option<NonZeroUsize>, ConfigError> {
        Self::read()
    }

    /// Sets the limit, or `None` for as many as there are workers.
    ///
    /// ```
    /// use unidist_config::MaxWorkers;
    /// MaxWorkers::put(2)?;
    /// assert_eq!(MaxWorkers::get()?.map(|limit| limit.get()), Some(2));
    /// assert!(MaxWorkers::put(0).is_err());
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for 0, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(limit: impl Into<Option<usize>>) -> Result<(), ConfigError> {
        put::<Self>(limit.into().map(|limit| limit.to_string()).unwrap_or_default().into())
    }
}

impl CancelGrace {
    /// The time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has a wrong value.
    pub fn get() -> Result<Duration, ConfigError> {
        Self::read()
    }

    /// Sets the time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unidist_config::CancelGrace;
    /// CancelGrace::put(Duration::from_millis(100))?;
    /// assert_eq!(CancelGrace::get()?, Duration::from_millis(100));
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put(time: Duration) -> Result<(), ConfigError> {
        put::<Self>(format!("{}.{:09}", time.as_secs(), time.subsec_nanos()).into())
    }
}

/// Validates and stores a value; an empty one stands for "none", also where the environment says otherwise.
pub(crate) fn put<D: Definition>(value: OsString) -> Result<(), ConfigError> {
    table::with(|table| table.put::<D>(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_ours() {
        let mut names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert!(names.iter().all(|name| name.starts_with("UNIDIST_")));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), VARIABLES.len());
    }

    /// The only test of the process's own table: what is put is seen, in one place after the other.
    #[test]
    fn put_then_get() {
        assert!(Resources::put([("a,b", 1.0)]).is_err());
        assert!(Resources::put([("a=b", 1.0)]).is_err());
        assert!(Resources::put([("", 1.0)]).is_err());
        assert!(Resources::put([("gpu", f64::NAN)]).is_err());
        assert!(Resources::put([("gpu", 1.0), ("gpu", 1.0)]).is_err());
        Resources::put([("gpu", 0.1 + 0.2)]).unwrap();
        assert_eq!(Resources::get().unwrap()["gpu"].to_bits(), (0.1_f64 + 0.2).to_bits());
        Resources::put::<&str>([]).unwrap();
        assert!(Resources::get().unwrap().is_empty());
        assert_eq!(Resources::source(), Source::Code);
        Resources::reset().unwrap();
        assert_ne!(Resources::source(), Source::Code);

        assert!(ObjectStoreMemory::put(u64::MAX).is_err());
        assert!(ObjectStoreMemory::get().unwrap() > 0);

        crate::freeze();
        let refused = MaxPendingTasks::put(3).unwrap_err();
        crate::thaw();
        assert_eq!(refused, ConfigError::AfterInit { variable: "UNIDIST_MAX_PENDING_TASKS".into() });
        MaxPendingTasks::put(3).unwrap();
        MaxPendingTasks::reset().unwrap();
    }
}
