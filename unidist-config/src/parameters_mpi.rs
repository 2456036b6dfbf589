//! The accessors of the parameters for several hosts and for the backend `mpi`.

use crate::parameters::{
    HostTimeout, MpiBackoff, MpiHosts, MpiLog, MpiPickleThreshold, MpiSharedObjectStore,
    MpiSharedObjectStoreMemory, MpiSharedObjectStoreThreshold, MpiSharedServiceMemory, MpiSpawn, put,
};
use crate::{ConfigError, HostName, table};
use std::collections::BTreeMap;
use std::time::Duration;

impl HostTimeout {
    /// The time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Duration, ConfigError> {
        Ok(Self::read()?.0)
    }

    /// Sets the time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for zero, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(time: Duration) -> Result<(), ConfigError> {
        put::<Self>(seconds(time).into())
    }
}

impl MpiSpawn {
    /// Whether MPI starts the processes of further hosts.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<bool, ConfigError> {
        Self::read()
    }

    /// Sets whether MPI starts the processes of further hosts.
    ///
    /// # Errors
    ///
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put(spawn: bool) -> Result<(), ConfigError> {
        put::<Self>(spawn.to_string().into())
    }
}

impl MpiHosts {
    /// The hosts; empty if those of the launcher are used.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Vec<HostName>, ConfigError> {
        Self::read()
    }

    /// Sets the hosts, each as `name` or `name:slots`; an empty list selects those of the launcher.
    ///
    /// ```
    /// use unidist_config::MpiHosts;
    /// MpiHosts::put(["node1", "node2:8"])?;
    /// assert_eq!(MpiHosts::get()?[1].name, "node2");
    /// assert!(MpiHosts::put(["node1", "node1"]).is_err());
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for an invalid host name, and for one that occurs twice;
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put<N: AsRef<str>>(hosts: impl IntoIterator<Item = N>) -> Result<(), ConfigError> {
        let hosts: Vec<_> = hosts.into_iter().map(|host| host.as_ref().to_owned()).collect();
        put::<Self>(hosts.join(",").into())
    }
}

impl MpiBackoff {
    /// The time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Duration, ConfigError> {
        Ok(Self::read()?.0)
    }

    /// Sets the time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for zero, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(time: Duration) -> Result<(), ConfigError> {
        put::<Self>(seconds(time).into())
    }
}

impl MpiLog {
    /// Whether messages and transfers between hosts are logged.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<bool, ConfigError> {
        Self::read()
    }

    /// Sets whether they are logged.
    ///
    /// # Errors
    ///
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put(log: bool) -> Result<(), ConfigError> {
        put::<Self>(log.to_string().into())
    }
}

impl MpiSharedObjectStoreMemory {
    /// The limit in bytes, if one was given.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Option<u64>, ConfigError> {
        Ok(Self::read()?.map(|bytes| bytes.0))
    }

    /// Sets the limit, in bytes, or `None` for [`ObjectStoreMemory`](crate::ObjectStoreMemory).
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for 0 and for 8 EiB or more, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(bytes: impl Into<Option<u64>>) -> Result<(), ConfigError> {
        put::<Self>(bytes.into().map(|bytes| bytes.to_string()).unwrap_or_default().into())
    }
}

impl MpiSharedObjectStore {
    /// Whether the processes of a host share its objects.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<bool, ConfigError> {
        Self::read()
    }

    /// Sets whether they share them. `mpi` does not start with `false`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put(shared: bool) -> Result<(), ConfigError> {
        put::<Self>(shared.to_string().into())
    }
}

impl MpiSharedServiceMemory {
    /// The number of bytes, if one was given. It has no effect.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Option<u64>, ConfigError> {
        Ok(Self::read()?.map(|bytes| bytes.0))
    }

    /// Sets the number of bytes, or `None` to unset it. It has no effect.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for 0 and for 8 EiB or more, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(bytes: impl Into<Option<u64>>) -> Result<(), ConfigError> {
        put::<Self>(bytes.into().map(|bytes| bytes.to_string()).unwrap_or_default().into())
    }
}

impl MpiSharedObjectStoreThreshold {
    /// The number of bytes, if one was given.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Option<u32>, ConfigError> {
        Ok(Self::read()?.map(|bytes| bytes.0))
    }

    /// Sets the number of bytes, or `None` for the default.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for 0 and for more than 16 MiB, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(bytes: impl Into<Option<u32>>) -> Result<(), ConfigError> {
        put::<Self>(bytes.into().map(|bytes| bytes.to_string()).unwrap_or_default().into())
    }
}

impl MpiPickleThreshold {
    /// The number of bytes, if one was given.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Option<u32>, ConfigError> {
        Ok(Self::read()?.map(|bytes| bytes.0))
    }

    /// Sets the number of bytes, or `None` for the default.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for 0 and for more than 16 MiB, [`ConfigError::AfterInit`] while a session exists.
    pub fn put(bytes: impl Into<Option<u32>>) -> Result<(), ConfigError> {
        put::<Self>(bytes.into().map(|bytes| bytes.to_string()).unwrap_or_default().into())
    }
}

/// Variables that `mpi` adds to the environment of its workers on every host. This parameter has no variable.
#[derive(Clone, Copy, Debug)]
pub struct MpiRuntimeEnv;

impl MpiRuntimeEnv {
    const NAME: &'static str = "MpiRuntimeEnv";

    /// The variables, by name.
    pub fn get() -> BTreeMap<String, String> {
        table::with(|table| table.runtime_env())
    }

    /// Sets the variables; they replace those set before.
    ///
    /// ```
    /// use unidist_config::MpiRuntimeEnv;
    /// MpiRuntimeEnv::put([("OMP_NUM_THREADS", "1")])?;
    /// assert_eq!(MpiRuntimeEnv::get()["OMP_NUM_THREADS"], "1");
    /// assert!(MpiRuntimeEnv::put([("A=B", "1")]).is_err());
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] for a name that is empty or has `=` in it, and for a NUL in either;
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(), ConfigError> {
        let mut all = BTreeMap::new();
        for (name, value) in variables {
            let (name, value) = (name.into(), value.into());
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(ConfigError::InvalidValue {
                    variable: Self::NAME.to_owned(),
                    value: format!("{name}={value}"),
                    allowed: "a name that is not empty and contains no `=` and no NUL, a value that contains no NUL"
                        .to_owned(),
                });
            }
            all.insert(name, value);
        }
        table::with(|table| table.put_runtime_env(Self::NAME, all))
    }
}

fn seconds(time: Duration) -> String {
    format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
}
