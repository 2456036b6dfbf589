//! Views: the client, direct views, broadcasts.

use crate::case::{Case, PYMP, PYSEQ, Result, cases};
use crate::support::{BOUND, Log, Signal, say};
use std::time::Duration;
use unidist::prelude::*;
use unidist::view::{self, Client, Distribution, Namespace, Reference, ViewError};
use unidist::{ErrorKind, fallible};

pub(super) const CASES: &[Case] = cases!["views":
    engines_are_numbered, view_selects_engines, unknown_engine_is_an_error,
    views_of_the_same_engines_are_equal, client_in_a_task_is_an_error.only(PYMP), wait_for_engines,
    dead_engine_keeps_its_number.only(PYMP).not_spmd(), engine_is_shut_down.alone().not_spmd(),
    shutdown_of_all_engines_ends_the_session.bare().not_spmd(), apply_on_each,
    apply_returns_at_once.only(PYMP), flags_are_set_on_a_copy, map_in_blocks, map_iterates_as_results_arrive,
    execute_a_function, namespace_operations, namespace_belongs_to_a_client, unknown_name_is_an_error,
    scatter_and_gather, references, refs_as_arguments, clear_overtakes_waiting_calls.only(PYMP),
    broadcast_equals_direct_view, engines_are_processes.only(PYMP),
    sequential_engines_share_a_process.only(PYSEQ),
];

/// An engine's number, known to the engine.
pub(super) fn numbered(client: &Client) -> Result<()> {
    for id in client.ids()? {
        client.view(id)?.set("id", &id)?;
    }
    Ok(())
}

pub(super) fn own_id() -> view::Result<usize> {
    view::namespace()?.get("id")
}

/// Engines are the workers, numbered from 0.
fn engines_are_numbered() -> Result {
    let client = Client::new()?;
    let ids = client.ids()?;
    assert!(ids.len() >= 2 && ids.iter().copied().eq(0..ids.len()), "{ids:?}");
    assert_eq!(client.hosts()?.len(), ids.len());
    assert_eq!(ids.len(), unidist::workers()?.len());
    Ok(())
}

/// A view of one, of the last, of a range, of a list, of all: each call goes to these engines.
fn view_selects_engines() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let count = client.ids()?.len();
    let last = count - 1;
    let all: Vec<usize> = (0..count).collect();
    for (view, targets) in [
        (client.view(0)?, vec![0]),
        (client.view(-1)?, vec![last]),
        (client.view(..2)?, vec![0, 1]),
        (client.view(1..)?, all[1..].to_vec()),
        (client.view([1, 0])?, vec![1, 0]),
        (client.view(vec![last])?, vec![last]),
        (client.view(..)?, all.clone()),
    ] {
        assert_eq!(view.targets(), targets);
        assert_eq!(view.len(), targets.len());
        assert_eq!(view.apply_sync(fallible(own_id), ())?, targets, "{view:?}");
    }
    Ok(())
}

/// An unknown engine is an error that names it.
fn unknown_engine_is_an_error() -> Result {
    let client = Client::new()?;
    let count = client.ids()?.len() as i64;
    for wrong in [count, 99, -count - 1] {
        let error = client.view([0, wrong]).unwrap_err();
        assert!(matches!(error, ViewError::UnknownEngine { engine, .. } if engine == wrong), "{error:?}");
        assert!(error.to_string().contains(&wrong.to_string()), "{error}");
        assert!(client.load_balanced_view(wrong).is_err());
    }
    assert_eq!(client.view(..0).unwrap_err(), ViewError::NoEngines);
    Ok(())
}

