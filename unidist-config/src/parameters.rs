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

/// Declares the parameter types, each with its documentation, the type of its value and its default (as a value and in
/// words), and the list of their variables.
macro_rules! registry {
    ($(
        $(#[doc = $doc:literal])+
        $parameter:ident = $name:literal: $value:ty, default $default:expr, $default_text:literal;
    )+) => {
        /// The registry of all variables.
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

                /// Discards the value that was put.
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
    /// The backend that runs the tasks: `pymp`, in worker processes on this machine; `mpi`, in worker processes on all
    /// hosts of an MPI job; `pyseq`, in the calling process, one task after the other (to debug a program, or as a
    /// reference). The default is `mpi` in a program that was built with `mpi` and started by an MPI launcher.
    Backend = "UNIDIST_BACKEND": BackendName, default BackendName::Pymp, "pymp";

    /// The number of CPU slots of this machine. A running task holds one slot, unless its options request another
    /// number.
    CpuCount = "UNIDIST_CPUS": NonZeroUsize, default available_cpus(),
        "the CPUs that the process may use";

    /// The limit of the memory that all objects on this machine use together. It is a limit, not a reservation:
    /// memory is allocated when an object is created. The default follows the limits of the control group (container,
    /// batch job) and of the process (`ulimit -v`, `ulimit -f`).
    ObjectStoreMemory = "UNIDIST_OBJECT_STORE_MEMORY": ByteCount, default half_of_available_memory(),
        "half of the memory available when the session starts";

    /// The folder for objects that do not fit into memory. Above the limit, the least recently used objects are written
    /// to a file there, and read back when they are needed. The file has no name, so nothing is left in the folder,
    /// however the session ends. `pyseq` does not use it.
    SpillDir = "UNIDIST_SPILL_DIR": Option<PathBuf>, default None, "the system's temporary folder";

    /// The limit of the disk space that objects use. 0 turns spilling off: a full store is then an error at once.
    SpillLimit = "UNIDIST_SPILL_LIMIT": ByteLimit, default ByteLimit(None),
        "half of the free space of the folder when the session starts";

    /// The resources of this machine besides CPUs, under names of your choice, for calls and actors that request them.
    Resources = "UNIDIST_RESOURCES": BTreeMap<String, f64>, default BTreeMap::new(), "none";

    /// The folder in which each worker process writes its log file. If it is not set, they log to standard error.
    LogDir = "UNIDIST_LOG_DIR": Option<PathBuf>, default None, "none";

    /// The maximum number of unfinished tasks of the program. At the limit, `.remote` blocks until a task ends; inside
    /// a task it never blocks.
    MaxPendingTasks = "UNIDIST_MAX_PENDING_TASKS": Option<NonZeroUsize>, default None, "no limit";

    /// The maximum number of worker processes on each host; actors have processes of their own and do not count. A task
    /// that waits in `get` keeps its process, so the workers may become more than the CPU slots. At the limit, tasks run
    /// on top of waiting ones. It is never lower than the number of CPU slots.
    MaxProcesses = "UNIDIST_MAX_PROCESSES": Option<NonZeroUsize>, default None, "256, and 8 more for each CPU slot";

    /// The maximum number of calls that an executor (`unidist::executor`) runs at once, unless the program sets another
    /// one.
    MaxWorkers = "UNIDIST_MAX_WORKERS": Option<NonZeroUsize>, default None, "the number of workers";

    /// The grace period, in seconds, of a running call that was cancelled or has reached its time limit. If the call has
    /// not ended by then, its worker process is killed.
    CancelGrace = "UNIDIST_CANCEL_GRACE": Duration, default Duration::from_secs(1), "1";

    /// The grace period, in seconds, of the hooks of `on_terminate`: how long they may run after SIGTERM or SIGINT before
    /// the program ends without them.
    TerminateGrace = "UNIDIST_TERMINATE_GRACE": Duration, default Duration::from_secs(30), "30";

    /// The number of seconds after which a host of the session that sends nothing counts as lost, with its tasks and
    /// objects.
    HostTimeout = "UNIDIST_HOST_TIMEOUT": Positive, default Positive(Duration::from_secs(30)), "30";

    /// How the processes of `mpi` are started. If true, the program is a single MPI process, and spawns one process on
    /// each further host. If false, the launcher starts all processes (`mpiexec -n N`): rank 0 is the program, one
    /// process on each host is its monitor, and each other process provides one worker.
    MpiSpawn = "UNIDIST_MPI_SPAWN": bool, default true, "true";

    /// The hosts of `mpi` besides the one that the program runs on, which is always the first. If the list names that
    /// host too, its number of CPU slots applies.
    MpiHosts = "UNIDIST_MPI_HOSTS": Vec<HostName>, default Vec::new(), "the hosts that the launcher was given";

    /// The longest pause, in seconds, between two polls of the network while the session is in use. A shorter pause
    /// lowers latency and uses more CPU time.
    MpiBackoff = "UNIDIST_MPI_BACKOFF": Positive, default Positive(Duration::from_millis(1)), "0.001";

    /// Whether each message and each transfer between hosts is logged, at level `info`.
    MpiLog = "UNIDIST_MPI_LOG": bool, default false, "false";

    /// The limit of the memory that all objects on a host use together, for each host of `mpi`. It overrides
    /// UNIDIST_OBJECT_STORE_MEMORY.
    MpiSharedObjectStoreMemory = "UNIDIST_MPI_SHARED_OBJECT_STORE_MEMORY": Option<ByteCount>, default None,
        "that of UNIDIST_OBJECT_STORE_MEMORY";

    /// The largest buffer of an object that `mpi` sends inside a message. A larger buffer is stored in the object store
    /// of each host that needs it, in memory that the processes of the host share, and counts towards its limit.
    MpiSharedObjectStoreThreshold = "UNIDIST_MPI_SHARED_OBJECT_STORE_THRESHOLD": Option<Threshold>, default None,
        "that of UNIDIST_MPI_PICKLE_THRESHOLD, else 32KiB";

    /// Another name of UNIDIST_MPI_SHARED_OBJECT_STORE_THRESHOLD, which overrides it: a buffer is sent in a message or
    /// stored. (The Python package has a third way, for buffers between the two thresholds.)
    MpiPickleThreshold = "UNIDIST_MPI_PICKLE_THRESHOLD": Option<Threshold>, default None,
        "that of UNIDIST_MPI_SHARED_OBJECT_STORE_THRESHOLD";

    /// Whether the processes of a host share the memory of its objects. With `mpi` they always do: `false` is an error
    /// of `init`. The variable exists for programs that set it for the Python package.
    MpiSharedObjectStore = "UNIDIST_MPI_SHARED_OBJECT_STORE": bool, default true, "true";

    /// The size of the shared table of objects in the Python package. `mpi` has no such table, so a value has no effect
    /// except a warning in the log. (Each process has 512 KiB for messages, both directions together; all other memory
    /// grows and shrinks with need.)
    MpiSharedServiceMemory = "UNIDIST_MPI_SHARED_SERVICE_MEMORY": Option<ByteCount>, default None, "none";

    /// Whether each process of an SPMD program (`spmd`) runs as a single rank. It then needs no MPI.
    SpmdLocal = "UNIDIST_SPMD_LOCAL": bool, default false, "false";

    /// The backend of tests that are marked with `#[unidist::test]`. It overrides UNIDIST_BACKEND.
    TestBackend = "UNIDIST_TEST_BACKEND": Option<BackendName>, default None, "that of UNIDIST_BACKEND";
}

impl Backend {
    /// The backend that the next session uses.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
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
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
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
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
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
    /// None at present; the signature matches the other parameters.
    pub fn get() -> Result<Option<PathBuf>, ConfigError> {
        Self::read()
    }

    /// Sets the folder, or `None` for the system's temporary folder. `init` checks that it can be used.
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
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Option<u64>, ConfigError> {
        Ok(Self::read()?.0)
    }

    /// Sets the limit, in bytes; 0 turns spilling off, `None` selects the default.
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
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<BTreeMap<String, f64>, ConfigError> {
        Self::read()
    }

    /// Sets the resources of this machine; they replace those set before.
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
    /// None at present; the signature matches the other parameters.
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
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
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

impl MaxProcesses {
    /// The limit, if one was set.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Option<NonZeroUsize>, ConfigError> {
        Self::read()
    }

    /// Sets the limit, or `None` for the default.
    ///
    /// ```
    /// use unidist_config::MaxProcesses;
    /// MaxProcesses::put(32)?;
    /// assert_eq!(MaxProcesses::get()?.map(|limit| limit.get()), Some(32));
    /// assert!(MaxProcesses::put(0).is_err());
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
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Option<NonZeroUsize>, ConfigError> {
        Self::read()
    }

    /// Sets the limit, or `None` for the number of workers.
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
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
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

impl TerminateGrace {
    /// The time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Duration, ConfigError> {
        Self::read()
    }

    /// Sets the time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unidist_config::TerminateGrace;
    /// TerminateGrace::put(Duration::from_secs(50))?;
    /// assert_eq!(TerminateGrace::get()?, Duration::from_secs(50));
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

/// Validates and stores a value; an empty one means `None` and overrides the environment too.
pub(crate) fn put<D: Definition>(value: OsString) -> Result<(), ConfigError> {
    table::with(|table| table.put::<D>(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_have_the_prefix() {
        let mut names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert!(names.iter().all(|name| name.starts_with("UNIDIST_")));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), VARIABLES.len());
    }

    /// The only test that uses the table of the process, so that no other test sees its values.
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
        let rejected = MaxPendingTasks::put(3).unwrap_err();
        crate::thaw();
        assert_eq!(rejected, ConfigError::AfterInit { variable: "UNIDIST_MAX_PENDING_TASKS".into() });
        MaxPendingTasks::put(3).unwrap();
        MaxPendingTasks::reset().unwrap();
    }
}
