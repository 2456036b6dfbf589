//! All settings together, resolved and validated once.

use crate::machine;
use crate::parameters::{
    Backend, CancelGrace, CpuCount, HostTimeout, LogDir, MaxPendingTasks, MaxProcesses, MaxWorkers,
    MpiBackoff, MpiHosts, MpiLog, MpiPickleThreshold, MpiSharedObjectStore, MpiSharedObjectStoreMemory,
    MpiSharedObjectStoreThreshold, MpiSharedServiceMemory, MpiSpawn, ObjectStoreMemory, Resources, SpillDir,
    SpillLimit, SpmdLocal, TerminateGrace, TestBackend,
};
use crate::parameters_mpi::MpiRuntimeEnv;
use crate::parse::MEMORY;
use crate::variable::{self, Definition, Raw};
use crate::{ConfigError, HostName, table};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The backend that runs the tasks.
    pub backend: BackendName,
    /// CPU slots of this machine.
    pub cpus: NonZeroUsize,
    /// The limit of the memory that all objects on this machine use together, in bytes.
    pub object_store_memory: u64,
    /// The folder for objects that do not fit into memory; the system's temporary folder if `None`.
    pub spill_dir: Option<PathBuf>,
    /// The limit of the disk space that objects use, in bytes; the session computes it if `None`.
    pub spill_limit: Option<u64>,
    /// The resources of this machine besides CPUs, by name; amounts are finite and not negative, no name is `CPU`.
    pub resources: BTreeMap<String, f64>,
    /// The folder of the workers' log files; they log to standard error if `None`.
    pub log_dir: Option<PathBuf>,
    /// The maximum number of unfinished tasks of the program.
    pub max_pending_tasks: Option<NonZeroUsize>,
    /// The maximum number of worker processes on each host; the session computes it if `None`.
    pub max_processes: Option<NonZeroUsize>,
    /// The maximum number of calls that an executor runs at once; the number of workers if `None`.
    pub max_workers: Option<NonZeroUsize>,
    /// The grace period of a running call that was cancelled or has reached its time limit.
    pub cancel_grace: Duration,
    /// How long the hooks of a terminated program may take.
    pub terminate_grace: Duration,
    /// The time after which a host that sends nothing counts as lost.
    pub host_timeout: Duration,
    /// The settings of the backend `mpi`.
    pub mpi: MpiSettings,
    /// Whether each process of an SPMD program runs as a single rank.
    pub spmd_local: bool,
    /// The backend of tests, which overrides `backend` there.
    pub test_backend: Option<BackendName>,
}

/// The settings of the backend `mpi`.
#[derive(Clone, Debug, PartialEq)]
pub struct MpiSettings {
    /// Whether the program spawns a process on each further host.
    pub spawn: bool,
    /// The hosts; those of the launcher if empty.
    pub hosts: Vec<HostName>,
    /// The longest pause between two polls of the network while the session is in use.
    pub backoff: Duration,
    /// Whether messages and transfers between hosts are logged.
    pub log: bool,
    /// The limit of the memory that all objects on a host use together, in bytes.
    pub object_store_memory: Option<u64>,
    /// The largest buffer that is sent inside a message, in bytes.
    pub store_threshold: Option<u32>,
    /// Whether the processes of a host share its objects; `init` rejects `false`.
    pub shared_object_store: bool,
    /// The size of the table of objects in the Python package, in bytes; it has no effect.
    pub service_memory: Option<u64>,
    /// Variables that are added to the environment of workers.
    pub runtime_env: BTreeMap<String, String>,
}

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BackendName {
    /// Worker processes on all hosts of an MPI job.
    Mpi,
    /// Worker processes on this machine.
    Pymp,
    /// The calling process, one task after the other.
    Pyseq,
}

impl Settings {
    /// The settings of this process: the values that were put, else the environment, else the defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for the first invalid value.
    pub fn resolve() -> Result<Self, ConfigError> {
        let mut settings = Self::from_given(table::given)?;
        settings.mpi.runtime_env = MpiRuntimeEnv::get();
        Ok(settings)
    }

    /// The settings that an environment with these variables gives. The environment of this process and the values
    /// that were put are not used.
    ///
    /// ```
    /// use unidist_config::Settings;
    /// let settings = Settings::resolve_from(|name| (name == "UNIDIST_CPUS").then(|| "3".into()))?;
    /// assert_eq!(settings.cpus.get(), 3);
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for the first invalid value.
    pub fn resolve_from(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        Self::from_given(|name| table::from_environment(lookup(name)))
    }

