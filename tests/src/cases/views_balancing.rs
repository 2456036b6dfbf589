//! Load-balanced views: schemes, limits, retries.

use super::views::{numbered, own_id};
use crate::case::{Case, PYMP, Result, cases};
use crate::support::{BOUND, Log, Signal, say};
use std::collections::BTreeSet;
use unidist::fallible;
use unidist::prelude::*;
use unidist::view::{self, Client, Scheme, TaskStatus, ViewError};

pub(super) const CASES: &[Case] = cases!["views_balancing" on_one_host:
    apply_on_one, map_in_order, map_in_chunks, imap_of_an_endless_iterator,
    imap_max_outstanding_is_kept.only(PYMP), dropped_imap_aborts_its_tasks.only(PYMP),
    schemes_use_the_views_engines, least_load_chooses_the_idle_engine.only(PYMP),
    high_water_mark_is_kept.only(PYMP), view_of_some_engines_uses_no_others, retry_runs_elsewhere,
    retries_are_limited, retries_outlive_a_dead_engine.only(PYMP).not_spmd(),
    replacement_engine_takes_part.only(PYMP).not_spmd(),
    view_survives_the_death_of_all_engines.only(PYMP).not_spmd(),
    task_dies_with_its_engine_without_retries.only(PYMP).not_spmd(), queued_task_is_aborted.only(PYMP),
    dropped_client_discards_waiting_tasks.only(PYMP),
];

/// Waits, and returns the process id.
pub(super) fn waits(signal: ActorHandle<Signal>) -> Result<u32> {
    get(signal.wait.remote())?;
    Ok(std::process::id())
}

pub(super) fn refuses(x: i64) -> Result<i64, String> {
    Err(format!("not {x}"))
}

/// `apply`: one result from one engine.
fn apply_on_one() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?;
    assert_eq!(view.apply_sync(|x: i64, y: i64| x * y, (6, 7))?, 42);
    let result = view.apply(|| "x".to_owned(), ());
    assert_eq!(result.get_one(None)?, "x");
    assert_eq!((result.len(), result.get_dict(None)?.len()), (1, 1));
    let error = view.apply_sync(fallible(refuses), (3,)).unwrap_err();
    assert_eq!(error.downcast::<String>().as_deref(), Some("not 3"));
    Ok(())
}

/// `map`: one task per item, results in order, errors in place.
fn map_in_order() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?;
    let results = view.map(|x: i64| x * x, 0..100);
    assert_eq!(results.len(), 100);
    assert!(results.get(None)?.into_iter().eq((0..100).map(|x| x * x)));
    assert_eq!(view.map_sync(|x: i64| x, [])?, [0_i64; 0]);
    let mut unordered = results.iter_unordered().collect::<view::Result<Vec<_>>>()?;
    unordered.sort_unstable();
    assert!(unordered.into_iter().eq((0..100).map(|x| x * x)));
    let halves =
        view.map(fallible(|x: i64| if x % 2 == 0 { Ok(x / 2) } else { Err(format!("{x} is odd")) }), 0..4);
    let halves: Vec<_> = halves.iter().map(|half| half.ok()).collect();
    assert_eq!(halves, [Some(0), None, Some(1), None]);
    Ok(())
}

/// `chunk_size`: the number of items per task.
fn map_in_chunks() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?.chunk_size(30);
    let results = view.map(|x: i64| -x, 0..100);
    assert_eq!(results.len(), 4);
    assert!(results.get(None)?.into_iter().eq((0..100).map(|x: i64| -x)));
    assert_eq!(results.results(None)?[3].as_ref().map(Vec::len), Ok(10));
    assert_eq!(view.chunk_size(0).map(|x: i64| x, 0..3).len(), 3);
    Ok(())
}

/// `imap`: an endless iterator, in order; a limit of 0 is an error.
fn imap_of_an_endless_iterator() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?;
    let mut squares = view.imap(|x: u64| x * x, 0.., 3)?;
    let first = squares.by_ref().take(20).collect::<view::Result<Vec<_>>>()?;
    assert!(first.into_iter().eq((0..20).map(|x| x * x)));
    drop(squares);
    assert!(view.imap(|x: u64| x, 0..9, 0).is_err());
    assert_eq!(view.imap(|x: u64| x, 0..9, 100)?.count(), 9);
    Ok(())
}

