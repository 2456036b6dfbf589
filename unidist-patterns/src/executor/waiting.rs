//! [`wait`] and [`as_completed`]: many futures at once.

use super::callbacks::is_any_here;
use super::error::{Error, Result};
use super::future::Future;
use super::notice::{End, lock, sleep};
use std::fmt;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use unidist_core::{ObjectRef, current_call};

/// What [`wait`] waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnWhen {
    /// One that has ended, in whatever way.
    FirstCompleted,
    /// One that has failed; if none does, all.
    FirstException,
    /// All.
    #[default]
    AllCompleted,
}

/// What [`wait`] gives: its futures in two groups, each in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited<T> {
    /// Those that have ended: with a value, failed, or cancelled.
    pub done: Vec<Future<T>>,
    /// All others.
    pub not_done: Vec<Future<T>>,
}

/// Waits for futures (one, a slice, an array or a `Vec`), until the time is over at most.
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
/// The call that waits was cancelled itself. That the time is over is none: see what is not done.
pub fn wait<T: Send + 'static>(
    futures: impl AsRef<[Future<T>]>,
    return_when: ReturnWhen,
    timeout: Option<Duration>,
) -> Result<Waited<T>> {
    let futures = futures.as_ref();
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let board = Arc::new(Board::default());
    for future in futures {
        let board = board.clone();
        future.0.tell(Box::new(move |end| board.note(end)));
    }
    if asks() {
        wait_by_asking(futures, return_when, deadline)?;
    } else {
        board.wait(futures.len(), return_when, deadline);
    }
    let (done, not_done) = futures.iter().cloned().partition(|future| future.done());
    Ok(Waited { done, not_done })
}

/// How many futures have ended.
#[derive(Default)]
struct Board {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    ended: usize,
    failed: usize,
}

impl Board {
    fn note(&self, end: End) {
        {
            let mut counts = lock(&self.counts);
            counts.ended += 1;
            counts.failed += usize::from(end == End::Failed);
        }
        self.changed.notify_all();
    }

    fn wait(&self, all: usize, return_when: ReturnWhen, deadline: Option<Instant>) {
        let mut counts = lock(&self.counts);
        while !is_enough(*counts, all, return_when) {
            match sleep(&self.changed, counts, deadline) {
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

/// Whether code that waits here has to ask for what it waits for: in a task, so that its CPU slot is free meanwhile; in a
/// callback, to find out that it can never come.
fn asks() -> bool {
    current_call().is_some() || is_any_here()
}

fn wait_by_asking<T: Send + 'static>(
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
                counts.failed += usize::from(end == End::Failed);
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

/// Waits, with the slot of the task given back, until so many calls among these futures have ended: whether that was in
/// time.
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

/// The futures in the order in which they end, those that have ended already first: what each costs does not depend on
/// how many there are.
///
/// Once `timeout`, counted from this call, is over, the iterator gives [`Error::TimedOut`] and ends.
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
            future.0.tell(Box::new(move |_| {
                let _ = sender.send(place); // nobody may be left who wants to know
            }));
        }
    }
    let limit = timeout.unwrap_or(Duration::MAX);
    AsCompleted { left: futures.len(), futures, ended, limit, deadline: Instant::now().checked_add(limit) }
}

/// Futures as they end: made by [`as_completed`].
pub struct AsCompleted<T> {
    futures: Vec<Option<Future<T>>>,
    left: usize,
    ended: Receiver<usize>,
    limit: Duration,
    deadline: Option<Instant>,
}

impl<T: Send + 'static> AsCompleted<T> {
    /// The place of the next one that has ended; none if the time is over.
    fn next_place(&self) -> Result<Option<usize>> {
        match self.ended.try_recv() {
            Ok(place) => return Ok(Some(place)),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {}
        }
        if asks() {
            let pending: Vec<_> = self.futures.iter().flatten().collect();
            if !wait_for_some(&pending, 1, self.deadline)? {
                return Ok(None);
            }
        }
        Ok(receive(&self.ended, self.deadline))
    }
}

/// What comes next; none if the time is over or nothing can come.
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
        let found = self.next_place().map(|place| self.futures.get_mut(place?)?.take());
        match found {
            Ok(Some(future)) => {
                self.left -= 1;
                Some(Ok(future))
            }
            Ok(None) => {
                self.left = 0;
                Some(Err(Error::TimedOut { what: "all futures are", limit: self.limit }))
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

/// The values of futures, in order; the first failure if there is one.
pub(super) fn outcomes<T: Send + 'static>(futures: &[Future<T>]) -> Result<Vec<T>> {
    futures.iter().map(|future| future.0.outcome()).collect()
}
