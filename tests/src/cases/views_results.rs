//! Views: results, errors, tasks that are aborted.

use super::views::{dies, numbered, own_id};
use crate::case::{Case, PYMP, Result, cases};
use crate::support::{BOUND, Log, Signal, say};
use std::collections::BTreeMap;
use std::time::Duration;
use unidist::prelude::*;
use unidist::view::{self, Client, ViewError};
use unidist::{ErrorKind, fallible};

pub(super) const CASES: &[Case] = cases!["views_results" on_one_host:
    results_by_engine, get_and_wait_time_out.only(PYMP), iterate_while_running.only(PYMP), task_times,
    error_of_one_task, composite_error_of_several_tasks, engine_death_fails_its_tasks.only(PYMP).not_spmd(),
    waiting_task_is_aborted.only(PYMP), running_task_is_aborted.only(PYMP),
    computation_sees_its_abort.only(PYMP),
    unresponsive_task_loses_its_engine.only(PYMP).not_spmd().settings(SHORT), wait_interactive_shows_progress,
];

/// The settings for a case in which an engine is killed.
const SHORT: &[(&str, &str)] = &[("UNIDIST_CANCEL_GRACE", "0.05")];

/// `get_dict`: by engine; several results of one engine are an error.
fn results_by_engine() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let view = client.view([1, 0])?;
    let result = view.apply(fallible(own_id), ());
    assert_eq!(result.get_dict(None)?, BTreeMap::from([(0, 0), (1, 1)]));
    assert_eq!(result.engines(), [Some(1), Some(0)]);
    assert_eq!(result.ids().len(), 2);
    assert!(view.map(|x: i64| x, 0..10).get_dict(None).is_err());
    assert!(view.apply(|| 1, ()).get_one(None).is_err());
    assert_eq!(client.view(1)?.apply(|| 1, ()).get_one(None)?, 1);
    Ok(())
}

/// `get` and `wait` with a time-out.
fn get_and_wait_time_out() -> Result {
    let client = Client::new()?;
    let signal = Signal::remote();
    let waits = |signal: ActorHandle<Signal>| get(signal.wait.remote());
    let result = client.view(..2)?.apply(fallible(waits), (&signal,));
    let error = result.get(Some(Duration::from_millis(5))).unwrap_err();
    assert!(matches!(error, ViewError::TimedOut { ended: 0, of: 2, .. }), "{error:?}");
    assert!(!result.wait(Some(Duration::from_millis(5))) && !client.wait_all(Some(Duration::ZERO)));
    assert!(!client.wait(result.ids(), Some(Duration::ZERO))?);
    assert_eq!(client.outstanding(), result.ids());
    let same = client.get_result::<()>(result.ids()[0])?;
    assert!(!same.ready());
    get(signal.open.remote())?;
    assert!(client.wait_all(Some(BOUND)) && client.wait(result.ids(), None)? && result.wait(None));
    assert_eq!((same.get(None)?.len(), client.outstanding().len()), (1, 0));
    Ok(())
}

/// Results are available while others are pending: in order, and as they arrive.
fn iterate_while_running() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let signal = Signal::remote();
    let last_waits = |signal: ActorHandle<Signal>| -> view::Result<usize> {
        let id = own_id()?;
        if id == 1 {
            get(signal.wait.remote())?;
        }
        Ok(id)
    };
    let view = client.view([0, 1])?;
    let result = view.apply(fallible(last_waits), (&signal,));
    let mut values = result.iter();
    assert_eq!(values.next().transpose()?, Some(0));
    assert_eq!(result.progress(), 1);
    let backwards = client.view([1, 0])?.apply(fallible(last_waits), (&signal,));
    let mut come = backwards.iter_unordered();
    assert_eq!(come.next().transpose()?, Some(0));
    get(signal.open.remote())?;
    assert_eq!((values.next().transpose()?, values.next().transpose()?), (Some(1), None));
    assert_eq!((come.next().transpose()?, come.next().transpose()?), (Some(1), None));
    Ok(())
}

