//! Views: the records and results that a client keeps.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{BOUND, Signal};
use std::time::SystemTime;
use unidist::fallible;
use unidist::prelude::*;
use unidist::view::{Client, Query, TaskId, TaskStatus, ViewError};

pub(super) const CASES: &[Case] = cases!["views_client" on_one_host:
    result_by_id, keep_results_limits_results, queue_status_counts_tasks.only(PYMP),
    result_status_of_tasks.only(PYMP), db_query_by_field, resubmit_runs_again, resubmit_keeps_the_engine,
    purge_results_deletes_records,
];

fn refuses(x: i64) -> Result<i64, String> {
    Err(format!("not {x}"))
}

/// `get_result`: by id, with the right type.
fn result_by_id() -> Result {
    let client = Client::new()?;
    let result = client.view(0)?.label("a label").apply(|x: i64| x + 1, (1,));
    let id = result.ids()[0];
    let same = client.get_result::<i64>(id)?;
    assert_eq!((same.get_one(None)?, same.label(), same.ids()), (2, Some("a label"), vec![id]));
    let error = client.get_result::<String>(id).unwrap_err();
    assert!(matches!(&error, ViewError::WrongType { found, .. } if found == "i64"), "{error:?}");
    let text: TaskId = id.to_string().parse().unwrap();
    assert_eq!(text, id);
    let mapped = client.load_balanced_view(..)?.chunk_size(3).map(|x: i64| x, 0..6);
    assert_eq!(client.get_result::<i64>(mapped.ids()[1])?.get(None)?, [3, 4, 5]);
    let other = Client::new()?;
    assert_eq!(other.get_result::<i64>(id).unwrap_err(), ViewError::UnknownTask { task: id });
    Ok(())
}

/// Only the latest results are kept, and those of existing `AsyncResult`s.
fn keep_results_limits_results() -> Result {
    let client = Client::builder().keep_results(2).build()?;
    let results: Vec<_> =
        (0..4).map(|n| client.view(0).map(|view| view.block(true).apply(|x: i64| x, (n,)))).collect();
    let results = results.into_iter().collect::<unidist::view::Result<Vec<_>>>()?;
    let is_kept = |place: usize| client.get_result::<i64>(results[place].ids()[0]).is_ok();
    assert_eq!([0, 1, 2, 3].map(is_kept), [false, false, true, true]);
    assert_eq!(results[0].get_one(None)?, 0);
    Ok(())
}

fn waits(signal: ActorHandle<Signal>) -> Result<()> {
    get(signal.wait.remote())
}

/// `queue_status`: the tasks of each engine and of the client.
fn queue_status_counts_tasks() -> Result {
    let client = Client::new()?;
    let signal = Signal::remote();
    assert_eq!(client.queue_status().unassigned, 0);
    let direct = client.view(1)?.apply(fallible(waits), (&signal,));
    let balanced = client.load_balanced_view(0)?;
    let balanced: Vec<_> = (0..3).map(|_| balanced.apply(fallible(waits), (&signal,))).collect();
    let status = client.queue_status();
    let counts = |id: usize| (status.engines[&id].queue, status.engines[&id].tasks);
    assert_eq!((counts(0), counts(1), status.unassigned), ((0, 1), (1, 0), 2), "{status:?}");
    get(signal.open.remote())?;
    direct.get(Some(BOUND))?;
    balanced.iter().try_for_each(|result| result.get(Some(BOUND)).map(drop))?;
    let status = client.queue_status();
    let counts =
        |id: usize| (status.engines[&id].queue, status.engines[&id].tasks, status.engines[&id].completed);
    assert_eq!((counts(0), counts(1), status.unassigned), ((0, 0, 3), (0, 0, 1), 0), "{status:?}");
    Ok(())
}

/// `result_status`.
fn result_status_of_tasks() -> Result {
    let client = Client::new()?;
    let signal = Signal::remote();
    let (done, pending) =
        (client.view(0)?.apply(|| 1, ()), client.view(1)?.apply(fallible(waits), (&signal,)));
    done.get(Some(BOUND))?;
    let status = client.result_status(done.ids().into_iter().chain(pending.ids()))?;
    assert_eq!((status.completed, status.pending), (done.ids(), pending.ids()));
    get(signal.open.remote())?;
    pending.get(Some(BOUND))?;
    assert_eq!(client.result_status(pending.ids())?.completed, pending.ids());
    let unknown = Client::new()?.view(0)?.block(true).apply(|| 1, ()).ids();
    assert_eq!(
        client.result_status(unknown.clone()).unwrap_err(),
        ViewError::UnknownTask { task: unknown[0] }
    );
    Ok(())
}

