//! The values that the program has put: one table for the whole process.
//!
//! Values are put before a session exists, so the table is a static. It accepts changes until a session starts
//! ([`freeze`]) and again once the session has ended ([`thaw`]); its values also apply to the next session.

use crate::parse::Parse;
use crate::variable::{self, Definition, Raw, Source};
use crate::{Backend, BackendName, ConfigError};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

static TABLE: Mutex<Table> = Mutex::new(Table::new());

/// Rejects every later `put` and `reset`. Called when a session starts, before it resolves its settings, so that no
/// value set in between is lost.
pub fn freeze() {
    with(|table| table.frozen = true);
}

/// Accepts `put` and `reset` again. Called when a session has ended, or could not be started.
pub fn thaw() {
    with(|table| table.frozen = false);
}

/// Runs `action` on the table of the process.
pub(crate) fn with<R>(action: impl FnOnce(&mut Table) -> R) -> R {
    action(&mut TABLE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Sets the default backend, for a program that was started by the launcher of a backend. Called when a session starts,
/// before it resolves its settings.
pub fn suggest_backend(backend: BackendName) {
    with(|table| table.suggested_backend = Some(backend));
}

/// The value of a variable: from `put`, else from the environment, where an empty value counts as unset.
pub(crate) fn given(name: &str) -> Option<Raw> {
    with(|table| table.given(name, |name| std::env::var_os(name)))
}

#[derive(Debug)]
pub(crate) struct Table {
    frozen: bool,
    /// The values that were put, by variable; an empty value means `None`.
    values: BTreeMap<&'static str, OsString>,
    /// The value of `MpiRuntimeEnv`, which has no variable.
    runtime_env: BTreeMap<String, String>,
    suggested_backend: Option<BackendName>,
}

impl Table {
    const fn new() -> Self {
        Table {
            frozen: false,
            values: BTreeMap::new(),
            runtime_env: BTreeMap::new(),
            suggested_backend: None,
        }
    }

    pub(crate) fn put<D: Definition>(&mut self, value: OsString) -> Result<(), ConfigError> {
        let name = D::VARIABLE.name;
        self.check_not_frozen(name)?;
        if !value.is_empty() && D::Value::parse(&value).is_none() {
            return Err(variable::invalid::<D>(&value));
        }
        self.values.insert(name, value);
        Ok(())
    }

    pub(crate) fn reset(&mut self, name: &'static str) -> Result<(), ConfigError> {
        self.check_not_frozen(name)?;
        self.values.remove(name);
        Ok(())
    }

    pub(crate) fn put_runtime_env(
        &mut self,
        name: &str,
        variables: BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        self.check_not_frozen(name)?;
        self.runtime_env = variables;
        Ok(())
    }

    pub(crate) fn runtime_env(&self) -> BTreeMap<String, String> {
        self.runtime_env.clone()
    }

    fn given(&self, name: &str, environment: impl Fn(&str) -> Option<OsString>) -> Option<Raw> {
        let code = self.values.get(name).map(|value| Raw { value: value.clone(), source: Source::Code });
        let suggested = || {
            let backend = self.suggested_backend.filter(|_| name == Backend::VARIABLE.name)?;
            Some(Raw { value: backend.to_string().into(), source: Source::Default })
        };
        code.or_else(|| from_environment(environment(name))).or_else(suggested)
    }

    fn check_not_frozen(&self, name: &str) -> Result<(), ConfigError> {
        if self.frozen {
            return Err(ConfigError::AfterInit { variable: name.to_owned() });
        }
        Ok(())
    }
}

/// A value of the environment; an empty one counts as unset.
pub(crate) fn from_environment(value: Option<OsString>) -> Option<Raw> {
    let value = value.filter(|value| !value.is_empty())?;
    Some(Raw { value, source: Source::Environment })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CpuCount, LogDir};

    const CPUS: &str = "UNIDIST_CPUS";

    #[test]
    fn put_overrides_the_environment() {
        let mut table = Table::new();
        let environment = |_: &str| Some(OsString::from("2"));
        assert_eq!(table.given(CPUS, environment).unwrap().source, Source::Environment);
        table.put::<CpuCount>("3".into()).unwrap();
        let given = table.given(CPUS, environment).unwrap();
        assert_eq!((given.value, given.source), ("3".into(), Source::Code));
        table.reset(CPUS).unwrap();
        assert_eq!(table.given(CPUS, environment).unwrap().value, "2");
        assert_eq!(table.given(CPUS, |_| None), None);
        assert_eq!(table.given(CPUS, |_| Some(OsString::new())), None);
    }

    #[test]
    fn suggested_backend_is_the_default() {
        let mut table = Table::new();
        table.suggested_backend = Some(BackendName::Mpi);
        let given = table.given("UNIDIST_BACKEND", |_| None);
        assert_eq!(given.clone().unwrap().source, Source::Default);
        assert_eq!(variable::resolve::<Backend>(given), Ok(BackendName::Mpi));
        let chosen = table.given("UNIDIST_BACKEND", |_| Some("pyseq".into()));
        assert_eq!(variable::resolve::<Backend>(chosen), Ok(BackendName::Pyseq));
        assert_eq!(table.given(CPUS, |_| None), None);
    }

    #[test]
    fn put_none_overrides_the_environment() {
        let mut table = Table::new();
        table.put::<LogDir>(OsString::new()).unwrap();
        let given = table.given("UNIDIST_LOG_DIR", |_| Some("logs".into()));
        assert_eq!(given.clone().unwrap().source, Source::Code);
        assert_eq!(variable::resolve::<LogDir>(given), Ok(None));
    }

    #[test]
    fn rejected_value_leaves_the_old_one() {
        let mut table = Table::new();
        table.put::<CpuCount>("3".into()).unwrap();
        let error = table.put::<CpuCount>("none".into()).unwrap_err().to_string();
        assert!(error.contains(CPUS) && error.contains("none") && error.contains("at least 1"), "{error}");
        assert_eq!(table.given(CPUS, |_| None).unwrap().value, "3");
    }

    #[test]
    fn frozen_table_rejects_changes() {
        let mut table = Table::new();
        table.frozen = true;
        let rejected = Err(ConfigError::AfterInit { variable: CPUS.into() });
        assert_eq!(table.put::<CpuCount>("3".into()), rejected);
        assert_eq!(table.reset(CPUS), rejected);
        table.frozen = false;
        assert_eq!(table.put::<CpuCount>("3".into()), Ok(()));
    }
}
