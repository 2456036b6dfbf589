//! The description of a variable, and the resolution of its value.

use crate::ConfigError;
use crate::parse::{Allowed, Parse};
use std::ffi::{OsStr, OsString};
use std::fmt;

/// One entry of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// The environment variable.
    pub name: &'static str,
    /// The parameter type that stands for it in code.
    pub parameter: &'static str,
    /// The type of its value, in words.
    pub kind: &'static str,
    /// Its value if it is not set, in words.
    pub default: &'static str,
    /// Its allowed values, in words.
    pub allowed: &'static str,
    /// Its documentation.
    pub doc: &'static str,
}

/// Where the value of a variable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// It was not set.
    Default,
    /// The environment.
    Environment,
    /// A call of `put`.
    Code,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Default => "default",
            Source::Environment => "environment",
            Source::Code => "code",
        })
    }
}

/// A value before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) value: OsString,
    pub(crate) source: Source,
}

/// Implemented by each parameter type.
pub(crate) trait Definition {
    type Value: Parse;
    const VARIABLE: Variable;

    /// The value of a variable that is not set.
    fn default_value() -> Self::Value;
}

/// Parses `raw`. `put` stores `None` as an empty value, and every variable that can be `None` has `None` as its
/// default, so an empty value resolves to the default.
pub(crate) fn resolve<D: Definition>(raw: Option<Raw>) -> Result<D::Value, ConfigError> {
    match raw {
        Some(raw) if !raw.value.is_empty() => {
            D::Value::parse(&raw.value).ok_or_else(|| invalid::<D>(&raw.value))
        }
        _ => Ok(D::default_value()),
    }
}

pub(crate) fn invalid<D: Definition>(value: &OsStr) -> ConfigError {
    ConfigError::InvalidValue {
        variable: D::VARIABLE.name.to_owned(),
        value: value.to_string_lossy().into_owned(),
        allowed: D::Value::ALLOWED.to_owned(),
    }
}