/// `db_query`: by each field.
fn db_query_by_field() -> Result {
    let client = Client::new()?;
    let (first, second) =
        (client.view(0)?.label("first").block(true), client.view(1)?.label("second").block(true));
    let a = first.apply(|x: i64| x, (1,));
    let b = second.apply(fallible(refuses), (2,));
    let middle = SystemTime::now();
    let c = second.apply(|x: i64| x, (3,));
    let ask = |query: Query| -> Result<Vec<TaskId>> {
        Ok(client.db_query(&query)?.into_iter().map(|record| record.id).collect())
    };
    let all: Vec<_> = [&a, &b, &c].into_iter().flat_map(|result| result.ids()).collect();
    assert_eq!(ask(Query::new())?, all);
    assert_eq!(ask(Query::new().label("second"))?, all[1..]);
    assert_eq!(ask(Query::new().engine(0))?, all[..1]);
    assert_eq!(ask(Query::new().failed())?, all[1..2]);
    assert_eq!(ask(Query::new().status(TaskStatus::Completed).label("second"))?, all[2..]);
    assert_eq!(ask(Query::new().ended(true))?, all);
    assert_eq!(ask(Query::new().ended(false))?, []);
    assert_eq!(ask(Query::new().submitted_since(middle))?, all[2..]);
    assert_eq!(ask(Query::new().submitted_before(middle))?, all[..2]);
    assert_eq!(ask(Query::new().function("refuses"))?, all[1..2]);
    assert_eq!(ask(Query::new().ids([all[2], all[0]]).limit(1))?, all[..1]);
    let record = &client.db_query(&Query::new().failed())?[0];
    assert_eq!((record.engine, record.label.as_deref(), record.started), (Some(1), Some("second"), None));
    assert!(record.error.as_ref().is_some_and(|error| error.contains("not 2")), "{record:?}");
    assert!(record.function.ends_with("refuses"), "{record:?}");
    assert_eq!(client.db_query(&Query::new().engine(0))?, a.records());
    Ok(())
}

/// `resubmit`: runs the same calls as new tasks.
fn resubmit_runs_again() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?.label("again");
    let data = put(vec![1_i64, 2, 3])?;
    let (one, two) =
        (view.apply(|x: i64| x + 1, (1,)), view.apply(|x: Vec<i64>| x.iter().sum::<i64>(), (&data,)));
    drop(data);
    let ids: Vec<_> = one.ids().into_iter().chain(two.ids()).collect();
    let again = client.resubmit::<i64>(ids.clone())?;
    assert_eq!(again.get(None)?, [2, 6]);
    assert!(again.ids().iter().all(|id| !ids.contains(id)));
    let records = again.records();
    assert_eq!((records[0].resubmission_of, records[0].label.as_deref()), (Some(ids[0]), Some("again")));
    assert_eq!(client.resubmit::<i64>(again.ids())?.get(None)?, [2, 6], "and again");
    assert!(matches!(client.resubmit::<String>(ids), Err(ViewError::WrongType { .. })));
    Ok(())
}

/// A task of a direct view is resubmitted to its engine.
fn resubmit_keeps_the_engine() -> Result {
    let client = Client::new()?;
    client.view(0)?.set("place", &"first".to_owned())?;
    let result = client.view(0)?.pull::<String>("place");
    assert_eq!(result.get(None)?, ["first"]);
    client.view(0)?.set("place", &"changed".to_owned())?;
    let again = client.resubmit::<String>(result.ids())?;
    assert_eq!((again.get_one(None)?.as_str(), again.engines()), ("changed", vec![Some(0)]));
    Ok(())
}

/// `purge_results`: deletes results, arguments and records.
fn purge_results_deletes_records() -> Result {
    let client = Client::new()?;
    let view = client.view(0)?;
    let (a, b) = (view.label("a").apply(|| 1, ()), view.label("b").apply(|| 2, ()));
    assert!(a.wait(Some(BOUND)) && b.wait(Some(BOUND)));
    assert_eq!(client.purge_results(&Query::new().label("a"))?, 1);
    assert!(client.get_result::<i32>(a.ids()[0]).is_err() && client.get_result::<i32>(b.ids()[0]).is_ok());
    assert_eq!(client.db_query(&Query::new())?.len(), 1);
    assert!(matches!(client.resubmit::<i32>(a.ids()), Err(ViewError::UnknownTask { .. })));
    assert_eq!(a.get_one(None)?, 1, "an AsyncResult keeps its results");
    assert_eq!(client.purge_results(&Query::new())?, 1);
    Ok(())
}
