//! Every text in a variable is a value in its range, or an error that names the allowed values.
#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::collection::btree_map;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use unidist_config::{BackendName, ConfigError, Settings, VARIABLES, Variable, reference_page};

const CPUS: &str = "UNIDIST_CPUS";
const MEMORY: &str = "UNIDIST_OBJECT_STORE_MEMORY";
const RESOURCES: &str = "UNIDIST_RESOURCES";
const LOG_DIR: &str = "UNIDIST_LOG_DIR";
const PENDING: &str = "UNIDIST_MAX_PENDING_TASKS";
const BACKEND: &str = "UNIDIST_BACKEND";

/// The settings of an environment with only this variable.
fn settings_with(variable: &str, value: impl Into<OsString>) -> Result<Settings, ConfigError> {
    let value = value.into();
    Settings::resolve_from(|name| (name == variable).then(|| value.clone()))
}

fn variable(name: &str) -> &'static Variable {
    VARIABLES.iter().find(|variable| variable.name == name).unwrap()
}

/// Checks for a value in the documented range, or an error that names the variable, the value and the allowed values.
fn assert_in_range_or_error(variable: &Variable, value: &OsString) {
    match settings_with(variable.name, value.clone()) {
        Ok(settings) => {
            assert!((1..i64::MAX as u64 + 1).contains(&settings.object_store_memory));
            for (name, amount) in &settings.resources {
                assert!(amount.is_finite() && *amount >= 0.0, "{name}={amount}");
                assert!(!name.is_empty() && !name.contains([' ', ',', '=']), "{name:?}");
                assert!(!name.eq_ignore_ascii_case("cpu"));
            }
            assert_eq!(settings.log_dir.is_some(), variable.name == LOG_DIR && !value.is_empty());
        }
        Err(error) => {
            let value = value.to_string_lossy().into_owned();
            let (name, allowed) = (variable.name.to_owned(), variable.allowed.to_owned());
            let text = error.to_string();
            assert!(text.contains(&name) && text.contains(&value) && text.contains(&allowed), "{text}");
            assert_eq!(error, ConfigError::InvalidValue { variable: name, value, allowed });
            assert!(variable.name != LOG_DIR, "every path is allowed");
        }
    }
}

/// Strings that resemble values.
fn texts() -> impl Strategy<Value = OsString> {
    prop_oneof![
        any::<String>().prop_map(OsString::from),
        "[ +-]?[0-9]{0,22}[. ]?(|[kKmMgGtTeE]?i?[bB]|e[0-9]{1,3})".prop_map(OsString::from),
        "[a-z ,=]{0,4}(=[-0-9.einfa]{0,6}[,; ]?[a-zA-Z]{0,3}){0,4}".prop_map(OsString::from),
        "[pP][yY](mp|SEQ|seq)[ ,]?".prop_map(OsString::from),
        prop::collection::vec(1..=255u8, 0..20).prop_map(OsString::from_vec),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[^\\s,=]{1,8}".prop_filter("it has another variable", |name| !name.eq_ignore_ascii_case("cpu"))
}

/// The example in a cell of the reference page, which follows "such as".
fn example(allowed: &str) -> Option<&str> {
    let example = allowed.split_once("such as ")?.1;
    Some(example.split(';').next().unwrap_or(example))
}

proptest! {
    #[test]
    fn every_text_is_in_range_or_an_error(value in texts()) {
        VARIABLES.iter().for_each(|variable| assert_in_range_or_error(variable, &value));
    }

    #[test]
    fn counts_round_trip(count in 1..=usize::MAX) {
        prop_assert_eq!(settings_with(CPUS, count.to_string()).unwrap().cpus.get(), count);
        let pending = settings_with(PENDING, count.to_string()).unwrap().max_pending_tasks;
        prop_assert_eq!(pending.map(|limit| limit.get()), Some(count));
    }

    #[test]
    fn numbers_out_of_range_are_errors(zeros in "0{1,9}", above in u64::MAX as u128 + 1..) {
        for name in [CPUS, MEMORY, PENDING] {
            prop_assert!(settings_with(name, &zeros).is_err());
            prop_assert!(settings_with(name, above.to_string()).is_err());
        }
    }

    #[test]
    fn bytes_round_trip_in_every_unit(number in 1..=u64::MAX, shift in 0..64u32, space in " {0,2}") {
        let number = (number >> shift).max(1);
        let units = [
            ("", 1), ("B", 1), ("kB", 1000), ("MB", 1000u64.pow(2)), ("GB", 1000u64.pow(3)),
            ("TB", 1000u64.pow(4)), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
        ];
        for (unit, size) in units {
            prop_assert!(unit.is_empty() || variable(MEMORY).allowed.contains(unit), "{unit} is not documented");
            let expected = number.checked_mul(size).filter(|bytes| *bytes < 1 << 63);
            for unit in [unit.to_owned(), unit.to_lowercase(), unit.to_uppercase()] {
                let memory = settings_with(MEMORY, format!("{number}{space}{unit}")).ok();
                prop_assert_eq!(memory.map(|settings| settings.object_store_memory), expected);
            }
        }
    }

    #[test]
    fn resources_round_trip(resources in btree_map(name(), prop_oneof![0.0..1e9, 0.0..f64::MAX], 1..6)) {
        let written: Vec<_> = resources.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        let expected: BTreeMap<_, _> = resources;
        prop_assert_eq!(settings_with(RESOURCES, written.join(",")).unwrap().resources, expected.clone());
        let spaced: Vec<_> = expected.iter().map(|(name, amount)| format!(" {name} = {amount:e} ")).collect();
        prop_assert_eq!(settings_with(RESOURCES, spaced.join(",")).unwrap().resources, expected);
    }

    #[test]
    fn repeated_resource_is_an_error(name in name(), amounts: [u8; 2]) {
        let [one, two] = amounts;
        let twice = format!("{name}={one},{name}={two}");
        prop_assert!(settings_with(RESOURCES, twice).is_err());
    }

    #[test]
    fn paths_round_trip(path in prop::collection::vec(1..=255u8, 1..40)) {
        let path = OsString::from_vec(path);
        prop_assert_eq!(settings_with(LOG_DIR, path.clone()).unwrap().log_dir, Some(path.into()));
    }
}

#[test]
fn documented_examples_are_valid() {
    for backend in BackendName::ALL {
        assert_eq!(settings_with(BACKEND, backend.to_string()).unwrap().backend, backend);
        assert_eq!(settings_with(BACKEND, backend.to_string().to_uppercase()).unwrap().backend, backend);
        assert!(variable(BACKEND).allowed.contains(backend.as_str()));
    }
    for variable in VARIABLES {
        if let Some(example) = example(variable.allowed) {
            assert!(settings_with(variable.name, example).is_ok(), "{}: {example}", variable.name);
        }
        assert!(reference_page().contains(variable.allowed));
    }
    assert_eq!(example(variable(MEMORY).allowed), Some("512MiB"));
    assert_eq!(example(variable(RESOURCES).allowed), Some("gpu=2,licence=1"));
    // The documented default is a valid value.
    assert_eq!(
        settings_with(BACKEND, variable(BACKEND).default).unwrap(),
        settings_with(BACKEND, "").unwrap()
    );
}
