//! Views: a history in an SQLite file.

use crate::case::{Case, Result, cases};
use std::path::PathBuf;
use std::process::Command;
use unidist::fallible;
use unidist::view::{Client, History, Query, TaskStatus, ViewError};

pub(super) const CASES: &[Case] = cases!["views_history" on_one_host:
    history_in_a_file, history_of_another_program, history_file_that_is_none,
];

/// Started by a case: leaves a history.
pub(super) const PROGRAMS: &[Case] = cases!["views_programs": leaves_a_history];

fn refuses(x: i64) -> Result<i64, String> {
    Err(format!("not {x}"))
}

/// A path for a new file, removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Scratch(std::env::temp_dir().join(format!("unidist-tests-{}-{name}.sqlite", std::process::id())))
    }

    fn history(&self) -> History {
        History::Sqlite(self.0.clone())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{ending}", self.0.display()));
        }
    }
}

/// A history in a file: a second client reads it at once, and after the first was dropped.
fn history_in_a_file() -> Result {
    let file = Scratch::new("file");
    let client = Client::builder().history(file.history()).build()?;
    let result = client.view(..)?.label("sweep").apply(|x: i64| x, (1,));
    result.get(None)?;
    let other = Client::builder().history(file.history()).build()?;
    assert_eq!(other.db_query(&Query::new().label("sweep"))?, result.records());
    let balanced = client.load_balanced_view(..)?.map(|x: i64| x, 0..20);
    balanced.get(None)?;
    assert_eq!(other.db_query(&Query::new().ids(balanced.ids()).ended(true))?, balanced.records());
    let records = result.records();
    drop((client, result, balanced));
    let third = Client::builder().history(file.history()).build()?;
    assert_eq!(third.db_query(&Query::new().label("sweep"))?, records);
    assert_eq!(third.purge_results(&Query::new().label("sweep"))?, records.len());
    assert_eq!(other.db_query(&Query::new().label("sweep"))?, []);
    Ok(())
}

const FILE: &str = "UNIDIST_TESTS_HISTORY";

/// Leaves two tasks in the file, one of which has failed.
fn leaves_a_history() -> Result {
    let file = std::env::var(FILE).unwrap();
    let client = Client::builder().history(History::Sqlite(file.into())).build()?;
    let view = client.view(0)?.label("of another program");
    view.apply_sync(|x: i64| x, (1,))?;
    assert!(view.apply_sync(fallible(refuses), (7,)).is_err());
    Ok(())
}

/// A history outlives its program, and another program can query it.
fn history_of_another_program() -> Result {
    let file = Scratch::new("program");
    let mut program = Command::new(std::env::current_exe().unwrap());
    crate::runner::command_for(&mut program, "pyseq", &[PROGRAMS[0]]);
    let ended = program.env(FILE, &file.0).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let client = Client::builder().history(file.history()).build()?;
    let found = client.db_query(&Query::new().label("of another program"))?;
    let states: Vec<_> = found.iter().map(|record| record.status).collect();
    assert_eq!(states, [TaskStatus::Completed, TaskStatus::Failed]);
    assert!(found[1].error.as_ref().is_some_and(|error| error.contains("not 7")), "{found:?}");
    assert!(
        matches!(client.get_result::<i64>(found[0].id), Err(ViewError::UnknownTask { .. })),
        "it is not here"
    );
    Ok(())
}

/// A file that is not a history and an invalid path are errors that name the path.
fn history_file_that_is_none() -> Result {
    let file = Scratch::new("none");
    std::fs::write(&file.0, "this is no database, and longer than its header would be, by far: ".repeat(20))
        .unwrap();
    for history in [file.history(), History::Sqlite("/no/such/folder/history.sqlite".into())] {
        let error = Client::builder().history(history.clone()).build().unwrap_err();
        assert!(matches!(error, ViewError::History { .. }), "{error:?}");
        let History::Sqlite(path) = history else { continue };
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    Ok(())
}
