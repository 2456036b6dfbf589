//! What programs of ranks read and set.

use crate::ConfigError;
use crate::parameters::{SpmdLocal, put};

impl SpmdLocal {
    /// Whether each process is one alone.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`] if the environment has a wrong value.
    pub fn get() -> Result<bool, ConfigError> {
        Self::read()
    }

    /// Sets whether each process is one alone.
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
