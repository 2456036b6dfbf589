//! Restarts of actors whose process dies.

use super::crashes::{counter_file, kill};
use crate::case::{Case, PYMP, Result, cases};
use crate::process::{eventually, is_alive};
use crate::support::{BOUND, Log, failure, kind, say};
use std::io::Write;
use std::path::{Path, PathBuf};
use unidist::prelude::*;
use unidist::{Error, ErrorKind};

pub(super) const CASES: &[Case] = cases!["restarts":
    actor_is_restarted.only(PYMP), max_restarts_is_the_limit.only(PYMP), calls_in_flight_fail.only(PYMP),
    retried_calls_keep_their_order.only(PYMP), retries_are_limited.only(PYMP),
    crashed_constructor_is_retried.only(PYMP), failed_constructor_is_not_retried.only(PYMP),
    constructor_arguments_are_freed.only(PYMP), actor_without_a_crash_is_not_restarted,
];

/// A restartable actor.
struct Phoenix {
    data: Vec<i64>,
    calls: i64,
}

#[remote(max_restarts = 1)]
impl Phoenix {
    #[new]
    fn new(data: Vec<i64>) -> Self {
        Phoenix { data, calls: 0 }
    }

    fn process(&self) -> u32 {
        std::process::id()
    }

    fn count(&mut self) -> (i64, i64) {
        self.calls += 1;
        (self.calls, self.data.iter().sum())
    }

    async fn waits(&self, log: ActorHandle<Log>) {
        say(&log, "waits");
        std::future::pending::<()>().await;
    }

    /// Logs its name, and kills its process until it has started that many times.
    #[remote(max_retries = 2)]
    fn dies_before(&self, start: usize, name: String, file: PathBuf) -> std::io::Result<String> {
        if starts(&file)? < start {
            kill(std::process::id());
        }
        std::fs::OpenOptions::new()
            .append(true)
            .open(file.with_extension("order"))?
            .write_all(name.as_bytes())?;
        Ok(name)
    }
}

/// Counts a start, in a file.
fn starts(file: &Path) -> std::io::Result<usize> {
    std::fs::OpenOptions::new().append(true).open(file)?.write_all(b".")?;
    Ok(std::fs::read(file)?.len())
}

/// Kills an actor's process between calls.
fn strike(phoenix: &ActorHandle<Phoenix>) -> Result<u32> {
    let process = get(phoenix.process.remote())?;
    kill(process);
    assert!(eventually(BOUND, || !is_alive(process)));
    Ok(process)
}

/// A restarted actor has its original arguments, even if no other ref to them is left, and a new state.
fn actor_is_restarted() -> Result {
    let phoenix = Phoenix::remote(put(vec![1, 2, 3])?);
    assert_eq!(get(phoenix.count.remote())?, (1, 6));
    let process = strike(&phoenix)?;
    assert_eq!(get(phoenix.count.remote())?, (1, 6));
    assert_ne!(get(phoenix.process.remote())?, process);
    Ok(())
}

/// After the last restart the actor is dead: the error has the number of restarts and the cause.
fn max_restarts_is_the_limit() -> Result {
    let phoenix = Phoenix::options().max_restarts(2).remote(vec![1]);
    for _ in 0..3 {
        strike(&phoenix)?;
    }
    for _ in 0..2 {
        let error = get(phoenix.count.remote()).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::ActorDied);
        let text = format!("{error:?}");
        assert!(text.contains("2 times") && text.contains("SIGKILL"), "{text}");
    }
    Ok(())
}

/// Calls that the dead process had begun fail with the cause; later ones run.
fn calls_in_flight_fail() -> Result {
    let (phoenix, log) = (Phoenix::remote(vec![1]), Log::remote());
    let waiting = phoenix.waits.remote(&log);
    get(log.said.remote(1_usize))?;
    strike(&phoenix)?;
    let error = get(waiting).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::ActorDied);
    assert!(format!("{error:?}").contains("SIGKILL"), "{error:?}");
    assert_eq!(get(phoenix.count.remote())?, (1, 1));
    Ok(())
}