/// Views of the same targets are equal.
fn views_of_the_same_engines_are_equal() -> Result {
    let (client, other) = (Client::new()?, Client::new()?);
    assert_eq!(client.view(..2)?, client.view([0, 1])?);
    assert_eq!(client.view(0)?, client.view(0)?.label("a label").block(true));
    assert_ne!(client.view(0)?, client.view(1)?);
    assert_ne!(client.view(0)?, other.view(0)?);
    assert_eq!(client.broadcast_view(0)?, client.broadcast_view([0])?);
    let balanced = client.load_balanced_view(..)?;
    assert_eq!(balanced, client.load_balanced_view(..)?.retries(3));
    assert_ne!(balanced, balanced.with_scheme(view::Scheme::TwoBin));
    assert_ne!(balanced, balanced.with_high_water_mark(7));
    assert_ne!(balanced, balanced.with_targets(0)?);
    assert_eq!(
        (balanced.targets(), balanced.scheme()),
        (None, view::Scheme::LeastLoad),
        "it has not changed"
    );
    assert_eq!(balanced.with_targets(0)?.targets(), Some(&[0][..]));
    Ok(())
}

/// A client cannot be made in a task.
fn client_in_a_task_is_an_error() -> Result {
    let makes = || Client::new().err();
    let error = get(makes.remote())?.unwrap();
    assert!(matches!(error, ViewError::WrongPlace { .. }), "{error:?}");
    Ok(())
}

/// `wait_for_engines`.
fn wait_for_engines() -> Result {
    let client = Client::new()?;
    assert!(client.wait_for_engines(2, Some(BOUND))?.len() >= 2);
    let error = client.wait_for_engines(10_000, Some(Duration::from_millis(10))).unwrap_err();
    assert!(matches!(error, ViewError::TooFewEngines { wanted: 10_000, .. }), "{error:?}");
    Ok(())
}

pub(super) fn dies(unlucky: usize) -> view::Result<usize> {
    let id = own_id()?;
    if id == unlucky {
        std::process::abort();
    }
    Ok(id)
}

/// A dead engine keeps its number, and its replacement has the next one.
fn dead_engine_keeps_its_number() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let (before, all) = (client.ids()?, client.view(..)?);
    let error = client.view(0)?.apply_sync(fallible(dies), (0_usize,)).unwrap_err();
    assert!(matches!(error, ViewError::EngineDied { engine: 0, .. }), "{error:?}");
    let after = client.wait_for_engines(before.len(), Some(BOUND))?;
    assert!(!after.contains(&0) && after.contains(&before.len()), "{after:?}");
    assert!(matches!(client.view(0), Err(ViewError::UnknownEngine { engine: 0, .. })));
    assert_eq!(all.targets(), before, "a view's targets do not change");
    let error = client.view(-1)?.apply_sync(fallible(own_id), ()).unwrap_err();
    assert!(
        matches!(error.downcast::<ViewError>(), Some(ViewError::UnknownName { .. })),
        "a new one: {error:?}"
    );
    let results = all.apply(fallible(own_id), ()).results(Some(BOUND))?;
    assert!(matches!(&results[0], Err(ViewError::EngineDied { engine: 0, .. })), "{results:?}");
    assert_eq!(results[1], Ok(vec![1]));
    Ok(())
}

/// An engine is stopped; the others continue, and it is not replaced.
fn engine_is_shut_down() -> Result {
    let client = Client::new()?;
    let before = client.ids()?;
    client.view(1)?.apply_sync(|| (), ())?;
    client.shutdown(1)?;
    let after = client.ids()?;
    assert!(!after.contains(&1) && after.len() == before.len() - 1, "{after:?}");
    assert!(client.view(1).is_err());
    assert_eq!(client.load_balanced_view(..)?.map_sync(|x: i64| x + 1, 0..10)?.len(), 10);
    assert_eq!(client.view(0)?.apply_sync(|| 7, ())?, [7]);
    Ok(())
}

/// Stopping all engines ends the session.
fn shutdown_of_all_engines_ends_the_session() -> Result {
    let _session = unidist::init()?;
    let client = Client::new()?;
    client.shutdown(..)?;
    assert!(!unidist::is_initialized());
    assert!(client.ids().is_err());
    Ok(())
}

/// `apply`: one result per engine; all kinds of arguments.
fn apply_on_each() -> Result {
    let client = Client::new()?;
    let all = client.view(..)?;
    let count = all.len();
    assert_eq!(all.apply_sync(|| 5, ())?, vec![5; count]);
    assert_eq!(all.apply_sync(|x: i64, y: String| format!("{x}{y}"), (4, "y"))?, vec!["4y"; count]);
    let six = |a: i64, b: i64, c: i64, d: i64, e: i64, f: i64| a + b + c + d + e + f;
    let result = all.apply(six, (1, 2, &3, 4, 5, 6));
    assert_eq!((result.get(None)?, result.len()), (vec![21; count], count));
    assert_eq!(result.get(None)?, vec![21; count], "again");
    Ok(())
}

