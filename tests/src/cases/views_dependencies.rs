//! Load-balanced views: tasks that depend on others, or on what an engine has.

use super::views::{numbered, own_id};
use super::views_balancing::{refuses, waits};
use crate::case::{Case, PYMP, Result, cases};
use crate::support::{BOUND, Log, Signal, say};
use std::time::Duration;
use unidist::fallible;
use unidist::prelude::*;
use unidist::view::{self, AsyncResult, Client, Dependency, Scheme, Unmet, ViewError, depend};

pub(super) const CASES: &[Case] = cases!["views_dependencies" on_one_host:
    after_waits_for_others.only(PYMP), after_all_or_any, after_failures, follow_runs_on_the_same_engine,
    follow_of_different_engines, impossible_dependency_fails_the_task, invalid_dependency_is_an_error,
    dependency_times_out.only(PYMP), timeout_counts_only_waiting.only(PYMP), check_chooses_the_engine,
    check_that_no_engine_meets, function_rejects_its_engine, check_on_a_direct_view,
];

/// `after`: a task starts when others have ended.
fn after_waits_for_others() -> Result {
    let client = Client::new()?;
    let (signal, log) = (Signal::remote(), Log::remote());
    let view = client.load_balanced_view([0, 1])?.with_high_water_mark(0);
    let first = view.apply(fallible(waits), (&signal,));
    let says = |log: ActorHandle<Log>, text: String| say(&log, text);
    let second = view.after(&first).apply(says, (&log, "second"));
    let third = view.after(&second).apply(says, (&log, "third"));
    view.apply_sync(says, (&log, "free"))?;
    assert_eq!(client.queue_status().unassigned, 2);
    assert!(!second.ready());
    get(signal.open.remote())?;
    third.get(Some(BOUND))?;
    assert_eq!(get(log.said.remote(3_usize))?, ["free", "second", "third"]);
    Ok(())
}

fn pair(client: &Client) -> Result<(AsyncResult<i64>, AsyncResult<i64>)> {
    let view = client.load_balanced_view(..)?;
    let (fine, wrong) = (view.apply(|| 1_i64, ()), view.apply(fallible(refuses), (1,)));
    assert!(fine.wait(Some(BOUND)) && wrong.wait(Some(BOUND)));
    Ok((fine, wrong))
}

fn is_impossible<T: std::fmt::Debug>(result: view::Result<T>) -> bool {
    matches!(result, Err(ViewError::ImpossibleDependency { .. }))
}

/// `after` with all or any tasks; the default is their success.
fn after_all_or_any() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?;
    let (fine, wrong) = pair(&client)?;
    let both = || fine.ids().into_iter().chain(wrong.ids());
    let run = |on: Dependency| view.after(on).apply(|| 5, ()).get_one(Some(BOUND));
    assert!(is_impossible(run(Dependency::all(both()))));
    assert_eq!(run(Dependency::any(both())), Ok(5));
    assert_eq!(run(Dependency::all(both()).whatever_happens()), Ok(5));
    assert!(is_impossible(run(Dependency::any(wrong.ids()))));
    Ok(())
}

/// `after` with failures.
fn after_failures() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?;
    let (fine, wrong) = pair(&client)?;
    let both = || fine.ids().into_iter().chain(wrong.ids());
    let run = |on: Dependency| view.after(on).apply(|| 5, ()).get_one(Some(BOUND));
    assert_eq!(run(Dependency::from(&wrong).on_failure()), Ok(5));
    assert!(is_impossible(run(Dependency::from(&fine).on_failure())));
    assert_eq!(run(Dependency::any(both()).on_failure()), Ok(5));
    assert!(is_impossible(run(Dependency::all(both()).on_failure())));
    Ok(())
}

/// `follow`: a task runs where others ran.
fn follow_runs_on_the_same_engine() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let view = client.load_balanced_view(..)?.with_scheme(Scheme::PlainRandom);
    for target in [1, 0, 1] {
        let first = client.view(target)?.apply(|| (), ());
        for _ in 0..5 {
            assert_eq!(view.follow(&first).apply_sync(fallible(own_id), ())?, target);
        }
        let follower = view.follow(&first).apply(fallible(own_id), ());
        let next = view.follow(&follower).after(&first).apply(fallible(own_id), ());
        assert_eq!(next.get_one(Some(BOUND))?, target);
    }
    let (fine, wrong) = (client.view(0)?.apply(|| 1_i64, ()), client.view(1)?.apply(fallible(refuses), (1,)));
    let any = Dependency::any(fine.ids().into_iter().chain(wrong.ids()));
    assert_eq!(view.follow(any.clone()).apply_sync(fallible(own_id), ())?, 0);
    assert_eq!(view.follow(any.on_failure()).apply_sync(fallible(own_id), ())?, 1);
    assert!(is_impossible(view.follow(&wrong).apply_sync(|| (), ())));
    Ok(())
}

/// Tasks on different engines cannot all be followed; one of them can.
fn follow_of_different_engines() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?;
    let apart = client.view([0, 1])?.apply(|| (), ());
    let error = view.follow(&apart).apply_sync(|| (), ()).unwrap_err();
    assert!(
        matches!(&error, ViewError::ImpossibleDependency { why, .. } if why.contains("[0, 1]")),
        "{error:?}"
    );
    view.follow(Dependency::any(apart.ids())).apply_sync(|| (), ())?;
    let elsewhere = client.load_balanced_view(1)?.follow(Dependency::all([apart.ids()[0]]));
    assert!(is_impossible(elsewhere.apply_sync(|| (), ())), "engine 0 is not of this view");
    Ok(())
}

