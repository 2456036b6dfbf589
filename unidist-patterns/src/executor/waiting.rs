//! [`wait`] and [`as_completed`]: waiting for several futures.

use super::callbacks::is_callback_thread;
use super::completion::{EndStatus, lock, wait_on};
use super::error::{Error, Result};
use super::future::Future;
use std::collections::HashMap;
use std::fmt;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use unidist_core::{ObjectRef, WaitSet, current_call};

/// When [`wait`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnWhen {
    /// Until one has ended: with a value, failed or cancelled.
    FirstCompleted,
    /// Until one has failed, or all have ended.
    FirstException,
    /// Until all have ended.
    #[default]
    AllCompleted,
}

/// The result of [`wait`]: the futures in two groups, each in the original order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited<T> {
    /// Futures that have ended: with a value, failed or cancelled.
    pub done: Vec<Future<T>>,
    /// All other futures.
    pub not_done: Vec<Future<T>>,
}

/// Waits for futures (one, a slice, an array or a `Vec`), at most until the time-out.
///
/// ```
/// use unidist::executor::{Executor, Future, ReturnWhen, wait};
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let executor = Executor::new()?;
/// let futures = (0..4).map(|n| executor.submit(|n: u64| n * n, (n,))).collect::<Result<Vec<Future<u64>>, _>>()?;
/// let waited = wait(&futures, ReturnWhen::FirstCompleted, None)?;
/// assert!(!waited.done.is_empty());
/// assert_eq!(wait(&futures, ReturnWhen::AllCompleted, None)?.done, futures);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The waiting call was cancelled itself. A time-out is not an error: see `not_done`.
pub fn wait<T: Send + 'static>(
    futures: impl AsRef<[Future<T>]>,
    return_when: ReturnWhen,
    timeout: Option<Duration>,
) -> Result<Waited<T>> {
    let futures = futures.as_ref();
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let counter = Arc::new(EndCounter::default());
    for future in futures {
        let counter = counter.clone();
        future.0.on_end(Box::new(move |end| counter.add(end)));
    }
    if waits_through_session() {
        wait_through_session(futures, return_when, deadline)?;
    } else {
        counter.wait(futures.len(), return_when, deadline);
    }
    let (done, not_done) = futures.iter().cloned().partition(|future| future.done());
    Ok(Waited { done, not_done })
}

/// Counts the futures that have ended.
#[derive(Default)]
struct EndCounter {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    ended: usize,
    failed: usize,
}

impl EndCounter {
    fn add(&self, end: EndStatus) {
        {
            let mut counts = lock(&self.counts);
            counts.ended += 1;
            counts.failed += usize::from(end == EndStatus::Failed);
        }
        self.changed.notify_all();
    }

    fn wait(&self, all: usize, return_when: ReturnWhen, deadline: Option<Instant>) {
        let mut counts = lock(&self.counts);
        while !is_enough(*counts, all, return_when) {
            match wait_on(&self.changed, counts, deadline) {
                Some(woken) => counts = woken,
                None => return,
            }
        }
    }
}

fn is_enough(counts: Counts, all: usize, return_when: ReturnWhen) -> bool {
    counts.ended >= all
        || match return_when {
            ReturnWhen::FirstCompleted => counts.ended > 0,
            ReturnWhen::FirstException => counts.failed > 0,
            ReturnWhen::AllCompleted => false,
        }
}

/// Whether the current code has to wait by calls of the session: in a task, so that its CPU slot is free meanwhile; in
/// a callback, so that a deadlock is detected.
fn waits_through_session() -> bool {
    current_call().is_some() || is_callback_thread()
}

fn wait_through_session<T: Send + 'static>(
    futures: &[Future<T>],
    return_when: ReturnWhen,
    deadline: Option<Instant>,
) -> Result<()> {
    let mut pending: Vec<&Future<T>> = futures.iter().collect();
    let mut counts = Counts::default();
    loop {
        pending.retain(|future| match future.0.end() {
            Some(end) => {
                counts.ended += 1;
                counts.failed += usize::from(end == EndStatus::Failed);
                false
            }
            None => true,
        });
        if is_enough(counts, futures.len(), return_when) {
            return Ok(());
        }
        let wanted = if return_when == ReturnWhen::AllCompleted { pending.len() } else { 1 };
        if !wait_for_some(&pending, wanted, deadline)? {
            return Ok(());
        }
    }
}

/// Waits until `wanted` calls among these futures have ended, with the task's CPU slot released. Returns whether they
/// ended before the deadline.
fn wait_for_some<T: Send + 'static>(
    pending: &[&Future<T>],
    wanted: usize,
    deadline: Option<Instant>,
) -> Result<bool> {
    let calls: Vec<ObjectRef<T>> =
        pending.iter().filter_map(|future| future.0.reference().cloned()).collect();
    match pending.iter().find(|future| future.0.reference().is_none()) {
        Some(first) if calls.is_empty() => first.0.wait(deadline),
        _ => {
            let wanted = wanted.min(calls.len());
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            Ok(unidist_core::wait(&calls, wanted, timeout)?.ready.len() >= wanted)
        }
    }
}

