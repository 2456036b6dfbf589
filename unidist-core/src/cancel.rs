//! [`cancel`]: calls that are not wanted any more.

use crate::object_ref::ObjectRef;
use crate::session::{self, BackendProxy};
use unidist_backend::Which;
use unidist_backend::current_call;
use unidist_common::{DataId, Result};

/// Cancels the calls that these refs (one ref, a slice, an array or a `Vec`) are results of, as far as they have not
/// ended, and gives the number of calls that are cancelled now.
///
/// Their results fail at once, with an error of kind [`Cancelled`](unidist_common::ErrorKind::Cancelled), and so does
/// what depends on them.
///
/// - A call that waits (for an argument, for a worker, for its turn at an actor) never runs.
/// - A task that runs is told: what it waits for in `get`, `wait` or `put` gives it that error, [`is_cancelled`] is true
///   for it, and an asynchronous one is dropped where it waits. One that has not left its worker process after a while
///   (`UNIDIST_CANCEL_GRACE`) loses that process, and so do tasks below it that wait in `get`; these may be retried
///   (`max_retries`).
/// - A method that runs is told in the same ways. Its actor is never ended for it.
///
/// Calls that the cancelled call has made go on: cancel them too if they are not wanted. Calls that have ended, and
/// objects that were put, are left as they are.
///
/// The sequential backend runs most calls before `.remote` returns. There, only what is waiting is left to cancel: calls
/// of asynchronous functions and methods, what depends on them, and calls further down on the stack.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{ErrorKind, ObjectRef, cancel, get, remote_traits::*, wait};
///
/// let search = |from: u64| (from..from + 1_000_000).find(|n| n % 7_777_777 == 0);
/// let searches: Vec<ObjectRef<Option<u64>>> = (1..9).map(|n| search.remote(n * 1_000_000)).collect();
/// let first = wait(&searches, 1, None)?.ready;
/// let cancelled = cancel(&searches)?; // all that have not ended
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

/// Cancels those of the calls that these refs are results of that have not started on a worker, and gives their number: as
/// [`cancel`](crate::cancel()) does, but what runs is left alone.
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

/// Whether the call whose code runs on this thread has been cancelled or has run out of time: then nobody waits for its
/// result any more, and it should end. False outside of tasks and actors, and on threads that a call has started itself.
///
/// A long computation asks now and then; it costs little.
///
/// ```
/// use unidist_core::is_cancelled;
///
/// fn sum(numbers: Vec<u64>) -> u64 {
///     let mut sum = 0;
///     for part in numbers.chunks(10_000) {
///         if is_cancelled() {
///             break; // nobody will see what this returns
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
    /// Cancels the call that this is a result of: see [`cancel`](crate::cancel()). Whether the call had not ended and is
    /// cancelled now.
    ///
    /// ```no_run
    /// # fn main() -> unidist_core::Result<()> {
    /// use unidist_core::remote_traits::*;
    ///
    /// let slow = (|n: u64| n + 1).remote(1);
    /// let is_cancelled_now = slow.cancel()?;
    /// assert!(!slow.cancel()?, "it has ended, in one way or the other");
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