/// `apply` returns at once.
fn apply_returns_at_once() -> Result {
    let client = Client::new()?;
    let signal = Signal::remote();
    let waits = |signal: ActorHandle<Signal>| get(signal.wait.remote());
    let result = client.view(0)?.apply(fallible(waits), (&signal,));
    assert!(!result.ready() && !result.successful() && result.progress() == 0);
    get(signal.open.remote())?;
    assert_eq!(result.get(Some(BOUND))?.len(), 1);
    assert!(result.ready() && result.successful());
    Ok(())
}

/// A flag is set on a copy of the view.
fn flags_are_set_on_a_copy() -> Result {
    let client = Client::new()?;
    let view = client.view(0)?;
    let labelled = view.label("a label");
    let other = labelled.with_targets([1, 0])?;
    assert_eq!(
        (other.targets(), other.apply(|| 1, ()).label(), view.targets()),
        (&[1, 0][..], Some("a label"), &[0][..])
    );
    assert!(view.with_targets(99).is_err());
    assert_eq!(labelled.apply(|| 1, ()).label(), Some("a label"));
    assert_eq!(view.apply(|| 1, ()).label(), None);
    let blocked = view.block(true).apply(|x: i64| x, (3,));
    assert!(blocked.ready());
    let balanced = client.load_balanced_view(..)?;
    assert_eq!(balanced.label("other").apply(|| 1, ()).label(), Some("other"));
    assert!(balanced.block(true).map(|x: i64| x, 0..5).ready());
    Ok(())
}

/// `map`: items in blocks, results in order.
fn map_in_blocks() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let all = client.view(..)?;
    let square = |x: i64| (x * x, own_id().unwrap());
    let squares = all.map(square, 0..101);
    assert_eq!(squares.len(), all.len(), "a task an engine");
    let squares = squares.get(None)?;
    assert!(squares.iter().map(|(square, _)| *square).eq((0..101).map(|x| x * x)));
    assert!(squares.iter().is_sorted_by_key(|(_, engine)| *engine), "in blocks");
    assert_eq!(squares.last().unwrap().1, all.len() - 1);
    assert_eq!(all.map_sync(|x: i64| x, [])?, [0_i64; 0]);
    assert_eq!(all.map_sync(|x: i64| -x, [1])?, [-1]);
    assert_eq!(all.map(|x: i64| x, 0..101).reduce(|a, b| a + b)?, Some(5050));
    assert_eq!(all.map(|x: i64| x, []).reduce(|a, b| a + b)?, None);
    Ok(())
}

/// `map`, iterating as results arrive.
fn map_iterates_as_results_arrive() -> Result {
    let client = Client::new()?;
    let results = client.view(..)?.map(|x: i64| x, 0..20);
    let mut values = results.iter_unordered().collect::<view::Result<Vec<_>>>()?;
    values.sort_unstable();
    assert!(values.into_iter().eq(0..20));
    assert!((&results).into_iter().collect::<view::Result<Vec<_>>>()?.into_iter().eq(0..20), "in order");
    Ok(())
}

fn counts(names: &mut Namespace) -> usize {
    let count = names.get("count").unwrap_or(0_usize) + 1;
    names.set("count", count);
    count
}

/// `execute`: a function of the engine's namespace.
fn execute_a_function() -> Result {
    let client = Client::new()?;
    let (first, all) = (client.view(0)?, client.view(..)?);
    first.execute(counts).get(None)?;
    let counts = all.execute(counts).get(None)?;
    assert_eq!((counts[0], counts[1]), (2, 1));
    Ok(())
}