/// No more than `max_outstanding` tasks are submitted.
fn imap_max_outstanding_is_kept() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?;
    let mut taken = 0;
    let items = std::iter::from_fn(|| {
        taken += 1;
        Some(taken)
    });
    let mut results = view.imap(|x: u64| x, items, 3)?;
    assert_eq!(results.next().transpose()?, Some(1));
    assert_eq!(results.next().transpose()?, Some(2));
    drop(results);
    assert_eq!(taken, 4, "two that were given, and two more");
    Ok(())
}

/// Dropping the iterator aborts tasks that have not ended.
fn dropped_imap_aborts_its_tasks() -> Result {
    let client = Client::new()?;
    let signal = Signal::remote();
    let view = client.load_balanced_view(..)?;
    let mut results = view.imap(fallible(waits), std::iter::repeat_n(signal.clone(), 50), 10)?;
    let first = client.outstanding();
    assert_eq!(first, []);
    get(signal.open.remote())?;
    results.next().transpose()?;
    drop(results);
    assert!(client.wait_all(Some(BOUND)));
    // No task has ended, so the drop aborts all submitted tasks.
    let (first, never) = (Signal::remote(), Signal::remote());
    let signals = [first.clone()].into_iter().chain(std::iter::repeat_n(never.clone(), 50));
    let mut results = view.label("dropped").imap(fallible(waits), signals, 10)?;
    let one = std::thread::spawn(move || {
        let one = results.next().map(|result| result.is_ok());
        drop(results);
        one
    });
    get(first.waiting.remote(1_usize))?;
    get(first.open.remote())?;
    assert_eq!(one.join().unwrap(), Some(true));
    assert!(client.wait_all(Some(BOUND)));
    let records = client.db_query(&view::Query::new().label("dropped"))?;
    let aborted = records.iter().filter(|record| record.status == TaskStatus::Aborted).count();
    assert_eq!(aborted, records.len() - 1, "{records:?}");
    assert!(aborted >= 2);
    get(never.open.remote())?;
    Ok(())
}

/// Every scheme gives every task to an engine of the view.
fn schemes_use_the_views_engines() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    for scheme in
        [Scheme::LeastLoad, Scheme::LeastRecentlyUsed, Scheme::PlainRandom, Scheme::TwoBin, Scheme::Weighted]
    {
        for mark in [0, 1, 5] {
            let view = client.load_balanced_view([0, 1])?.with_scheme(scheme).with_high_water_mark(mark);
            assert_eq!((view.scheme(), view.high_water_mark()), (scheme, mark));
            let results = view.map(fallible(|x: i64| own_id().map(|id| (x, id))), 0..30);
            let found = results.get(None)?;
            assert!(found.iter().map(|(x, _)| *x).eq(0..30));
            let engines: BTreeSet<_> = found.iter().map(|(_, id)| *id).collect();
            assert!(engines.iter().all(|id| [0, 1].contains(id)), "{scheme:?}: {engines:?}");
        }
    }
    let lru = client.load_balanced_view([0, 1])?.with_scheme(Scheme::LeastRecentlyUsed);
    let engines: Vec<_> =
        (0..4).map(|_| lru.apply_sync(fallible(own_id), ())).collect::<view::Result<_>>()?;
    assert!(engines[0] != engines[1] && engines[..2] == engines[2..], "in turn: {engines:?}");
    Ok(())
}

/// The scheme `LeastLoad` chooses the idle engine.
fn least_load_chooses_the_idle_engine() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let signal = Signal::remote();
    let busy = client.view(0)?.apply(fallible(waits), (&signal,));
    get(signal.waiting.remote(1_usize))?;
    let view = client.load_balanced_view([0, 1])?.with_high_water_mark(0);
    assert_eq!((view.apply_sync(fallible(own_id), ())?, view.apply_sync(fallible(own_id), ())?), (1, 1));
    get(signal.open.remote())?;
    busy.get(Some(BOUND))?;
    Ok(())
}

