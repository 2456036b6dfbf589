//! A history that ends with its client.

use super::Records;
use crate::view::error::Result;
use crate::view::record::{Query, TaskId, TaskRecord};
use std::collections::BTreeMap;

/// How many tasks are remembered.
const MOST: usize = 16384;

pub(super) struct Memory {
    records: BTreeMap<TaskId, TaskRecord>,
    most: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Memory::of(MOST)
    }
}

impl Memory {
    /// The last so many; more only if they have not ended.
    pub(super) fn of(most: usize) -> Self {
        Memory { records: BTreeMap::new(), most }
    }
}

impl Records for Memory {
    fn keep(&mut self, record: &TaskRecord) -> Result<()> {
        self.records.insert(record.id, record.clone());
        while self.records.len() > self.most {
            match self.records.first_entry() {
                Some(oldest) if oldest.get().status.has_ended() => drop(oldest.remove()),
                _ => break,
            }
        }
        Ok(())
    }

    fn query(&mut self, query: &Query) -> Result<Vec<TaskRecord>> {
        let found = self.records.values().filter(|record| query.is_met_by(record));
        Ok(found.take(query.limit.unwrap_or(usize::MAX)).cloned().collect())
    }

    fn forget(&mut self, ids: &[TaskId]) -> Result<usize> {
        Ok(ids.iter().filter_map(|id| self.records.remove(id)).count())
    }
}
