//! The history of a client: the records of its tasks.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

use super::error::Result;
use super::record::{Query, TaskId, TaskRecord};
use memory::MemoryStore;
#[cfg(feature = "sqlite")]
use {sqlite::SqliteStore, std::path::PathBuf};

/// Where a client keeps its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum History {
    /// In memory: the latest 16384 tasks.
    #[default]
    Memory,
    /// In an SQLite file, which is created if it does not exist; available with the feature `sqlite`. The file outlives
    /// the program, and a later program that opens it finds its records. Several programs may use it at once, one
    /// writing at a time; a record that cannot be written within ten seconds is lost, with a warning in the log.
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
}

/// A store of records.
pub(crate) trait RecordStore: Send {
    /// Adds a record, or replaces the one with the same id.
    fn insert(&mut self, record: &TaskRecord) -> Result<()>;

    /// The matching records, in the order of submission.
    fn query(&mut self, query: &Query) -> Result<Vec<TaskRecord>>;

    /// Deletes records. Returns how many there were.
    fn remove(&mut self, ids: &[TaskId]) -> Result<usize>;
}

impl History {
    pub(crate) fn open(&self) -> Result<Box<dyn RecordStore>> {
        match self {
            History::Memory => Ok(Box::new(MemoryStore::default())),
            #[cfg(feature = "sqlite")]
            History::Sqlite(path) => Ok(Box::new(SqliteStore::open(path)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::record::TaskStatus;
    use std::time::{Duration, SystemTime};

    fn record(number: u64) -> TaskRecord {
        TaskRecord {
            id: TaskId { client: u64::MAX, number },
            function: format!("sweep::f{number}"),
            label: number.is_multiple_of(2).then(|| "even".to_owned()),
            engine: None,
            status: TaskStatus::Queued,
            error: None,
            submitted: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001 + number),
            started: None,
            completed: None,
            retries: 0,
            resubmission_of: None,
        }
    }

    fn ended(number: u64) -> TaskRecord {
        let submitted = record(number).submitted;
        TaskRecord {
            engine: Some(3),
            status: TaskStatus::Failed,
            error: Some("a reason".to_owned()),
            started: Some(submitted + Duration::from_millis(1)),
            completed: Some(submitted + Duration::from_millis(3)),
            retries: 2,
            resubmission_of: Some(TaskId { client: 1, number: 2 }),
            ..record(number)
        }
    }

    fn check(records: &mut dyn RecordStore) {
        for number in 0..6 {
            records.insert(&record(number)).unwrap();
        }
        records.insert(&ended(3)).unwrap();
        let mut ask = |query: &Query| -> Vec<u64> {
            records.query(query).unwrap().iter().map(|record| record.id.number).collect()
        };
        assert_eq!(ask(&Query::new()), [0, 1, 2, 3, 4, 5]);
        assert_eq!(ask(&Query::new().label("even")), [0, 2, 4]);
        assert_eq!(ask(&Query::new().label("even").limit(2)), [0, 2]);
        assert_eq!(ask(&Query::new().function("f5")), [5]);
        assert_eq!(ask(&Query::new().function("_f5%")), [0; 0], "not a pattern");
        assert_eq!(ask(&Query::new().engine(3)), [3]);
        assert_eq!(ask(&Query::new().failed()), [3]);
        assert_eq!(ask(&Query::new().ended(true)), [3]);
        assert_eq!(ask(&Query::new().ended(false)), [0, 1, 2, 4, 5]);
        assert_eq!(ask(&Query::new().submitted_since(record(4).submitted)), [4, 5]);
        assert_eq!(ask(&Query::new().submitted_before(record(1).submitted)), [0]);
        assert_eq!(ask(&Query::new().ids([record(1).id, record(9).id])), [1]);
        assert_eq!(ask(&Query::new().ids([])), [0; 0]);
        let found = records.query(&Query::new().engine(3)).unwrap();
        assert_eq!(found, [ended(3)]);
        assert_eq!(found[0].duration(), Some(Duration::from_millis(2)));
        assert_eq!(records.remove(&[record(0).id, record(9).id]).unwrap(), 1);
        assert_eq!(records.query(&Query::new()).unwrap().len(), 5);
    }

    #[test]
    fn memory_store_answers_queries() {
        check(&mut MemoryStore::default());
    }

    #[test]
    #[cfg(feature = "sqlite")]
    fn sqlite_store_answers_queries() {
        let path = std::env::temp_dir().join(format!("unidist-history-{}.sqlite", std::process::id()));
        let history = History::Sqlite(path.clone());
        check(&mut *history.open().unwrap());
        assert_eq!(history.open().unwrap().query(&Query::new().failed()).unwrap(), [ended(3)]);
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{ending}", path.display()));
        }
        let error = History::Sqlite("/no/such/folder/file".into()).open().err().unwrap().to_string();
        assert!(error.contains("/no/such/folder/file"), "{error}");
    }

    #[test]
    fn memory_store_is_bounded() {
        let mut records = MemoryStore::with_capacity(2);
        for number in 0..4 {
            records.insert(&record(number)).unwrap();
        }
        assert_eq!(records.query(&Query::new()).unwrap().len(), 4, "no task has ended");
        (0..4).for_each(|number| records.insert(&ended(number)).unwrap());
        let left = records.query(&Query::new()).unwrap();
        assert_eq!(left.iter().map(|record| record.id.number).collect::<Vec<_>>(), [2, 3]);
    }
}
