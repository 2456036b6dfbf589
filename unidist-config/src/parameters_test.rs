//! The accessors of the parameters of tests.

use crate::parameters::{TestBackend, put};
use crate::{BackendName, ConfigError};

impl TestBackend {
    /// The backend of tests, if one is set.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<Option<BackendName>, ConfigError> {
        Self::read()
    }

    /// Sets the backend of tests.
    ///
    /// ```
    /// use unidist_config::{BackendName, TestBackend};
    /// TestBackend::put(BackendName::Pyseq)?;
    /// assert_eq!(TestBackend::get()?, Some(BackendName::Pyseq));
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
