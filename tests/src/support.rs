//! Helpers of the cases: events across processes, common functions and actors, and checks of errors.

use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use tokio::sync::watch;
use unidist::prelude::*;
use unidist::{Error, ErrorKind};

/// The time limit for changes without an event.
pub(crate) const BOUND: std::time::Duration = std::time::Duration::from_secs(60);

/// An event that any task or actor can wait for. Once open, it stays open.
pub(crate) struct Signal {
    is_open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

#[remote]
impl Signal {
    #[new]
    pub(crate) fn new() -> Self {
        Signal { is_open: watch::Sender::new(false), waiting: watch::Sender::new(0) }
    }

    /// Returns when the signal is opened.
    pub(crate) async fn wait(&self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
    }

    /// Returns when `count` calls have begun to wait.
    pub(crate) async fn waiting(&self, count: usize) {
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting >= count).await;
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

/// A log of messages that others can wait for.
pub(crate) struct Log {
    said: watch::Sender<Vec<String>>,
}

#[remote]
impl Log {
    #[new]
    pub(crate) fn new() -> Self {
        Log { said: watch::Sender::new(Vec::new()) }
    }

    pub(crate) fn say(&self, text: String) {
        self.said.send_modify(|said| said.push(text));
    }

    /// The messages, once there are `count` of them.
    pub(crate) async fn said(&self, count: usize) -> Vec<String> {
        let mut said = self.said.subscribe();
        said.wait_for(|said| said.len() >= count).await.map(|said| said.clone()).unwrap_or_default()
    }
}

/// Adds a message to the log.
pub(crate) fn say(log: &ActorHandle<Log>, text: impl ToString) {
    let () = log.say.options().num_returns::<0>().remote(text.to_string());
}

/// Adds a message to the log when it is dropped.
pub(crate) struct LastWord(pub(crate) ActorHandle<Log>, pub(crate) &'static str);

impl Drop for LastWord {
    fn drop(&mut self) {
        say(&self.0, self.1);
    }
}

/// Blocks in a task until the signal is opened, and returns the process id.
#[remote]
pub(crate) fn blocked_on(signal: ActorHandle<Signal>) -> unidist::Result<u32> {
    get(signal.wait.remote())?;
    Ok(std::process::id())
}

/// An actor with a number.
pub(crate) struct Counter {
    n: i64,
}

#[remote]
impl Counter {
    #[new]
    pub(crate) fn new(n: i64) -> Self {
        Counter { n }
    }

    pub(crate) fn add(&mut self, by: i64) -> i64 {
        self.n += by;
        self.n
    }

    pub(crate) fn value(&self) -> i64 {
        self.n
    }

    pub(crate) fn process(&self) -> u32 {
        std::process::id()
    }

    #[remote(num_returns = 2)]
    pub(crate) fn divided(&self, by: i64) -> (i64, i64) {
        (self.n / by, self.n % by)
    }

    pub(crate) fn pair(&self) -> (i64, i64) {
        (self.n, -self.n)
    }

    pub(crate) fn panics(&mut self) {
        self.n += 1000;
        panic!("a method's panic");
    }

    pub(crate) fn refuses(&self, with: i64) -> Result<i64, Refusal> {
        Err(Refusal { with })
    }
}

/// A user-defined error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) with: i64,
}

#[remote]
pub(crate) fn square(x: i64) -> i64 {
    x * x
}

#[remote]
pub(crate) fn sum(values: Vec<i64>) -> i64 {
    values.iter().sum()
}

#[remote]
pub(crate) fn refuse(with: i64) -> Result<i64, Refusal> {
    Err(Refusal { with })
}

#[remote]
pub(crate) fn process() -> u32 {
    std::process::id()
}

/// The kind of the failure of a call.
pub(crate) fn kind(error: &Error) -> ErrorKind {
    match error.as_task() {
        Some(error) => error.kind,
        None => panic!("not the failure of a call: {error:?}"),
    }
}

/// The kind of the failure of a ref's call.
pub(crate) fn failure<T: unidist::Portable + Debug>(reference: impl AsRef<[ObjectRef<T>]>) -> ErrorKind {
    kind(&get(&reference.as_ref()[0]).unwrap_err())
}

/// Whether this is the parallel backend.
pub(crate) fn is_parallel() -> bool {
    std::env::var("UNIDIST_BACKEND").unwrap() != crate::case::PYSEQ
}
