//! A history in an SQLite file.

use super::RecordStore;
use crate::view::error::{Result, ViewError};
use crate::view::record::{Query, TaskId, TaskRecord, TaskStatus};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, TransactionBehavior, params, params_from_iter};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long to wait while another program has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The version of the file's layout, stored in `user_version`.
const VERSION: i64 = 1;

/// Times are nanoseconds since 1970; an id consists of the client and the task's number.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS tasks (
        place INTEGER PRIMARY KEY,
        client TEXT NOT NULL,
        number INTEGER NOT NULL,
        function TEXT NOT NULL,
        label TEXT,
        engine INTEGER,
        status TEXT NOT NULL,
        error TEXT,
        submitted INTEGER NOT NULL,
        started INTEGER,
        completed INTEGER,
        retries INTEGER NOT NULL,
        resubmission_of TEXT,
        UNIQUE (client, number)
    );
    CREATE INDEX IF NOT EXISTS tasks_by_time ON tasks (submitted);
    CREATE INDEX IF NOT EXISTS tasks_by_label ON tasks (label);
";

const UPSERT: &str = "
    INSERT INTO tasks (client, number, function, label, engine, status, error, submitted, started, completed, retries,
                       resubmission_of)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (client, number) DO UPDATE SET
        engine = ?5, status = ?6, error = ?7, started = ?9, completed = ?10, retries = ?11,
        resubmission_of = ?12
";

const COLUMNS: &str = "client, number, function, label, engine, status, error, submitted, started, completed, retries, \
                       resubmission_of";

pub(super) struct SqliteStore {
    connection: Connection,
    path: PathBuf,
}

impl SqliteStore {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let wrong = |message: &str| ViewError::History {
            place: path.display().to_string(),
            message: message.to_owned(),
        };
        let failed = |error: rusqlite::Error| failed(path, &error);
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        // Before the file is changed.
        check(&connection).map_err(failed)?.map_err(wrong)?;
        if connection.is_readonly("main").map_err(failed)? {
            return Err(wrong("the file is read-only: choose another file, or make it writable"));
        }
        // A write survives the death of the program, though not of the machine, and is visible to readers at once.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        // Another program may have changed the file meanwhile.
        check(&transaction).map_err(failed)?.map_err(wrong)?;
        transaction.execute_batch(SCHEMA).map_err(failed)?;
        transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(SqliteStore { connection, path: path.to_owned() })
    }
}

/// Checks that the file is empty or a history of this layout.
fn check(connection: &Connection) -> rusqlite::Result<std::result::Result<(), &'static str>> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 =
        connection
            .query_row("SELECT count(*) FROM sqlite_master WHERE type = 'table'", [], |row| row.get(0))?;
    Ok(match (version, tables) {
        (VERSION, _) | (0, 0) => Ok(()),
        (0, _) => Err("the file is a database of another application: choose another file"),
        _ => {
            Err("the file was made by another version of unidist and has another layout: choose another file")
        }
    })
}

fn failed(path: &Path, error: &rusqlite::Error) -> ViewError {
    ViewError::History { place: path.display().to_string(), message: error.to_string() }
}

impl RecordStore for SqliteStore {
    fn insert(&mut self, record: &TaskRecord) -> Result<()> {
        let insert = || -> rusqlite::Result<usize> {
            self.connection.prepare_cached(UPSERT)?.execute(params![
                client_text(record.id),
                number(record.id),
                record.function,
                record.label,
                record.engine.map(|engine| i64::try_from(engine).unwrap_or(i64::MAX)),
                record.status.name(),
                record.error,
                nanoseconds(record.submitted),
                record.started.map(nanoseconds),
                record.completed.map(nanoseconds),
                record.retries,
                record.resubmission_of.map(|id| id.to_string()),
            ])
        };
        insert().map(drop).map_err(|error| failed(&self.path, &error))
    }

