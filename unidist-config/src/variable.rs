//! What is known of a variable, and how its value is found.

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
    /// What kind of value it takes.
    pub kind: &'static str,
    /// The value if it is not set.
    pub default: &'static str,
    /// The values that are accepted.
    pub allowed: &'static str,
    /// What it does.
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

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) value: OsString,
    pub(crate) source: Source,
}

/// What the parameter types have in common.
pub(crate) trait Definition {
    type Value: Parse;
    const VARIABLE: Variable;

    /// The value if none was given.
    fn default_value() -> Self::Value;
}

/// The value of a variable, given what was set. An empty value is how "none" was put, which is the default of every
/// variable that can be without one.
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
