//! What is wrong with a setting.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A setting has a value that is not allowed, or was changed when it could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConfigError {
    /// The value of a variable is not among what is allowed.
    InvalidValue {
        /// The variable.
        variable: String,
        /// Its value, as given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// What a variable names cannot be used.
    Unusable {
        /// The variable.
        variable: String,
        /// Its value, as given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `put` was called while a session exists, so it would have had no effect.
    AfterInit {
        /// The variable.
        variable: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::InvalidValue { variable, value, allowed } => {
                write!(f, "{variable}: `{value}` is not a valid value; allowed: {allowed}")
            }
            ConfigError::Unusable { variable, value, reason } => {
                write!(f, "{variable}: `{value}` cannot be used: {reason}")
            }
            ConfigError::AfterInit { variable } => write!(
                f,
                "{variable} was set while a session exists, which would have no effect: set it before \
                 `unidist::init()`, or shut the session down first"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}