    /// The resources that this machine offers besides CPUs: [`resources`](Settings::resources), and all its memory
    /// (`memory`, in bytes) unless they name another amount.
    pub fn host_resources(&self) -> BTreeMap<String, f64> {
        let mut resources = self.resources.clone();
        if let (false, Some(total)) = (resources.contains_key(MEMORY), machine::total_memory()) {
            resources.insert(MEMORY.to_owned(), total as f64);
        }
        resources
    }

    fn from_given(given: impl Fn(&str) -> Option<Raw>) -> Result<Self, ConfigError> {
        Ok(Settings {
            backend: resolve::<Backend>(&given)?,
            cpus: resolve::<CpuCount>(&given)?,
            object_store_memory: resolve::<ObjectStoreMemory>(&given)?.0,
            spill_dir: resolve::<SpillDir>(&given)?,
            spill_limit: resolve::<SpillLimit>(&given)?.0,
            resources: resolve::<Resources>(&given)?,
            log_dir: resolve::<LogDir>(&given)?,
            max_pending_tasks: resolve::<MaxPendingTasks>(&given)?,
            max_processes: resolve::<MaxProcesses>(&given)?,
            max_workers: resolve::<MaxWorkers>(&given)?,
            cancel_grace: resolve::<CancelGrace>(&given)?,
            terminate_grace: resolve::<TerminateGrace>(&given)?,
            host_timeout: resolve::<HostTimeout>(&given)?.0,
            mpi: MpiSettings {
                spawn: resolve::<MpiSpawn>(&given)?,
                hosts: resolve::<MpiHosts>(&given)?,
                backoff: resolve::<MpiBackoff>(&given)?.0,
                log: resolve::<MpiLog>(&given)?,
                object_store_memory: resolve::<MpiSharedObjectStoreMemory>(&given)?.map(|bytes| bytes.0),
                store_threshold: resolve::<MpiSharedObjectStoreThreshold>(&given)?
                    .or(resolve::<MpiPickleThreshold>(&given)?)
                    .map(|bytes| bytes.0),
                shared_object_store: resolve::<MpiSharedObjectStore>(&given)?,
                service_memory: resolve::<MpiSharedServiceMemory>(&given)?.map(|bytes| bytes.0),
                runtime_env: BTreeMap::new(),
            },
            spmd_local: resolve::<SpmdLocal>(&given)?,
            test_backend: resolve::<TestBackend>(&given)?,
        })
    }
}

fn resolve<D: Definition>(given: impl Fn(&str) -> Option<Raw>) -> Result<D::Value, ConfigError> {
    variable::resolve::<D>(given(D::VARIABLE.name))
}

impl BackendName {
    /// All backends.
    pub const ALL: [BackendName; 3] = [BackendName::Mpi, BackendName::Pymp, BackendName::Pyseq];

