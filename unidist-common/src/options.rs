//! What a call may ask for: the table of options as a struct.

use crate::{GroupId, ProcessId};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::time::Duration;

/// A group of tasks. Groups take turns: while several have tasks that are ready, each has equally many started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupSpec {
    /// What makes it different from other groups of the session.
    pub id: GroupId,
    /// How many of its tasks may run at once; `None` for as many as there are slots.
    pub limit: Option<NonZeroU32>,
}

/// The type of an option, by its kind in the table.
macro_rules! field {
    (Name) => { Option<String> };
    (Amount) => { Option<f64> };
    (Amounts) => { Vec<(String, f64)> };
    (Count) => { Option<u32> };
    (AtLeastOne) => { Option<u32> };
    (Level) => { Option<i32> };
    (TimeLimit) => { Option<Duration> };
    (Bytes) => { Option<u64> };
    (Worker) => { Option<ProcessId> };
    (Group) => { Option<GroupSpec> };
}

/// Why a value is not valid for its kind, as an `Option<String>`.
macro_rules! fault {
    (Amount, $name:expr, $value:expr) => {
        $value.and_then(|amount| amount_fault(amount, || $name.to_owned()))
    };
    (Amounts, $name:expr, $value:expr) => {
        $value
            .iter()
            .find_map(|(name, amount)| amount_fault(*amount, || format!("the amount of resource `{name}`")))
    };
    (AtLeastOne, $name:expr, $value:expr) => {
        ($value == Some(0)).then(|| format!("{} must be at least 1", $name))
    };
    (TimeLimit, $name:expr, $value:expr) => {
        ($value == Some(Duration::ZERO))
            .then(|| format!("{} must be a number of seconds greater than 0", $name))
    };
    ($any:ident, $name:expr, $value:expr) => {
        None
    };
}

macro_rules! task_options {
    ($({ $(#[$doc:meta])* $field:ident: $kind:ident, $($rest:tt)* })*) => {
        /// What a definition or a call may ask for. `None` and empty mean "the default".
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct TaskOptions {
            $($(#[$doc])* pub $field: field!($kind),)*
        }

        impl TaskOptions {
            /// These options, and those of `defaults` where these leave one open. A resource given here replaces the
            /// default of that name.
            #[must_use]
            pub fn or(self, defaults: &TaskOptions) -> TaskOptions {
                TaskOptions { $($field: self.$field.or_default(&defaults.$field),)* }
            }

            /// Why these options are impossible, if they are.
            pub fn fault(&self) -> Option<String> {
                None::<String>
                    $(.or_else(|| fault!($kind, stringify!($field), self.$field)))*
            }
        }
    };
}
unidist_options::option_table!(task_options! {});

/// The name of the resource that [`TaskOptions::memory`] requests.
const MEMORY: &str = "memory";

impl TaskOptions {
    /// The requested resources besides CPUs: custom ones and memory. A name may occur twice.
    pub fn requested_resources(&self) -> impl Iterator<Item = (&str, f64)> {
        let custom = self.resources.iter().map(|(name, amount)| (name.as_str(), *amount));
        custom.chain(self.memory.map(|bytes| (MEMORY, bytes as f64)))
    }
}

/// An amount of a resource for messages: memory has a unit.
pub fn amount_in_words(resource: &str, amount: f64) -> String {
    const UNITS: [(f64, &str); 4] = [
        ((1u64 << 40) as f64, "TiB"),
        ((1u64 << 30) as f64, "GiB"),
        ((1u64 << 20) as f64, "MiB"),
        ((1u64 << 10) as f64, "KiB"),
    ];
    let unit = UNITS.iter().find(|(size, _)| resource == MEMORY && amount >= *size);
    match unit {
        Some((size, unit)) => format!("{}{unit}", (amount / size * 100.0).round() / 100.0),
        None => amount.to_string(),
    }
}

/// The value of an option that a call may leave open.
trait OrDefault {
    fn or_default(self, default: &Self) -> Self;
}

impl<T: Clone> OrDefault for Option<T> {
    fn or_default(self, default: &Self) -> Self {
        self.or_else(|| default.clone())
    }
}

impl OrDefault for Vec<(String, f64)> {
    fn or_default(self, default: &Self) -> Self {
        let mut all = default.clone();
        for (name, amount) in self {
            all.retain(|(other, _)| *other != name);
            all.push((name, amount));
        }
        all
    }
}

fn amount_fault(amount: f64, what: impl FnOnce() -> String) -> Option<String> {
    let fine = amount.is_finite() && amount >= 0.0;
    (!fine).then(|| format!("{} must be a finite number that is not negative, not {amount}", what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_options_win_over_defaults() {
        let defaults = TaskOptions {
            num_cpus: Some(2.0),
            resources: vec![("gpu".into(), 1.0), ("disk".into(), 1.0)],
            priority: Some(1),
            ..TaskOptions::default()
        };
        let chosen = TaskOptions {
            num_cpus: Some(0.5),
            resources: vec![("gpu".into(), 2.0)],
            ..TaskOptions::default()
        };
        let merged = chosen.or(&defaults);
        assert_eq!(merged.num_cpus, Some(0.5));
        assert_eq!(merged.priority, Some(1));
        assert_eq!(merged.resources, [("disk".into(), 1.0), ("gpu".into(), 2.0)]);
    }

    #[test]
    fn impossible_options_say_why() {
        let fault = |options: TaskOptions| options.fault().unwrap_or_default();
        let none = TaskOptions::default;
        assert_eq!(none().fault(), None);
        assert_eq!(
            fault(TaskOptions { num_cpus: Some(-1.0), ..none() }),
            "num_cpus must be a finite number that is not negative, not -1"
        );
        assert_eq!(
            fault(TaskOptions { resources: vec![("gpu".into(), f64::NAN)], ..none() }),
            "the amount of resource `gpu` must be a finite number that is not negative, not NaN"
        );
        assert_eq!(
            fault(TaskOptions { max_concurrency: Some(0), ..none() }),
            "max_concurrency must be at least 1"
        );
        assert_eq!(
            fault(TaskOptions { timeout: Some(Duration::ZERO), ..none() }),
            "timeout must be a number of seconds greater than 0"
        );
    }
}
