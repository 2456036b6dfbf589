//! The accessors of the parameters of SPMD programs.

use crate::ConfigError;
use crate::parameters::{SpmdLocal, put};

impl SpmdLocal {
    /// Whether each process runs as a single rank.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has an invalid value.
    pub fn get() -> Result<bool, ConfigError> {
        Self::read()
    }

    /// Sets whether each process runs as a single rank.
    ///
    /// ```
    /// use unidist_config::SpmdLocal;
    /// SpmdLocal::put(true)?;
    /// assert!(SpmdLocal::get()?);
    /// # Ok::<(), unidist_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::AfterInit`] while a session exists.
    pub fn put(local: bool) -> Result<(), ConfigError> {
        put::<Self>(local.to_string().into())
    }
}