/// Times of each task, and of all together.
fn task_times() -> Result {
    let client = Client::new()?;
    let result = client.view(..)?.label("times").apply(|| std::thread::sleep(Duration::from_millis(5)), ());
    result.get(None)?;
    for record in result.records() {
        let (started, completed) = (record.started.unwrap(), record.completed.unwrap());
        assert!(record.submitted <= started && started < completed, "{record:?}");
        assert!(record.duration().unwrap() >= Duration::from_millis(5));
    }
    let (serial, wall) = (result.serial_time(), result.wall_time());
    assert!(serial >= Duration::from_millis(5) * result.len() as u32, "{serial:?}");
    assert!(wall >= Duration::from_millis(5) && result.elapsed() == wall, "{wall:?}");
    Ok(())
}

/// The error of a single task names its engine, and contains the function's own error.
fn error_of_one_task() -> Result {
    let client = Client::new()?;
    let refuses = |x: i64| -> Result<i64, String> { Err(format!("not {x}")) };
    let error = client.view(1)?.apply_sync(fallible(refuses), (7,)).unwrap_err();
    assert_eq!((error.engine(), error.downcast::<String>().as_deref()), (Some(1), Some("not 7")));
    assert!(error.to_string().contains("engine 1") && error.to_string().contains("not 7"), "{error}");
    let error: unidist::Error = error.into();
    assert_eq!(error.downcast::<String>().as_deref(), Some("not 7"));
    let result = client.view(0)?.apply(|x: i64| 1 / x, (0,));
    assert!(result.get(None).unwrap_err().to_string().contains("panicked"));
    assert!(result.ready() && !result.successful());
    Ok(())
}

/// The errors of several engines are one error that lists them; the other results are available.
fn composite_error_of_several_tasks() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let view = client.view([0, 1, 0])?;
    let only_one = || -> Result<usize, String> {
        let id = own_id().map_err(|error| error.to_string())?;
        if id == 1 { Ok(id) } else { Err(format!("{id} is not one")) }
    };
    let result = view.apply(fallible(only_one), ());
    let error = result.get(None).unwrap_err();
    let ViewError::Composite(composite) = &error else { panic!("{error:?}") };
    assert_eq!((composite.errors.len(), composite.of), (2, 3));
    assert!(composite.errors.iter().all(|(engine, error)| *engine == Some(0) && error.engine() == Some(0)));
    assert!(
        error.to_string().contains("engine 0: ") && error.to_string().contains("0 is not one"),
        "{error}"
    );
    let results = result.results(None)?;
    assert!(results[0].is_err() && results[1] == Ok(vec![1]) && results[2].is_err());
    Ok(())
}

/// A dead engine fails its own tasks; the other results are available.
fn engine_death_fails_its_tasks() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let view = client.view(..)?;
    let result = view.apply(fallible(dies), (1_usize,));
    let results = result.results(Some(BOUND))?;
    for (engine, outcome) in view.targets().iter().zip(results) {
        match outcome {
            Err(ViewError::EngineDied { engine: dead, cause }) => {
                assert_eq!((*engine, dead, cause.kind), (1, 1, ErrorKind::WorkerDied));
            }
            other => assert_eq!(other, Ok(vec![*engine])),
        }
    }
    let error = result.get(None).unwrap_err();
    assert!(matches!(&error, ViewError::Composite(error) if error.errors.len() == 1), "{error:?}");
    assert!(error.to_string().contains("engine 1 died"), "{error}");
    Ok(())
}

fn waits(signal: ActorHandle<Signal>, log: ActorHandle<Log>) -> Result<()> {
    say(&log, "started");
    get(signal.wait.remote())
}

