//! The options chosen for one call: builder methods, made from the table of options.

use std::time::Duration;
use unidist_common::TaskOptions;

/// The options chosen for one call. Most calls choose none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen(Option<Box<ChosenOptions>>);

#[derive(Clone, Debug, Default)]
struct ChosenOptions {
    options: TaskOptions,
    /// Why the options are impossible: the first fault.
    fault: Option<String>,
}

impl Chosen {
    pub(crate) fn set(&mut self, change: impl FnOnce(&mut TaskOptions)) {
        let chosen = self.0.get_or_insert_default();
        change(&mut chosen.options);
        chosen.note_fault();
    }

    /// As [`set`](Chosen::set), for a number of bytes, which may be invalid.
    pub(crate) fn set_bytes(
        &mut self,
        name: &str,
        bytes: ByteSize,
        change: impl FnOnce(&mut TaskOptions, u64),
    ) {
        let chosen = self.0.get_or_insert_default();
        match bytes.0 {
            Ok(bytes) => change(&mut chosen.options, bytes),
            Err(text) => {
                let fault = || format!("{name} is `{text}`; allowed: {}", unidist_options::BYTES_ALLOWED);
                chosen.fault.get_or_insert_with(fault);
            }
        }
    }

    /// The options and their fault; none if nothing was chosen.
    pub(crate) fn into_parts(self) -> Option<(TaskOptions, Option<String>)> {
        self.0.map(|chosen| (chosen.options, chosen.fault))
    }
}

/// A number of bytes, for options: an integer, or a text such as `"4GiB"` with one of the units B, kB, MB, GB, TB (powers
/// of 1000), KiB, MiB, GiB and TiB (powers of 1024). The call with an invalid text fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteSize(Result<u64, String>);

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        ByteSize(Ok(bytes))
    }
}

impl From<&str> for ByteSize {
    fn from(text: &str) -> Self {
        ByteSize(unidist_options::parse_bytes(text).ok_or_else(|| text.to_owned()))
    }
}

impl ChosenOptions {
    fn note_fault(&mut self) {
        if self.fault.is_none() {
            self.fault = self.options.fault();
        }
    }
}

/// The time limit of a definition, in seconds. A value that is no time becomes zero, which the first call reports.
#[doc(hidden)]
pub fn seconds(amount: f64) -> Duration {
    match Duration::try_from_secs_f64(amount) {
        Ok(limit) => limit,
        Err(_) if amount > 0.0 => Duration::MAX,
        Err(_) => Duration::ZERO,
    }
}

/// The methods that set the options which a builder of this sort (`call`, `method` or `actor`) has: for a type with a
/// field `chosen`.
macro_rules! option_methods {
    ($builder:ident) => {
        unidist_options::option_table!(option_methods! { $builder });
    };
    ($builder:ident $({
        $(#[$field_doc:meta])*
        $field:ident: $kind:ident, set by $setter:ident;
        builder { $($builders:tt)* }
        $($rest:tt)*
    })*) => {
        $(crate::options::option_method_of! { $builder $field $kind $setter $($builders)* })*
    };
}

/// The method of one option, if its list of builders has this one.
macro_rules! option_method_of {
    (call $field:ident $kind:ident $setter:ident call { $($doc:tt)* } $($rest:tt)*) => {
        crate::options::option_method! { $kind $field $setter $($doc)* }
    };
    (method $field:ident $kind:ident $setter:ident method { $($doc:tt)* } $($rest:tt)*) => {
        crate::options::option_method! { $kind $field $setter $($doc)* }
    };
    (actor $field:ident $kind:ident $setter:ident actor { $($doc:tt)* } $($rest:tt)*) => {
        crate::options::option_method! { $kind $field $setter $($doc)* }
    };
    ($builder:ident $field:ident $kind:ident $setter:ident $other:ident { $($doc:tt)* } $($rest:tt)*) => {
        crate::options::option_method_of! { $builder $field $kind $setter $($rest)* }
    };
    ($builder:ident $field:ident $kind:ident $setter:ident) => {};
}

/// A builder method, by the kind of its option.
macro_rules! option_method {
    (Name $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, name: impl Into<String>) -> Self {
            let name = name.into();
            self.chosen.set(|options| options.$field = Some(name));
            self
        }
    };
    (Amount $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, amount: impl Into<f64>) -> Self {
            let amount = amount.into();
            self.chosen.set(|options| options.$field = Some(amount));
            self
        }
    };
    (Amounts $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, name: impl Into<String>, amount: impl Into<f64>) -> Self {
            let entry = (name.into(), amount.into());
            self.chosen.set(|options| options.$field.push(entry));
            self
        }
    };
    (Count $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, times: u32) -> Self {
            self.chosen.set(|options| options.$field = Some(times));
            self
        }
    };
    (AtLeastOne $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, count: u32) -> Self {
            self.chosen.set(|options| options.$field = Some(count));
            self
        }
    };
    (Level $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, level: i32) -> Self {
            self.chosen.set(|options| options.$field = Some(level));
            self
        }
    };
    (TimeLimit $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, limit: std::time::Duration) -> Self {
            self.chosen.set(|options| options.$field = Some(limit));
            self
        }
    };
    (Bytes $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, bytes: impl Into<crate::options::ByteSize>) -> Self {
            self.chosen.set_bytes(stringify!($field), bytes.into(), |options, bytes| options.$field = Some(bytes));
            self
        }
    };
    (Worker $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, worker: unidist_common::ProcessId) -> Self {
            self.chosen.set(|options| options.$field = Some(worker));
            self
        }
    };
    (Group $field:ident $setter:ident $(#[$doc:meta])*) => {
        $(#[$doc])*
        pub fn $setter(mut self, group: &crate::Group) -> Self {
            self.chosen.set(|options| options.$field = Some(group.spec()));
            self
        }
    };
}
pub(crate) use {option_method, option_method_of, option_methods};
