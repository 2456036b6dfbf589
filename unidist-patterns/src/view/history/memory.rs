//! A history in memory, dropped with its client.

use super::RecordStore;
use crate::view::error::Result;
use crate::view::record::{Query, TaskId, TaskRecord};
use std::collections::BTreeMap;

/// The number of ended tasks that are kept.
const MAX_RECORDS: usize = 16384;

pub(super) struct MemoryStore {
    records: BTreeMap<TaskId, TaskRecord>,
    max_records: usize,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::with_capacity(MAX_RECORDS)
    }
}

impl MemoryStore {
    /// Keeps the latest `max_records` records, and more only if they have not ended.
    pub(super) fn with_capacity(max_records: usize) -> Self {
        MemoryStore { records: BTreeMap::new(), max_records }
    }
}

impl RecordStore for MemoryStore {
    fn insert(&mut self, record: &TaskRecord) -> Result<()> {
        self.records.insert(record.id, record.clone());
        while self.records.len() > self.max_records {
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

    fn remove(&mut self, ids: &[TaskId]) -> Result<usize> {
        Ok(ids.iter().filter_map(|id| self.records.remove(id)).count())
    }
}
