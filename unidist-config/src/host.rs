//! A host of a list of hosts, by name.

use std::num::NonZeroUsize;

/// A host by its name or address, with its number of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// The name or address.
    pub name: String,
    /// Its CPU slots; all CPUs of the host if `None`.
    pub cpus: Option<NonZeroUsize>,
}

impl HostName {
    /// Parses `name` or `name:slots`; `None` if `text` is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, cpus) = match text.split_once(':') {
            Some((name, slots)) => (name, Some(slots.parse().ok()?)),
            None => (text, None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let named = !name.is_empty() && !name.starts_with('-') && name.chars().all(plain);
        named.then(|| HostName { name: name.to_owned(), cpus })
    }
}