/// `push`, `pull`, `update`, `set`, `get`, `clear`.
fn namespace_operations() -> Result {
    let client = Client::new()?;
    let all = client.view(..)?;
    let count = all.len();
    all.set("a", &7_i64)?;
    assert_eq!(all.get::<i64>("a")?, vec![7; count]);
    client.view(0)?.set("a", &8_i64)?;
    assert_eq!(all.get::<i64>("a")?[..2], [8, 7]);
    all.update([("b", "x".to_owned()), ("c", "y".to_owned())]).get(None)?;
    let push = all.push("big", &vec![1.5_f64; 100_000]);
    assert_eq!(push.get(None)?.len(), count);
    assert_eq!(all.pull::<String>("c").get(None)?, vec!["y"; count]);
    assert_eq!(all.get::<Vec<f64>>("big")?[1][99_999], 1.5);
    let names = all.execute(|names: &mut Namespace| names.names()).get(None)?;
    assert_eq!(names[0], ["a", "b", "big", "c"]);
    client.view(0)?.clear().get(None)?;
    assert!(client.view(0)?.get::<i64>("a").is_err());
    assert_eq!(client.view(1)?.get::<i64>("a")?, [7]);
    client.clear(..)?;
    assert_eq!(all.execute(|names: &mut Namespace| names.names().len()).get(None)?, vec![0; count]);
    Ok(())
}

/// A namespace belongs to a client, and is accessible only in its tasks.
fn namespace_belongs_to_a_client() -> Result {
    let (client, other) = (Client::new()?, Client::new()?);
    client.view(0)?.set("a", &1_i64)?;
    other.view(0)?.set("a", &2_i64)?;
    assert_eq!((client.view(0)?.get::<i64>("a")?, other.view(0)?.get::<i64>("a")?), (vec![1], vec![2]));
    assert!(matches!(view::namespace(), Err(ViewError::WrongPlace { .. })));
    let outside = || view::namespace().err().map(|error| error.to_string());
    assert!(get(outside.remote())?.is_some());
    Ok(())
}

/// An unknown name and a value of another type are errors.
fn unknown_name_is_an_error() -> Result {
    let client = Client::new()?;
    let first = client.view(0)?;
    first.set("a", &7_i64)?;
    let error = first.get::<i64>("b").unwrap_err();
    assert!(
        matches!(error.downcast(), Some(ViewError::UnknownName { name, .. }) if name == "b"),
        "{error:?}"
    );
    assert_eq!(error.engine(), Some(0));
    let error = first.get::<String>("a").unwrap_err();
    assert!(matches!(error.downcast(), Some(ViewError::WrongType { .. })), "{error:?}");
    assert!(error.to_string().contains("i64") && error.to_string().contains("String"), "{error}");
    let error = first.apply_sync(|x: i64| x, (Reference::new("b"),)).unwrap_err();
    assert!(matches!(error.downcast(), Some(ViewError::UnknownName { .. })), "{error:?}");
    Ok(())
}

/// `scatter` and `gather`, in blocks and round-robin.
fn scatter_and_gather() -> Result {
    let client = Client::new()?;
    let pair = client.view(..2)?;
    let items: Vec<i64> = (0..7).collect();
    pair.scatter("block", &items, Distribution::Block).get(None)?;
    assert_eq!(pair.get::<Vec<i64>>("block")?, [vec![0, 1, 2, 3], vec![4, 5, 6]]);
    pair.scatter("robin", &items, Distribution::RoundRobin).get(None)?;
    assert_eq!(pair.get::<Vec<i64>>("robin")?, [vec![0, 2, 4, 6], vec![1, 3, 5]]);
    assert_eq!(pair.gather::<i64>("block", Distribution::Block).get(None)?, items);
    assert_eq!(pair.gather::<i64>("robin", Distribution::RoundRobin).get(None)?, items);
    pair.scatter("one", &[9_i64], Distribution::Block).get(None)?;
    assert_eq!(pair.gather::<i64>("one", Distribution::RoundRobin).get(None)?, [9]);
    Ok(())
}

/// A reference as an argument: every engine uses its own value.
fn references() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let all = client.view(..)?;
    let sums = all.apply_sync(|id: usize, by: usize| id + by, (Reference::new("id"), 10))?;
    assert!(sums.into_iter().eq((0..all.len()).map(|id| id + 10)));
    let id = client.load_balanced_view(1)?.apply_sync(|id: usize| id, (Reference::<usize>::new("id"),))?;
    assert_eq!(id, 1);
    Ok(())
}

