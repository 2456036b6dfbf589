//! [`cancel`]: for calls that are no longer needed.

use crate::object_ref::ObjectRef;
use crate::session::{self, BackendProxy};
use unidist_backend::Which;
use unidist_backend::current_call;
use unidist_common::{DataId, Result};

/// Cancels the unfinished calls that make the objects of these refs (one ref, a slice, an array or a `Vec`), and
/// returns the number of calls cancelled.
///
/// Their results fail at once, with an error of kind [`Cancelled`](unidist_common::ErrorKind::Cancelled), and so do
/// calls that depend on them.
///
/// - A call that waits (for an argument, for a worker, in an actor's queue) never runs.
/// - A running task is notified: its `get`, `wait` and `put` fail with that error, [`is_cancelled`] returns true, and
///   an asynchronous task is dropped where it waits. If the task still runs after `UNIDIST_CANCEL_GRACE`, its worker
///   process is killed, and with it tasks further down on the stack that wait in `get`; these may be retried
///   (`max_retries`).
/// - A running method is notified in the same ways. Its actor is never killed.
///
/// Calls made by the cancelled call continue: cancel them too if they are not needed. Calls that have ended and
/// objects that were put are not affected.
///
/// The sequential backend runs most calls before `.remote` returns. It can cancel only waiting calls: those of
/// asynchronous functions and methods, calls that depend on them, and calls further down on the stack.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{ErrorKind, ObjectRef, cancel, get, remote_traits::*, wait};
///
/// let search = |from: u64| (from..from + 1_000_000).find(|n| n % 7_777_777 == 0);
/// let searches: Vec<ObjectRef<Option<u64>>> = (1..9).map(|n| search.remote(n * 1_000_000)).collect();
/// let first = wait(&searches, 1, None)?.ready;
/// let cancelled = cancel(&searches)?; // those that have not ended
/// assert!(cancelled <= 7);
/// if let Err(error) = get(&searches[7]) {
///     assert_eq!(error.as_task().map(|error| error.kind), Some(ErrorKind::Cancelled));
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The session has ended.
pub fn cancel<T>(refs: impl AsRef<[ObjectRef<T>]>) -> Result<usize> {
    cancel_which(refs.as_ref(), Which::All)
}

/// Cancels those of the calls that these refs are results of that have not started on a worker, and gives their
/// number: as [`cancel`](crate::cancel()) does, but what runs is left alone.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{ObjectRef, cancel_unstarted, get, remote_traits::*};
///
/// let calls: Vec<ObjectRef<u64>> = (0..1000).map(|n| (|x: u64| x).remote(n)).collect();
/// get(&calls[0])?;
/// println!("{} never ran", cancel_unstarted(&calls)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The session has ended.
pub fn cancel_unstarted<T>(refs: impl AsRef<[ObjectRef<T>]>) -> Result<usize> {
    cancel_which(refs.as_ref(), Which::Unstarted)
}

fn cancel_which<T>(refs: &[ObjectRef<T>], which: Which) -> Result<usize> {
    let mut left: Vec<(&BackendProxy, DataId)> =
        refs.iter().filter_map(|reference| reference.core.held().ok()).collect();
    let mut cancelled = 0;
    // One pass for each session that the refs belong to: nearly always one in all.
    while let Some((backend, _)) = left.first().copied() {
        let (own, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|(other, _)| other.is_same(backend));
        let ids: Vec<_> = own.into_iter().map(|(_, id)| id).collect();
        cancelled += backend.cancel(&ids, which)?;
        left = others;
    }
    Ok(cancelled)
}

/// Whether the call whose code runs on this thread was cancelled or ran out of time. Its result is no longer needed
/// then, so it should return. False outside of tasks and actors, and on threads that a call has started itself.
///
/// A long computation should check this from time to time; a check costs little.
///
/// ```
/// use unidist_core::is_cancelled;
///
/// fn sum(numbers: Vec<u64>) -> u64 {
///     let mut sum = 0;
///     for part in numbers.chunks(10_000) {
///         if is_cancelled() {
///             break; // the result is discarded
///         }
///         sum += part.iter().sum::<u64>();
///     }
///     sum
/// }
/// assert_eq!(sum((0..100_000).collect()), 4_999_950_000); // an ordinary call is never cancelled
/// ```
pub fn is_cancelled() -> bool {
    match current_call() {
        Some(call) => session::peek().is_some_and(|backend| backend.is_cancelled(call)),
        None => false,
    }
}

impl<T> ObjectRef<T> {
    /// Cancels the call that makes this object: see [`cancel`](crate::cancel()). Returns whether the call was
    /// unfinished and is cancelled now.
    ///
    /// ```no_run
    /// # fn main() -> unidist_core::Result<()> {
    /// use unidist_core::remote_traits::*;
    ///
    /// let slow = (|n: u64| n + 1).remote(1);
    /// let is_cancelled_now = slow.cancel()?;
    /// assert!(!slow.cancel()?, "it has ended or was cancelled before");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn cancel(&self) -> Result<bool> {
        cancel(self).map(|cancelled| cancelled > 0)
    }
}
