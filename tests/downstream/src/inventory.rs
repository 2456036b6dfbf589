//! An actor in a library.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use unidist::prelude::*;

/// The error of taking more items than there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The requested item.
    pub item: String,
    /// The number of missing items.
    pub by: u32,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} more of `{}` would be needed", self.by, self.item)
    }
}

impl std::error::Error for Missing {}

/// Counts items by name.
#[derive(Debug, Default)]
pub struct Inventory {
    items: BTreeMap<String, u32>,
}

#[remote]
impl Inventory {
    /// An empty inventory.
    #[new]
    pub fn new() -> Self {
        Inventory::default()
    }

    /// Adds `count` items.
    pub fn add(&mut self, item: String, count: u32) -> u32 {
        let there = self.items.entry(item).or_default();
        *there += count;
        *there
    }

    /// Takes `count` items, or none.
    ///
    /// # Errors
    ///
    /// There are too few.
    pub fn take(&mut self, item: String, count: u32) -> Result<u32, Missing> {
        let there = self.items.get(&item).copied().unwrap_or(0);
        let rest = there
            .checked_sub(count)
            .ok_or(Missing { item: item.clone(), by: count.saturating_sub(there) })?;
        self.items.insert(item, rest);
        Ok(rest)
    }

    /// The total number of items.
    pub async fn total(&self) -> u32 {
        self.items.values().sum()
    }
}

/// Fills an inventory from a task.
///
/// # Errors
///
/// The inventory is gone.
#[remote]
pub fn deliver(inventory: ActorHandle<Inventory>, item: String, count: u32) -> unidist::Result<u32> {
    get(inventory.add.remote(item, count))
}
