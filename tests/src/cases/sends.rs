//! `.send(..)`: calls without a ref to their result.

use crate::case::{Case, Result, cases};
use crate::process::eventually;
use crate::support::{BOUND, Counter, Log, refuse, say, square};
use std::sync::{Mutex, PoisonError};
use unidist::prelude::*;
use unidist::{CallSettings, fallible, prepare};

pub(super) const CASES: &[Case] = cases!["sends":
    functions, functions_with_options_and_closures, prepared_functions, methods_keep_their_order, inside_tasks_and_actors,
    error_is_logged_once, dependency_error_is_logged_once, call_that_cannot_be_made_is_logged.bare(),
    call_without_returns_is_logged,
];

#[remote]
fn note(log: ActorHandle<Log>, text: String) -> usize {
    say(&log, &text);
    text.len()
}

#[remote(num_returns = 2)]
fn note_both(log: ActorHandle<Log>, text: String) -> (usize, String) {
    say(&log, &text);
    (text.len(), text)
}

#[remote]
async fn note_later(log: ActorHandle<Log>, text: String) {
    log.say.remote(text).await.unwrap();
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

/// Plain, asynchronous and split functions; values and refs as arguments. The value of a send is `()`.
fn functions() -> Result {
    let log = Log::remote();
    let () = note.send(&log, "a".to_owned());
    note.send(&log, put("b".to_owned())?);
    note_both.send(&log, "c".to_owned());
    note_later.send(&log, "d".to_owned());
    assert_eq!(sorted(get(log.said.remote(4))?), ["a", "b", "c", "d"]);
    Ok(())
}

/// The same with options and for closures.
fn functions_with_options_and_closures() -> Result {
    let log = Log::remote();
    note.options().name("note").num_cpus(0.5).send(&log, "a".to_owned());
    note_both.options().priority(1).send(&log, "b".to_owned());
    (|log: ActorHandle<Log>| say(&log, "c")).send(&log);
    let text = "d".to_owned();
    closure!([text] |log: ActorHandle<Log>| say(&log, &text)).send(&log);
    assert_eq!(sorted(get(log.said.remote(4))?), ["a", "b", "c", "d"]);
    Ok(())
}

/// The same for functions that generic code prepares, which may be fallible.
fn prepared_functions() -> Result {
    let log = Log::remote();
    let settings = CallSettings::new().name("prepared");
    let noted = prepare(|log: ActorHandle<Log>, text: String| say(&log, &text), &settings);
    noted.send((log.clone(), "a".to_owned()));
    get(noted.remote((log.clone(), "b".to_owned())))?;
    noted.clone().send((log.clone(), "c".to_owned()));
    assert_eq!(sorted(get(log.said.remote(3))?), ["a", "b", "c"]);
    Lines::record();
    prepare(fallible(|x: i64| Err::<i64, _>(format!("refused {x}"))), &settings).send((71,));
    Lines::assert_one("refused 71")
}

/// Calls of methods from one caller run in their order, whether sent or called.
fn methods_keep_their_order() -> Result {
    let counter = Counter::remote(0);
    for _ in 0..100 {
        counter.add.send(1);
    }
    counter.add.options().name("addition").send(square.remote(10));
    assert_eq!(get(counter.value.remote())?, 200);
    Ok(())
}

/// A sent call outlives the call that sent it, and an actor finishes what was sent to it.
fn inside_tasks_and_actors() -> Result {
    let log = Log::remote();
    let sends = |log: ActorHandle<Log>| note.send(log, "from a task".to_owned());
    sends.send(&log);
    struct Relay;
    #[remote]
    impl Relay {
        #[new]
        fn new() -> Self {
            Relay
        }
        fn pass(&self, log: ActorHandle<Log>, text: String) {
            log.say.send(text);
        }
    }
    Relay::remote().pass.send(&log, "from an actor".to_owned());
    assert_eq!(sorted(get(log.said.remote(2))?), ["from a task", "from an actor"]);
    Ok(())
}

/// The lines that this process has logged.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Lines {
    /// Begins to record.
    fn record() {
        let _ = log::set_logger(&LINES); // an earlier case may have done it
        log::set_max_level(log::LevelFilter::Warn);
    }

    fn count(text: &str) -> usize {
        let lines = LINES.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Checks that one line with this text appears, and no second one as later calls end.
    fn assert_one(text: &str) -> Result {
        assert!(eventually(BOUND, || Lines::count(text) > 0), "nothing about {text} was logged");
        get((0..20).map(|x| square.remote(x)).collect::<Vec<_>>())?;
        assert_eq!(Lines::count(text), 1);
        Ok(())
    }
}

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{}: {}", record.level(), record.args());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// The error of a function, a method and a closure is logged once, with the call's name.
fn error_is_logged_once() -> Result {
    Lines::record();
    refuse.options().name("sent function").send(1);
    Lines::assert_one(
        "ERROR: a call without results failed, so no `get` can return its error: remote `sent function`",
    )?;
    let counter = Counter::remote(1);
    counter.panics.options().name("sent method").send();
    Lines::assert_one("sent method")?;
    assert_eq!(get(counter.value.remote())?, 1001); // the actor lives on
    (|x: i64| assert_eq!(x, 0, "sent closure")).send(1);
    Lines::assert_one("sent closure")?;
    square.send(2);
    assert_eq!(Lines::count("square"), 0);
    Ok(())
}

/// So is that of an argument, by each call that it fails.
fn dependency_error_is_logged_once() -> Result {
    Lines::record();
    let refused = refuse.remote(1);
    square.options().name("failed argument").send(&refused);
    Lines::assert_one("failed argument")?;
    drop(refused);
    Ok(())
}

/// A call that cannot be made has no ref either.
fn call_that_cannot_be_made_is_logged() -> Result {
    Lines::record();
    let session = unidist::init()?;
    square.options().num_cpus(-1).name("impossible").send(1);
    Lines::assert_one("impossible")?;
    drop(session);
    square.send(1);
    assert_eq!(Lines::count("the session was shut down"), 1);
    Ok(())
}

/// `num_returns::<0>()` is the same.
fn call_without_returns_is_logged() -> Result {
    Lines::record();
    refuse.options().num_returns::<0>().name("no returns").remote(1);
    Lines::assert_one("no returns")
}