/// An engine has at most `high_water_mark` tasks at once; the others wait in the client.
fn high_water_mark_is_kept() -> Result {
    let client = Client::new()?;
    let signal = Signal::remote();
    let view = client.load_balanced_view([0, 1])?.with_high_water_mark(2);
    let results: Vec<_> = (0..7).map(|_| view.apply(fallible(waits), (&signal,))).collect();
    let status = client.queue_status();
    assert_eq!(
        (status.engines[&0].tasks, status.engines[&1].tasks, status.unassigned),
        (2, 2, 3),
        "{status:?}"
    );
    let waiting = client.db_query(&view::Query::new().status(TaskStatus::Queued))?;
    assert_eq!(waiting.len(), 3);
    get(signal.open.remote())?;
    for result in results {
        result.get(Some(BOUND))?;
    }
    assert_eq!(client.queue_status().unassigned, 0);
    Ok(())
}

/// A view of some engines uses no others.
fn view_of_some_engines_uses_no_others() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let last = client.load_balanced_view(-1)?;
    let expected = client.ids()?.len() - 1;
    let ids = last.map(fallible(|_: i64| own_id()), 0..10).get(None)?;
    assert_eq!(ids, vec![expected; 10]);
    Ok(())
}

/// `retries`: a failed task is retried on another engine.
fn retry_runs_elsewhere() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let log = Log::remote();
    let not_on_the_first = |log: ActorHandle<Log>| -> Result<usize, String> {
        let id = own_id().map_err(|error| error.to_string())?;
        say(&log, id);
        if id == 0 { Err("not here".to_owned()) } else { Ok(id) }
    };
    let view = client.load_balanced_view([0, 1])?.with_scheme(Scheme::LeastRecentlyUsed).retries(1);
    for _ in 0..4 {
        assert_eq!(view.apply_sync(fallible(not_on_the_first), (&log,))?, 1);
    }
    let records = client.db_query(&view::Query::new())?;
    let tried_again = records.iter().filter(|record| record.retries == 1).count();
    assert!(tried_again >= 1, "{records:?}");
    assert!(records.iter().all(|record| record.status == TaskStatus::Completed), "{records:?}");
    Ok(())
}

/// A task that always fails is retried only `retries` times.
fn retries_are_limited() -> Result {
    let client = Client::new()?;
    let log = Log::remote();
    let fails = |log: ActorHandle<Log>| -> Result<i64, String> {
        say(&log, "tried");
        Err("in vain".to_owned())
    };
    let result = client.load_balanced_view(..)?.retries(3).apply(fallible(fails), (&log,));
    let error = result.get(None).unwrap_err();
    assert_eq!(error.downcast::<String>().as_deref(), Some("in vain"));
    assert_eq!(result.records()[0].retries, 3);
    assert_eq!(get(log.said.remote(4_usize))?.len(), 4);
    Ok(())
}

/// With retries, a task outlives its engine, and the replacement engine takes part.
fn retries_outlive_a_dead_engine() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let die_on_old = || {
        if own_id().is_ok_and(|id| id == 0) {
            std::process::abort();
        }
        std::process::id()
    };
    let count = client.ids()?.len();
    let view = client.load_balanced_view(..)?.retries(1);
    let first = client.view(0)?.apply_sync(std::process::id, ())?[0];
    let on_first =
        view.with_scheme(Scheme::LeastRecentlyUsed).map(move |(): ()| die_on_old(), vec![(); 2 * count]);
    assert!(!on_first.get(Some(BOUND))?.contains(&first));
    let ids = client.wait_for_engines(count, Some(BOUND))?;
    assert!(!ids.contains(&0) && ids.contains(&count), "{ids:?}");
    Ok(())
}