/// The futures in the order in which they end, those that have already ended first. The cost of each step does not
/// depend on the number of futures.
///
/// When `timeout`, counted from this call, has passed, the iterator gives [`Error::TimedOut`] and ends.
///
/// ```
/// use unidist::executor::{Executor, Future, as_completed};
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let executor = Executor::new()?;
/// let futures = (0..4).map(|n| executor.submit(|n: u64| n * n, (n,))).collect::<Result<Vec<Future<u64>>, _>>()?;
/// let mut sum = 0;
/// for future in as_completed(&futures, None) {
///     sum += future?.result(None)?;
/// }
/// assert_eq!(sum, 14);
/// # Ok(())
/// # }
/// ```
pub fn as_completed<T: Send + 'static>(
    futures: impl AsRef<[Future<T>]>,
    timeout: Option<Duration>,
) -> AsCompleted<T> {
    let futures: Vec<_> = futures.as_ref().iter().cloned().map(Some).collect();
    let (sender, ended) = mpsc::channel();
    for (place, future) in futures.iter().enumerate() {
        let sender = sender.clone();
        if let Some(future) = future {
            future.0.on_end(Box::new(move |_| {
                let _ = sender.send(place); // fails if the iterator was dropped
            }));
        }
    }
    let limit = timeout.unwrap_or(Duration::MAX);
    let deadline = Instant::now().checked_add(limit);
    AsCompleted { left: futures.len(), futures, ended, in_session: None, limit, deadline }
}

/// The iterator of [`as_completed`].
pub struct AsCompleted<T> {
    futures: Vec<Option<Future<T>>>,
    left: usize,
    ended: Receiver<usize>,
    in_session: Option<InSession<T>>,
    limit: Duration,
    deadline: Option<Instant>,
}

/// The calls of the futures, for an iterator that waits through the session.
struct InSession<T> {
    calls: WaitSet<T>,
    /// How often the session has told of the end of a call, less how often its future has.
    ahead: HashMap<ObjectRef<T>, isize>,
    /// How many futures will tell of an end that the session has told of.
    arriving: usize,
}

impl<T: Send + 'static> InSession<T> {
    fn of<'a>(futures: impl Iterator<Item = &'a Future<T>>) -> Result<Self> {
        let mut calls = WaitSet::new();
        calls.add(futures.filter_map(|future| future.0.reference()).collect::<Vec<_>>())?;
        Ok(InSession { calls, ahead: HashMap::new(), arriving: 0 })
    }

    /// Waits until calls have ended; false after the deadline.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<bool> {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let ended = self.calls.wait(timeout)?;
        let is_any = !ended.is_empty();
        for call in ended {
            let ahead = self.ahead.entry(call).or_default();
            *ahead += 1;
            self.arriving += usize::from(*ahead > 0);
        }
        Ok(is_any)
    }

    /// The future of this call has told of its end.
    fn arrived(&mut self, call: &ObjectRef<T>) {
        let ahead = self.ahead.entry(call.clone()).or_default();
        self.arriving -= usize::from(*ahead > 0);
        *ahead -= 1;
    }
}

impl<T: Send + 'static> AsCompleted<T> {
    /// The index of the next future that has ended; `None` after the deadline.
    fn next_index(&mut self) -> Result<Option<usize>> {
        match self.ended.try_recv() {
            Ok(place) => return Ok(Some(place)),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {}
        }
        if waits_through_session() && !self.wait_in_session()? {
            return Ok(None);
        }
        Ok(receive(&self.ended, self.deadline))
    }

    fn wait_in_session(&mut self) -> Result<bool> {
        let in_session = match &mut self.in_session {
            Some(in_session) => in_session,
            None => self.in_session.insert(InSession::of(self.futures.iter().flatten())?),
        };
        while in_session.arriving == 0 && !in_session.calls.is_empty() {
            if !in_session.wait(self.deadline)? {
                return Ok(false);
            }
        }
        if in_session.arriving > 0 {
            return Ok(true);
        }
        let pending: Vec<_> = self.futures.iter().flatten().collect();
        wait_for_some(&pending, 1, self.deadline)
    }

    fn take(&mut self, place: usize) -> Option<Future<T>> {
        let future = self.futures.get_mut(place)?.take()?;
        if let (Some(in_session), Some(call)) = (&mut self.in_session, future.0.reference()) {
            in_session.arrived(call);
        }
        Some(future)
    }
}

/// The next message; `None` after the deadline, or when all senders are gone.
pub(super) fn receive<M>(receiver: &Receiver<M>, deadline: Option<Instant>) -> Option<M> {
    match deadline {
        None => receiver.recv().ok(),
        Some(deadline) => receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
    }
}

impl<T: Send + 'static> Iterator for AsCompleted<T> {
    type Item = Result<Future<T>>;

    fn next(&mut self) -> Option<Result<Future<T>>> {
        if self.left == 0 {
            return None;
        }
        let found = self.next_index().map(|place| self.take(place?));
        match found {
            Ok(Some(future)) => {
                self.left -= 1;
                Some(Ok(future))
            }
            Ok(None) => {
                self.left = 0;
                Some(Err(Error::TimedOut { what: "all futures", limit: self.limit }))
            }
            Err(error) => {
                self.left = 0;
                Some(Err(error))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left.saturating_add(1)))
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}

/// The values of futures in order, or the first failure.
pub(super) fn outcomes<T: Send + 'static>(futures: &[Future<T>]) -> Result<Vec<T>> {
    futures.iter().map(|future| future.0.outcome()).collect()
}