/// A ref as an argument is waited for, and arrives as the value.
fn refs_as_arguments() -> Result {
    let client = Client::new()?;
    let (put, call) = (put(40_i64)?, (|x: i64| x + 1).remote(0));
    let add = |x: i64, y: i64, z: i64| x + y + z;
    assert_eq!(client.view(..)?.apply_sync(add, (&put, &call, 1))?[1], 42);
    assert_eq!(client.load_balanced_view(..)?.apply_sync(add, (&put, call.clone(), 1))?, 42);
    assert_eq!(client.broadcast_view(..)?.apply_sync(add, (put, call, 1))?[0], 42);
    let failed = (|x: i64| 1 / x).remote(0);
    let error = client.view(0)?.apply_sync(|x: i64| x, (failed,)).unwrap_err();
    assert!(
        matches!(&error, ViewError::Remote { error, .. }
        if error.as_task().map(|error| error.kind) == Some(ErrorKind::DependencyFailed)),
        "{error:?}"
    );
    Ok(())
}

/// `clear` overtakes calls that wait at the engine, and a status query does not wait.
fn clear_overtakes_waiting_calls() -> Result {
    let client = Client::new()?;
    let (first, signal) = (client.view(0)?, Signal::remote());
    first.set("a", &1_i64)?;
    let busy = first.apply(fallible(|signal: ActorHandle<Signal>| get(signal.wait.remote())), (&signal,));
    get(signal.waiting.remote(1_usize))?;
    let looks = first.execute(|names: &mut Namespace| names.contains("a"));
    let clear = first.clear();
    let status = client.queue_status();
    assert!(status.engines[&0].queue >= 2, "{status:?}");
    get(signal.open.remote())?;
    busy.get(Some(BOUND))?;
    clear.get(Some(BOUND))?;
    assert!(!looks.get_one(Some(BOUND))?, "it was handed in before, and ran after");
    Ok(())
}

/// A broadcast view gives the same results as a direct view.
fn broadcast_equals_direct_view() -> Result {
    let client = Client::new()?;
    let all = client.broadcast_view(..)?;
    let count = all.targets().len();
    let data: Vec<f64> = (0..100_000).map(f64::from).collect();
    let lengths = all.apply(|data: Vec<f64>| (data.len(), data[99_999]), (&data,));
    assert_eq!(lengths.get(None)?, vec![(100_000, 99_999.0); count]);
    assert_eq!(lengths.get_dict(None)?.len(), count);
    all.push("data", &data).get(None)?;
    let sums = all.apply_sync(|data: Vec<f64>| data[1] + data[2], (Reference::new("data"),))?;
    assert_eq!(sums, vec![3.0; count]);
    assert_eq!(all.pull::<Vec<f64>>("data").get(None)?[1], data);
    assert_eq!(all.execute(|names: &mut Namespace| names.names()).get(None)?, vec![["data"]; count]);
    all.clear().get(None)?;
    assert!(all.pull::<Vec<f64>>("data").get(None).is_err());
    Ok(())
}

/// Each engine is a separate process.
fn engines_are_processes() -> Result {
    let client = Client::new()?;
    let view = client.view(..2)?;
    let (once, again) = (view.apply_sync(std::process::id, ())?, view.apply_sync(std::process::id, ())?);
    assert_eq!(once, again);
    assert!(once[0] != once[1] && !once.contains(&std::process::id()));
    Ok(())
}

/// With `pyseq`, engines differ only in number and namespace, and calls run when they are made.
fn sequential_engines_share_a_process() -> Result {
    let client = Client::new()?;
    assert_eq!(client.view(..2)?.apply_sync(std::process::id, ())?, [std::process::id(); 2]);
    let log = Log::remote();
    let first = client.view(0)?.apply(|log: ActorHandle<Log>| say(&log, "first"), (&log,));
    say(&log, "second");
    assert_eq!(get(log.said.remote(2_usize))?, ["first", "second"]);
    first.get(None)?;
    Ok(())
}
