//! The session of a test that is marked with `#[unidist::test]`.
//!
//! A process has one session at a time, so the tests of a process take turns: one of the workspace's mutable statics is
//! the lock for it.

use crate::init::{self, Session};
use std::fmt::{Debug, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::process::Termination;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use unidist_core::{Error, Live, LiveKind, Result, Which, session};

/// The test whose turn it is holds it.
static TURN: Mutex<()> = Mutex::new(());

/// How long calls may run on after a test.
const GRACE: Duration = Duration::from_secs(10);

/// How long it may take a busy machine to pass on that refs were dropped.
const RELEASE_GRACE: Duration = Duration::from_secs(2);

/// How many of the things that are left an error lists.
const LISTED: usize = 20;

/// The result of a test.
#[diagnostic::on_unimplemented(
    message = "a test returns nothing or a `Result` whose error implements `Debug`, not `{Self}`",
    label = "the result of a test"
)]
pub trait TestOutcome {
    /// Whether the test has failed.
    fn is_failure(&self) -> bool;
}

impl TestOutcome for () {
    fn is_failure(&self) -> bool {
        false
    }
}

impl<T: Termination, E: Debug> TestOutcome for std::result::Result<T, E> {
    fn is_failure(&self) -> bool {
        self.is_err()
    }
}

/// Runs a test in a session of its own.
///
/// # Panics
///
/// The test panics, the session cannot start, or something is left at the end of a test that has not failed.
pub fn run<T: TestOutcome>(body: impl FnOnce() -> T) -> T {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let session = start().unwrap_or_else(|error| panic!("the session of the test cannot start: {error}"));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let outcome = body();
        // What a failed test leaves is no failure of its own.
        if !outcome.is_failure() {
            let left = live_at_end();
            assert!(left.is_empty(), "{}", listed(&left));
        }
        outcome
    }));
    cancel(&live()); // the end of the session waits for the other calls
    let ended = init::shutdown();
    drop(session);
    let outcome = outcome.unwrap_or_else(|panic| resume_unwind(panic));
    if let (Err(error), false) = (ended, outcome.is_failure()) {
        panic!("the session of the test has not ended cleanly: {error}");
    }
    outcome
}

/// Runs an asynchronous test in a session of its own, on this thread.
///
/// # Panics
///
/// As [`run`].
pub fn run_async<T: TestOutcome, F: Future<Output = T>>(body: impl FnOnce() -> F) -> T {
    run(|| block_on(body()))
}

/// Starts a session that did not exist.
fn start() -> Result<Session> {
    let mut is_new = false;
    init::prepare()?;
    let session = init::open(|| {
        is_new = true;
        init::start_for_test()
    })?;
    match is_new {
        true => Ok(session),
        false => Err(Error::Unsupported {
            message: "this process has a session already: mark each test that uses a session with \
                      `#[unidist::test]`, and none with `#[test]` and `unidist::init`"
                .to_owned(),
        }),
    }
}

/// What the session holds. Nothing, if the test has ended it.
fn live() -> Vec<Live> {
    session::current("live").and_then(|backend| backend.live(usize::MAX)).unwrap_or_default()
}

/// What the session still holds when calls have had time to end.
fn live_at_end() -> Vec<Live> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        let left = live();
        let has_calls = left.iter().any(|live| live.kind == LiveKind::Call);
        let grace = if has_calls { GRACE } else { RELEASE_GRACE };
        if left.is_empty() || start.elapsed() > grace {
            return left;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn cancel(left: &[Live]) {
    let calls: Vec<_> = left.iter().filter(|live| live.kind == LiveKind::Call).map(|live| live.id).collect();
    if !calls.is_empty() {
        // It fails if the session has ended; then there is nothing to cancel.
        let _ = session::current("cancel").and_then(|backend| backend.cancel(&calls, Which::All));
    }
}

/// The error of a test that leaves something.
fn listed(left: &[Live]) -> String {
    let mut text = format!(
        "the test leaves {} in its session: drop all refs and handles, and wait for all calls, before it ends",
        left.len()
    );
    for live in left.iter().take(LISTED) {
        let _ = write!(text, "\n- {live}");
    }
    if left.len() > LISTED {
        let _ = write!(text, "\n- and {} more", left.len() - LISTED);
    }
    text
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park();
    }
}