/// A task that waits at its engine is aborted: it never runs.
fn waiting_task_is_aborted() -> Result {
    let client = Client::new()?;
    let (first, signal, log) = (client.view(0)?, Signal::remote(), Log::remote());
    let running = first.apply(fallible(waits), (&signal, &log));
    get(signal.waiting.remote(1_usize))?;
    let waiting = first.apply(|log: ActorHandle<Log>| say(&log, "it ran"), (&log,));
    assert_eq!(waiting.abort()?, 1);
    let error = waiting.get(Some(BOUND)).unwrap_err();
    assert!(matches!(error, ViewError::Aborted { task } if task == waiting.ids()[0]), "{error:?}");
    assert_eq!(waiting.abort()?, 0, "it has ended");
    get(signal.open.remote())?;
    running.get(Some(BOUND))?;
    first.apply_sync(|log: ActorHandle<Log>| say(&log, "next"), (&log,))?;
    assert_eq!(get(log.said.remote(2_usize))?, ["started", "next"]);
    Ok(())
}

/// A running task is aborted, and its engine runs the next one.
fn running_task_is_aborted() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let (first, signal, log) = (client.view(0)?, Signal::remote(), Log::remote());
    let running = first.apply(fallible(waits), (&signal, &log));
    get(signal.waiting.remote(1_usize))?;
    let next = first.apply(fallible(own_id), ());
    assert_eq!(client.abort(running.ids())?, 1);
    let error = running.get_one(Some(BOUND)).unwrap_err();
    assert!(matches!(error, ViewError::Aborted { .. }), "{error:?}");
    assert_eq!(next.get_one(Some(BOUND))?, 0, "the same engine, with its names");
    assert!(client.ids()?.contains(&0));
    get(signal.open.remote())?;
    Ok(())
}

/// An aborted computation sees it with `is_cancelled`.
fn computation_sees_its_abort() -> Result {
    let client = Client::new()?;
    let (first, log) = (client.view(0)?, Log::remote());
    let computes = |log: ActorHandle<Log>| {
        say(&log, "computes");
        while !unidist::is_cancelled() {
            std::thread::yield_now();
        }
        say(&log, "was told");
    };
    let running = first.apply(computes, (&log,));
    get(log.said.remote(1_usize))?;
    assert_eq!(running.abort()?, 1);
    assert_eq!(get(log.said.remote(2_usize))?, ["computes", "was told"]);
    assert!(matches!(running.get(Some(BOUND)), Err(ViewError::Aborted { .. })));
    assert_eq!(first.apply_sync(|| 1, ())?, [1]);
    Ok(())
}

/// The engine of an aborted task that does not end is killed; load-balanced tasks behind it are not affected.
fn unresponsive_task_loses_its_engine() -> Result {
    let client = Client::new()?;
    let log = Log::remote();
    let endless = |log: ActorHandle<Log>| {
        say(&log, "computes");
        loop {
            std::thread::park();
        }
    };
    let view = client.load_balanced_view(..)?.with_high_water_mark(2);
    let count = client.ids()?.len();
    let stuck = client.view(..)?.apply(move |log: ActorHandle<Log>| -> () { endless(log) }, (&log,));
    get(log.said.remote(count))?;
    let others = view.map(|x: i64| x + 1, 0..10);
    assert_eq!(stuck.abort()?, count);
    for result in stuck.results(Some(BOUND))? {
        assert!(matches!(result, Err(ViewError::Aborted { .. })), "{result:?}");
    }
    assert!(others.get(Some(BOUND))?.into_iter().eq(1..11));
    let ids = client.wait_for_engines(count, Some(BOUND))?;
    assert!(ids.iter().all(|id| *id >= count), "{ids:?}");
    Ok(())
}

/// `wait_interactive` shows a progress bar.
fn wait_interactive_shows_progress() -> Result {
    let client = Client::new()?;
    let result = client.load_balanced_view(..)?.label("bar").map(|x: i64| x, 0..10);
    assert!(result.wait_interactive(None));
    assert_eq!((result.progress(), result.len()), (10, 10));
    assert!(client.view(0)?.map(|x: i64| x, []).wait_interactive(Some(BOUND)));
    Ok(())
}
