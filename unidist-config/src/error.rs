//! The error of a setting.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A setting has a value that is not allowed, or was changed while a session exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConfigError {
    /// A variable has a value that is not allowed.
    InvalidValue {
        /// The variable.
        variable: String,
        /// Its value, as given.
        value: String,
        /// The allowed values, in words.
        allowed: String,
    },
    /// The file, folder or host that a variable names cannot be used.
    Unusable {
        /// The variable.
        variable: String,
        /// Its value, as given.
        value: String,
        /// Why it cannot be used.
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
                write!(f, "{variable}: `{value}` is not valid; allowed: {allowed}")
            }
            ConfigError::Unusable { variable, value, reason } => {
                write!(f, "{variable}: `{value}` cannot be used: {reason}")
            }
            ConfigError::AfterInit { variable } => write!(
                f,
                "{variable} cannot be changed while a session exists: set it before `unidist::init()`, or shut the \
                 session down first"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}