    /// The name, as `UNIDIST_BACKEND` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            BackendName::Mpi => "mpi",
            BackendName::Pymp => "pymp",
            BackendName::Pyseq => "pyseq",
        }
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VARIABLES;
    use std::cell::RefCell;

    fn environment(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        Settings::resolve_from(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(found.1.into())
        })
    }

    #[test]
    fn settings_have_defaults() {
        let settings = environment(&[]).unwrap();
        assert_eq!(settings.backend, BackendName::Pymp);
        assert_eq!(settings.cpus, std::thread::available_parallelism().unwrap());
        assert!(settings.object_store_memory > 0);
        assert_eq!((settings.spill_dir, settings.spill_limit), (None, None));
        assert!(settings.resources.is_empty());
        assert_eq!((settings.log_dir, settings.max_pending_tasks), (None, None));
        assert_eq!((settings.max_processes, settings.max_workers), (None, None));
        assert_eq!(settings.cancel_grace, Duration::from_secs(1));
        assert_eq!(settings.terminate_grace, Duration::from_secs(30));
        assert_eq!(settings.host_timeout, Duration::from_secs(30));
        let mpi = settings.mpi;
        assert_eq!((mpi.spawn, mpi.log, mpi.hosts.len()), (true, false, 0));
        assert_eq!((mpi.backoff, mpi.object_store_memory), (Duration::from_millis(1), None));
        assert_eq!((mpi.shared_object_store, mpi.service_memory), (true, None));
        assert!(mpi.runtime_env.is_empty());
    }

    #[test]
    fn settings_are_read_from_the_environment() {
        let settings = environment(&[
            ("UNIDIST_BACKEND", "pyseq"),
            ("UNIDIST_CPUS", "7"),
            ("UNIDIST_OBJECT_STORE_MEMORY", "2GiB"),
            ("UNIDIST_SPILL_DIR", "/var/tmp"),
            ("UNIDIST_SPILL_LIMIT", "0"),
            ("UNIDIST_RESOURCES", "gpu=2,licence=1"),
            ("UNIDIST_LOG_DIR", "/tmp/logs"),
            ("UNIDIST_MAX_PENDING_TASKS", "100"),
            ("UNIDIST_MAX_PROCESSES", "12"),
            ("UNIDIST_MAX_WORKERS", "5"),
            ("UNIDIST_CANCEL_GRACE", "0.25"),
            ("UNIDIST_TERMINATE_GRACE", "4"),
            ("UNIDIST_HOST_TIMEOUT", "2.5"),
            ("UNIDIST_MPI_SPAWN", "No"),
            ("UNIDIST_MPI_HOSTS", "node1,node2:8"),
            ("UNIDIST_MPI_BACKOFF", "1e-4"),
            ("UNIDIST_MPI_LOG", "1"),
            ("UNIDIST_MPI_SHARED_OBJECT_STORE_MEMORY", "1GiB"),
            ("UNIDIST_MPI_SHARED_OBJECT_STORE", "NO"),
            ("UNIDIST_MPI_SHARED_SERVICE_MEMORY", "1MiB"),
            ("UNIDIST_SPMD_LOCAL", "1"),
            ("UNIDIST_TEST_BACKEND", "pymp"),
            ("UNIDIST_MPI_SHARED_OBJECT_STORE_THRESHOLD", "1MiB"),
            ("UNIDIST_MPI_PICKLE_THRESHOLD", "7"),
        ]);
        let expected = Settings {
            backend: BackendName::Pyseq,
            cpus: NonZeroUsize::new(7).unwrap(),
            object_store_memory: 2 << 30,
            spill_dir: Some("/var/tmp".into()),
            spill_limit: Some(0),
            resources: [("gpu".to_owned(), 2.0), ("licence".to_owned(), 1.0)].into(),
            log_dir: Some("/tmp/logs".into()),
            max_pending_tasks: NonZeroUsize::new(100),
            max_processes: NonZeroUsize::new(12),
            max_workers: NonZeroUsize::new(5),
            cancel_grace: Duration::from_millis(250),
            terminate_grace: Duration::from_secs(4),
            host_timeout: Duration::from_millis(2500),
            mpi: MpiSettings {
                spawn: false,
                hosts: vec![
                    HostName { name: "node1".into(), cpus: None },
                    HostName { name: "node2".into(), cpus: NonZeroUsize::new(8) },
                ],
                backoff: Duration::from_micros(100),
                log: true,
                object_store_memory: Some(1 << 30),
                store_threshold: Some(1 << 20),
                shared_object_store: false,
                service_memory: Some(1 << 20),
                runtime_env: BTreeMap::new(),
            },
            spmd_local: true,
            test_backend: Some(BackendName::Pymp),
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn threshold_has_two_names() {
        const NAME: &str = "UNIDIST_MPI_SHARED_OBJECT_STORE_THRESHOLD";
        const ALIAS: &str = "UNIDIST_MPI_PICKLE_THRESHOLD";
        let threshold = |set: &[(&str, &str)]| environment(set).map(|settings| settings.mpi.store_threshold);
        assert_eq!(threshold(&[]), Ok(None));
        assert_eq!(threshold(&[(ALIAS, "4KiB")]), Ok(Some(4096)));
        assert_eq!(threshold(&[(ALIAS, "4KiB"), (NAME, "16MiB")]), Ok(Some(16 << 20)));
        for wrong in ["0", "17MiB", "-1", "many"] {
            assert!(threshold(&[(NAME, wrong)]).unwrap_err().to_string().contains(NAME), "{wrong}");
            assert!(threshold(&[(ALIAS, wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn empty_value_counts_as_unset() {
        let empty = VARIABLES.iter().map(|variable| (variable.name, "")).collect::<Vec<_>>();
        let settings = environment(&empty).unwrap();
        assert_eq!((settings.backend, settings.log_dir), (BackendName::Pymp, None));
    }

    #[test]
    fn error_names_the_variable_and_its_value() {
        for variable in VARIABLES {
            if variable.kind == "path" {
                continue; // every path is valid
            }
            let error = environment(&[(variable.name, "not=valid?")]).unwrap_err();
            let expected = ConfigError::InvalidValue {
                variable: variable.name.to_owned(),
                value: "not=valid?".to_owned(),
                allowed: variable.allowed.to_owned(),
            };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn settings_and_registry_agree() {
        let read = RefCell::new(Vec::new());
        Settings::resolve_from(|name| {
            read.borrow_mut().push(name.to_owned());
            None
        })
        .unwrap();
        let registered: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert_eq!(read.into_inner(), registered);
    }
}
