//! The end of a session while calls run: each waiter gets the value, or one and the same error.

use crate::case::{Case, Result, cases};
use crate::support::{Counter, square};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use unidist::prelude::*;
use unidist::{Error, ErrorKind, Session, init, shutdown};

pub(super) const CASES: &[Case] = cases!["shutdown":
    get_while_the_session_ends.not_spmd().bare(),
    get_while_the_session_is_shut_down.not_spmd().bare(),
    get_of_many_while_the_session_ends.not_spmd().bare(),
    wait_while_the_session_ends.not_spmd().bare(),
    actor_calls_while_the_session_ends.not_spmd().bare(),
    await_while_the_session_ends.not_spmd().bare(),
    callbacks_while_the_session_ends.not_spmd().bare(),
    nested_calls_while_the_session_ends.not_spmd().bare(),
    put_while_the_session_ends.not_spmd().bare(),
    all_waiters_while_the_session_ends.bare(),
];

/// How often a session is started and ended: one call in ten met the fault.
const ROUNDS: usize = 15;
const THREADS: i64 = 4;

/// Makes a call and waits for it.
type Call = fn(i64) -> unidist::Result<()>;

/// Threads that repeat a call until its first error. Each has had an answer when this returns.
fn repeat(calls: &[Call]) -> Vec<JoinHandle<Error>> {
    let (begun, first_answers) = channel();
    let threads: Vec<_> = calls
        .iter()
        .map(|call| {
            let (call, begun) = (*call, begun.clone());
            thread::spawn(move || repeat_until_error(call, &begun))
        })
        .collect();
    drop(begun);
    assert_eq!(first_answers.iter().take(calls.len()).count(), calls.len());
    threads
}

fn repeat_until_error(call: Call, begun: &Sender<()>) -> Error {
    for n in 0.. {
        if let Err(error) = call(n) {
            return error;
        }
        if n == 0 {
            let _ = begun.send(());
        }
    }
    unreachable!("the session ends")
}

/// The text without the name of the function that waited. Fails if it is another error.
fn text_of(error: &Error) -> String {
    assert!(matches!(error, Error::SessionEnded { .. }), "{error:?}");
    let text = error.to_string();
    let (_, rest) = text.split_once("`: ").unwrap_or_else(|| panic!("{text} names no function"));
    rest.to_owned()
}

fn assert_one_text(threads: Vec<JoinHandle<Error>>, texts: &mut BTreeMap<String, usize>) {
    for thread in threads {
        *texts.entry(text_of(&thread.join().unwrap())).or_default() += 1;
    }
    assert_eq!(texts.len(), 1, "{texts:#?}");
}

fn race(call: Call, end: fn(Session) -> Result) -> Result {
    let mut texts = BTreeMap::new();
    for _ in 0..ROUNDS {
        let session = init()?;
        let threads = repeat(&[call; THREADS as usize]);
        end(session)?;
        assert_one_text(threads, &mut texts);
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the same type as `explicitly`")]
fn by_drop(session: Session) -> Result {
    drop(session);
    Ok(())
}

fn explicitly(session: Session) -> Result {
    shutdown()?;
    drop(session);
    Ok(())
}

fn gets(n: i64) -> unidist::Result<()> {
    assert_eq!(get(square.remote(n))?, n * n);
    Ok(())
}

fn gets_many(n: i64) -> unidist::Result<()> {
    let refs: Vec<_> = (0..100).map(|k| square.remote(n + k)).collect();
    assert_eq!(get(&refs)?.len(), 100);
    Ok(())
}

fn waits(n: i64) -> unidist::Result<()> {
    let refs: Vec<_> = (0..10).map(|k| square.remote(n + k)).collect();
    let waited = wait(&refs, 3, None)?;
    assert_eq!(waited.ready.len(), 3);
    get(waited.ready)?;
    Ok(())
}

fn calls_an_actor(n: i64) -> unidist::Result<()> {
    let counter = Counter::remote(n);
    for k in 1..10 {
        assert_eq!(get(counter.add.remote(1))?, n + k);
    }
    Ok(())
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(std::sync::Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn awaits(n: i64) -> unidist::Result<()> {
    assert_eq!(block_on(square.remote(n).into_future())?, n * n);
    Ok(())
}

fn hears(n: i64) -> unidist::Result<()> {
    let (sender, arrived) = channel();
    square.remote(n).when_ready(move |ready| _ = sender.send(ready));
    let ready = arrived.recv().expect("each callback is called");
    let error = ready.error().cloned();
    let value = ready.get();
    assert_eq!(error.is_some(), value.is_err());
    if let Some(error) = error {
        assert_eq!(error.kind, ErrorKind::SessionEnded, "{error:?}");
        assert_eq!(error.to_string(), "a remote call did not end before its session ended");
    }
    assert_eq!(value?, n * n);
    Ok(())
}

#[remote]
fn sum_of_squares(n: i64) -> unidist::Result<i64> {
    let refs: Vec<_> = (0..n % 5).map(|k| square.remote(k)).collect();
    Ok(get(refs)?.iter().sum())
}

fn nests(n: i64) -> unidist::Result<()> {
    assert_eq!(get(sum_of_squares.remote(n))?, (0..n % 5).map(|k| k * k).sum::<i64>());
    Ok(())
}

fn puts(n: i64) -> unidist::Result<()> {
    assert_eq!(get(put(n)?)?, n);
    Ok(())
}

/// `get`, while the last handle is dropped.
fn get_while_the_session_ends() -> Result {
    race(gets, by_drop)
}

/// The same with an explicit shutdown.
fn get_while_the_session_is_shut_down() -> Result {
    race(gets, explicitly)
}

/// Calls ahead of the workers, most of which have not started.
fn get_of_many_while_the_session_ends() -> Result {
    race(gets_many, by_drop)
}

/// `wait`, and `get` of what is ready.
fn wait_while_the_session_ends() -> Result {
    race(waits, by_drop)
}

/// Actors that are made, called and dropped.
fn actor_calls_while_the_session_ends() -> Result {
    race(calls_an_actor, by_drop)
}

/// `.await` on a thread of the program.
fn await_while_the_session_ends() -> Result {
    race(awaits, by_drop)
}

/// Callbacks: each is called, with the value or with an error that says that the session ended.
fn callbacks_while_the_session_ends() -> Result {
    race(hears, by_drop)
}

/// Calls that wait for calls: what they return because of the end is the end, too.
fn nested_calls_while_the_session_ends() -> Result {
    race(nests, explicitly)
}

/// `put`.
fn put_while_the_session_ends() -> Result {
    race(puts, by_drop)
}

/// All of these at once.
fn all_waiters_while_the_session_ends() -> Result {
    let session = init()?;
    let threads = repeat(&[gets, gets_many, waits, calls_an_actor, awaits, hears, nests, puts]);
    drop(session);
    assert_one_text(threads, &mut BTreeMap::new());
    Ok(())
}