    fn query(&mut self, query: &Query) -> Result<Vec<TaskRecord>> {
        let (condition, values) = condition(query);
        let text = format!("SELECT {COLUMNS} FROM tasks WHERE {condition} ORDER BY place");
        let ask = || -> rusqlite::Result<Vec<TaskRecord>> {
            let mut statement = self.connection.prepare_cached(&text)?;
            let found = statement.query_map(params_from_iter(values), record)?;
            // There may be more ids than a statement can have.
            let wanted = found.filter(|found| found.as_ref().map_or(true, |record| query.is_met_by(record)));
            wanted.take(query.limit.unwrap_or(usize::MAX)).collect()
        };
        ask().map_err(|error| failed(&self.path, &error))
    }

    fn remove(&mut self, ids: &[TaskId]) -> Result<usize> {
        let path = &self.path;
        let connection = &mut self.connection;
        let mut remove = || -> rusqlite::Result<usize> {
            let transaction = connection.transaction()?;
            let mut count = 0;
            for id in ids {
                let text = "DELETE FROM tasks WHERE client = ?1 AND number = ?2";
                count += transaction.prepare_cached(text)?.execute(params![client_text(*id), number(*id)])?;
            }
            transaction.commit()?;
            Ok(count)
        };
        remove().map_err(|error| failed(path, &error))
    }
}

fn condition(query: &Query) -> (String, Vec<Value>) {
    let mut conditions = vec!["1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut also = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(format!("{condition} ?{}", values.len()));
    };
    if let Some(label) = &query.label {
        also("label =", label.clone().into());
    }
    if let Some(engine) = query.engine {
        also("engine =", i64::try_from(engine).unwrap_or(i64::MAX).into());
    }
    if let Some(status) = query.status {
        also("status =", status.name().to_owned().into());
    }
    if let Some(time) = query.since {
        also("submitted >=", nanoseconds(time).into());
    }
    if let Some(time) = query.before {
        also("submitted <", nanoseconds(time).into());
    }
    (conditions.join(" AND "), values)
}

fn record(row: &Row<'_>) -> rusqlite::Result<TaskRecord> {
    let client: String = row.get(0)?;
    let number: i64 = row.get(1)?;
    let status: String = row.get(5)?;
    let resubmission_of: Option<String> = row.get(11)?;
    let unreadable = |column: usize, text: &str| {
        let message = format!("`{text}` is not a valid value: another version may have written it");
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, message.into())
    };
    Ok(TaskRecord {
        id: format!("{client}-{number}").parse().map_err(|_| unreadable(0, &client))?,
        function: row.get(2)?,
        label: row.get(3)?,
        engine: row.get::<_, Option<i64>>(4)?.and_then(|engine| usize::try_from(engine).ok()),
        status: TaskStatus::of_name(&status).ok_or_else(|| unreadable(5, &status))?,
        error: row.get(6)?,
        submitted: time(row.get(7)?),
        started: row.get::<_, Option<i64>>(8)?.map(time),
        completed: row.get::<_, Option<i64>>(9)?.map(time),
        retries: row.get(10)?,
        resubmission_of: resubmission_of.and_then(|id| id.parse().ok()),
    })
}

fn client_text(id: TaskId) -> String {
    format!("{:016x}", id.client)
}

fn number(id: TaskId) -> i64 {
    i64::try_from(id.number).unwrap_or(i64::MAX)
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn time(nanoseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Scratch(std::env::temp_dir().join(format!("unidist-history-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
            }
        }
    }

    fn refused(path: &Path) -> String {
        match SqliteStore::open(path) {
            Ok(_) => panic!("it is opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn database_of_another_application_is_left_unchanged() {
        let file = Scratch::new("foreign");
        let foreign = Connection::open(&file.0).unwrap();
        foreign.execute_batch("CREATE TABLE invoices (amount INTEGER)").unwrap();
        assert!(refused(&file.0).contains("another application"));
        let mode: String = foreign.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "delete", "the file is unchanged");
    }

    #[test]
    fn other_layout_is_refused() {
        let file = Scratch::new("layout");
        drop(SqliteStore::open(&file.0).unwrap());
        drop(SqliteStore::open(&file.0).unwrap());
        Connection::open(&file.0).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(refused(&file.0).contains("another version"));
    }
}