/// A dependency that can never be met fails the task at once, and its dependents.
fn impossible_dependency_fails_the_task() -> Result {
    let client = Client::new()?;
    let view = client.load_balanced_view(..)?;
    let failed = view.apply(fallible(refuses), (1,));
    let second = view.after(&failed).apply(|| 2, ());
    let third = view.after(&second).apply(|| 3, ());
    let error = third.get_one(Some(BOUND)).unwrap_err();
    assert!(
        matches!(error, ViewError::ImpossibleDependency { task, .. } if task == third.ids()[0]),
        "{error:?}"
    );
    assert!(is_impossible(second.get(Some(BOUND))));
    let anyway = view.after(Dependency::from(&third).whatever_happens()).apply(|| 4, ());
    assert_eq!(anyway.get_one(Some(BOUND))?, 4);
    Ok(())
}

/// A dependency on a task that the client never made is invalid.
fn invalid_dependency_is_an_error() -> Result {
    let (client, other) = (Client::new()?, Client::new()?);
    let foreign = other.view(0)?.apply(|| 1, ());
    let view = client.load_balanced_view(..)?;
    for result in [view.after(&foreign).apply(|| 1, ()), view.follow(&foreign).apply(|| 1, ())] {
        let error = result.get(Some(BOUND)).unwrap_err();
        let id = foreign.ids()[0];
        assert!(
            matches!(error, ViewError::InvalidDependency { dependency, .. } if dependency == id),
            "{error:?}"
        );
        assert!(error.to_string().contains(&id.to_string()), "{error}");
    }
    foreign.get(None)?;
    Ok(())
}

/// A dependency that is not met in time fails with `DependencyTimeout`.
fn dependency_times_out() -> Result {
    let client = Client::new()?;
    let signal = Signal::remote();
    let view = client.load_balanced_view(..)?;
    let first = view.apply(fallible(waits), (&signal,));
    let limit = Duration::from_millis(10);
    let second = view.after(&first).timeout(limit).apply(|| 2, ());
    let later = view.after(&first).timeout(3 * BOUND).apply(|| 3, ());
    let error = second.get(Some(BOUND)).unwrap_err();
    assert!(matches!(error, ViewError::DependencyTimeout { timeout, .. } if timeout == limit), "{error:?}");
    get(signal.open.remote())?;
    assert_eq!(later.get_one(Some(BOUND))?, 3);
    Ok(())
}

/// The time-out covers only the wait for dependencies.
fn timeout_counts_only_waiting() -> Result {
    let client = Client::new()?;
    let (first, second) = (Signal::remote(), Signal::remote());
    let view = client.load_balanced_view(..)?;
    let before = view.apply(|| 1, ());
    before.get(Some(BOUND))?;
    let limit = Duration::from_millis(20);
    let running = view.after(&before).timeout(limit).apply(fallible(waits), (&first,));
    get(first.waiting.remote(1_usize))?;
    let other = view.after(&running).timeout(limit).apply(fallible(waits), (&second,));
    assert!(matches!(other.get(Some(BOUND)), Err(ViewError::DependencyTimeout { .. })));
    assert!(!running.ready(), "it runs longer than it might have waited");
    get(first.open.remote())?;
    running.get(Some(BOUND))?;
    Ok(())
}

/// A check on the engine: the task moves on until an engine passes.
fn check_chooses_the_engine() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let last = client.ids()?.len() - 1;
    client.view(last)?.set("licence", &7_i64)?;
    let has_licence = || view::namespace().is_ok_and(|names| names.contains("licence"));
    let licensed = depend(has_licence, fallible(|x: i64| own_id().map(|id| (x, id))));
    let results = client.load_balanced_view(..)?.with_scheme(Scheme::PlainRandom).map(licensed, 0..20);
    assert!(results.get(Some(BOUND))?.into_iter().eq((0..20).map(|x| (x, last))));
    Ok(())
}

/// A check that no engine passes runs once on each, and fails the task.
fn check_that_no_engine_meets() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let never = || {
        if let Ok(names) = view::namespace() {
            names.set("asked", names.get("asked").unwrap_or(0_i64) + 1);
        }
        false
    };
    let error = client.load_balanced_view(..)?.retries(5).apply_sync(depend(never, || 1), ()).unwrap_err();
    assert!(
        matches!(&error, ViewError::ImpossibleDependency { why, .. } if why.contains("check")),
        "{error:?}"
    );
    let asked = client.view(..)?.get::<i64>("asked")?;
    assert_eq!(asked, vec![1; client.ids()?.len()]);
    Ok(())
}

/// A function that rejects its engine itself.
fn function_rejects_its_engine() -> Result {
    let client = Client::new()?;
    numbered(&client)?;
    let not_on_the_first = || -> Result<usize, Unmet> {
        let id = own_id().map_err(|_| Unmet)?;
        if id == 0 { Err(Unmet) } else { Ok(id) }
    };
    let view = client.load_balanced_view([0, 1])?.with_scheme(Scheme::LeastRecentlyUsed);
    for _ in 0..4 {
        assert_eq!(view.apply_sync(fallible(not_on_the_first), ())?, 1);
    }
    Ok(())
}

/// On a direct view, a failed check fails the task.
fn check_on_a_direct_view() -> Result {
    let client = Client::new()?;
    let error = client.view(1)?.apply_sync(depend(|| false, || 1), ()).unwrap_err();
    assert_eq!(error, ViewError::UnmetDependency { engine: 1 });
    assert_eq!(client.view(1)?.apply_sync(depend(|| true, || 1), ())?, [1]);
    Ok(())
}