/// The replacement of a dead engine is found while all others are busy.
fn replacement_engine_takes_part() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let (signal, dying) = (Signal::remote(), Signal::remote());
    let busy: Vec<_> = client.ids()?[1..]
        .iter()
        .map(|id| Ok(client.load_balanced_view(*id)?.apply(fallible(waits), (&signal,))))
        .collect::<Result<_>>()?;
    get(signal.waiting.remote(busy.len()))?;
    let dies = |dying: ActorHandle<Signal>| -> Result<()> {
        get(dying.wait.remote())?;
        std::process::abort()
    };
    let first = client.load_balanced_view(0)?.apply(fallible(dies), (&dying,));
    let others = client.load_balanced_view(..)?.map(|x: i64| x + 1, 0..5);
    assert_eq!(client.queue_status().unassigned, 5);
    get(dying.open.remote())?;
    assert!(matches!(first.get(Some(BOUND)), Err(ViewError::EngineDied { engine: 0, .. })));
    assert!(others.get(Some(BOUND))?.into_iter().eq(1..6));
    assert!(busy.iter().all(|result| !result.ready()));
    get(signal.open.remote())?;
    busy.iter().try_for_each(|result| result.get(Some(BOUND)).map(drop))?;
    Ok(())
}

/// Without retries, a task fails with its engine.
fn task_dies_with_its_engine_without_retries() -> Result {
    let client = Client::new()?;
    let aborts = || std::process::abort();
    let error = client.load_balanced_view(0)?.apply_sync(move || -> i64 { aborts() }, ()).unwrap_err();
    assert!(matches!(error, ViewError::EngineDied { engine: 0, .. }), "{error:?}");
    let error = client.load_balanced_view(..)?.apply_sync(|| 1, ());
    assert_eq!(error, Ok(1));
    Ok(())
}

/// A view continues with new engines after all known engines have died, even unnoticed.
fn view_survives_the_death_of_all_engines() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?;
    let aborts = || std::process::abort();
    let results = client.view(..)?.apply(move || -> i64 { aborts() }, ());
    assert!(results.get(None).is_err());
    assert_eq!(view.apply(|| 1, ()).get(Some(BOUND))?, [1]);
    // The client is not told that the worker was killed.
    let unseen = client.load_balanced_view(..)?;
    let dies = |(): ()| -> i64 { std::process::abort() };
    for worker in unidist::workers()? {
        assert!(get(dies.options().on_worker(worker.id).remote(())).is_err());
    }
    assert_eq!(unseen.apply(|| 2, ()).get(Some(BOUND))?, [2]);
    Ok(())
}

/// A task that waits in the client can be aborted: it never runs, and the others do.
fn queued_task_is_aborted() -> Result {
    let client = Client::new()?;
    let (signal, log) = (Signal::remote(), Log::remote());
    let view = client.load_balanced_view(0)?;
    let first = view.apply(fallible(waits), (&signal,));
    let speaks = |log: ActorHandle<Log>, text: String| say(&log, text);
    let (second, third) = (view.apply(speaks, (&log, "second")), view.apply(speaks, (&log, "third")));
    assert_eq!(client.queue_status().unassigned, 2);
    assert_eq!(second.abort()?, 1);
    assert!(matches!(second.get(None), Err(ViewError::Aborted { .. })));
    assert_eq!(client.queue_status().unassigned, 1);
    assert_eq!(first.records()[0].status, TaskStatus::Sent);
    get(signal.open.remote())?;
    third.get(Some(BOUND))?;
    assert_eq!(get(log.said.remote(1_usize))?, ["third"]);
    Ok(())
}

/// Tasks that wait in a dropped client never run; tasks that were sent do.
fn dropped_client_discards_waiting_tasks() -> Result {
    let (signal, log) = (Signal::remote(), Log::remote());
    {
        let view = Client::new()?.load_balanced_view(0)?;
        let says = |signal: ActorHandle<Signal>, log: ActorHandle<Log>, text: String| {
            let waited = get(signal.wait.remote());
            say(&log, text);
            waited.is_ok()
        };
        let _ = view.apply(says, (&signal, &log, "sent"));
        get(signal.waiting.remote(1_usize))?;
        let _ = view.apply(says, (&signal, &log, "not sent"));
    }
    get(signal.open.remote())?;
    assert_eq!(get(log.said.remote(1_usize))?, ["sent"]);
    Ok(())
}