/// Runs the calls `a` (which kills the process that many times), `b`, `c` and `d`; returns the results and the order.
fn lettered(starts: usize) -> (Vec<Result<String>>, String) {
    let file = counter_file();
    let order = file.with_extension("order");
    std::fs::write(&order, "").unwrap();
    let phoenix = Phoenix::options().max_restarts(5).remote(Vec::<i64>::new());
    let call = |name: &str| phoenix.dies_before.remote(starts, name.to_owned(), file.clone());
    let calls = ["a", "b", "c", "d"].map(call);
    let results = calls.map(get).into();
    let written = std::fs::read_to_string(&order).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(&order).unwrap();
    (results, written)
}

/// A call with `max_retries` is retried, and later calls stay behind it.
fn retried_calls_keep_their_order() -> Result {
    let (results, order) = lettered(3);
    assert_eq!(results.into_iter().collect::<Result<Vec<_>>>()?, ["a", "b", "c", "d"]);
    assert_eq!(order, "abcd");
    Ok(())
}

/// It is given up after three crashes, and so are the calls that were lost with it each time.
fn retries_are_limited() -> Result {
    let (results, order) = lettered(4);
    let first = results[0].as_ref().unwrap_err();
    assert_eq!(kind(first), ErrorKind::ActorDied);
    let survivors: String = results.into_iter().flatten().collect();
    assert_eq!(order, survivors);
    Ok(())
}

/// An actor whose constructor behaves differently each time.
struct Moody;

#[remote]
impl Moody {
    #[new]
    fn new(file: PathBuf, crashes: usize, fails: usize) -> std::result::Result<Self, String> {
        let start = starts(&file).map_err(|error| error.to_string())?;
        if start <= crashes {
            std::process::abort();
        }
        if start == fails { Err("not today".to_owned()) } else { Ok(Moody) }
    }

    fn process(&self) -> u32 {
        std::process::id()
    }
}

/// A process that dies in the constructor counts as any other.
fn crashed_constructor_is_retried() -> Result {
    let file = counter_file();
    let moody = Moody::options().max_restarts(2).remote(file.clone(), 2_usize, 0_usize);
    let process = get(moody.process.remote());
    let starts = std::fs::read(&file).unwrap().len();
    std::fs::remove_file(&file).unwrap();
    process?;
    assert_eq!(starts, 3);
    Ok(())
}

/// A constructor that returns an error is not a crash: the actor is dead, with that error.
fn failed_constructor_is_not_retried() -> Result {
    let file = counter_file();
    let moody = Moody::options().max_restarts(5).remote(file.clone(), 1_usize, 2_usize);
    let error = get(moody.process.remote()).unwrap_err();
    let starts = std::fs::read(&file).unwrap().len();
    std::fs::remove_file(&file).unwrap();
    assert_eq!((kind(&error), starts), (ErrorKind::ActorDied, 2));
    assert_eq!(error.downcast::<String>().as_deref(), Some("not today"), "{error:?}");
    Ok(())
}

/// The arguments are kept as long as they may be needed.
fn constructor_arguments_are_freed() -> Result {
    let live = || unidist::live_objects().unwrap();
    let phoenix = Phoenix::remote(put(vec![1])?);
    get(phoenix.count.remote())?;
    assert!(eventually(BOUND, || live() == 2), "the actor and its argument: {}", live());
    strike(&phoenix)?;
    get(phoenix.count.remote())?;
    assert!(eventually(BOUND, || live() == 1), "the actor: {}", live());
    drop(phoenix);
    drop(Phoenix::remote(put(vec![1])?));
    assert!(eventually(BOUND, || live() == 0), "nothing: {}", live());
    Ok(())
}

/// Without a crash, the option has no effect.
fn actor_without_a_crash_is_not_restarted() -> Result {
    let phoenix = Phoenix::options().max_restarts(3).remote(vec![2]);
    assert_eq!(get([phoenix.count.remote(), phoenix.count.remote()])?, [(1, 2), (2, 2)]);
    let error: Error =
        get(Moody::remote(PathBuf::from("/nowhere/at/all"), 0_usize, 0_usize).process.remote()).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::ActorDied);
    assert_eq!(
        failure(Phoenix::remote(put(vec![2])?).dies_before.remote(
            0_usize,
            String::new(),
            PathBuf::from("/nowhere")
        )),
        ErrorKind::Failed
    );
    Ok(())
}
