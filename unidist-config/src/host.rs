//! A host, as a list of hosts names it.

use std::num::NonZeroUsize;

/// A host by its name or address, with its number of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// The name or address.
    pub name: String,
    /// Its CPU slots; all that the host has where it does not say.
    pub cpus: Option<NonZeroUsize>,
}

impl HostName {
    /// The host that `name` or `name:slots` stands for; none if it is neither.
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
