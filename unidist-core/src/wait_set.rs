//! [`WaitSet`] and [`as_completed`]: results in the order in which they arrive.

use crate::object_ref::ObjectRef;
use crate::reference::RefCore;
use crate::session::BackendProxy;
use crate::waitable::{Batch, Waitable};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};
use unidist_common::{DataId, Error, RequestId, Result};

/// A set of refs that is waited for again and again. Each wait gives those that have become ready since the one before,
/// at a cost that does not depend on how many are left; refs may be added at any time.
///
/// A failed call counts as ready. Equal refs are given as often as they were added.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::remote_traits::*;
/// use unidist_core::{WaitSet, get};
///
/// let halve = |x: u64| x / 2;
/// let mut set = WaitSet::new();
/// set.add((1..100).map(|n| halve.remote(n)).collect::<Vec<_>>())?;
/// while !set.is_empty() {
///     for call in set.wait(None)? {
///         let half = get(call)?;
///         if half > 1 {
///             set.add(halve.remote(half))?;
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct WaitSet<T> {
    /// The refs that are not known to be ready, by their objects.
    pending: FxHashMap<DataId, Vec<RefCore>>,
    ready: VecDeque<RefCore>,
    /// All refs, ready or not.
    len: usize,
    source: Option<Source>,
    value: PhantomData<fn() -> T>,
}

/// Where a set learns which objects are ready.
struct Source {
    backend: BackendProxy,
    /// `None` if the backend has no watches.
    watch: Option<RequestId>,
}

impl Source {
    fn next(
        &self,
        pending: &FxHashMap<DataId, Vec<RefCore>>,
        timeout: Option<Duration>,
    ) -> Result<Vec<DataId>> {
        if let Some(watch) = self.watch {
            return self.backend.watch_next(watch, timeout);
        }
        let ids: Vec<_> = pending.keys().copied().collect();
        let places = self.backend.wait(&ids, 1, timeout)?;
        let mut ready: Vec<_> = places.into_iter().filter_map(|place| ids.get(place).copied()).collect();
        ready.sort_unstable();
        Ok(ready)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(watch) = self.watch {
            self.backend.unwatch(watch);
        }
    }
}

impl<T> WaitSet<T> {
    /// A set without refs.
    pub fn new() -> Self {
        WaitSet {
            pending: FxHashMap::default(),
            ready: VecDeque::new(),
            len: 0,
            source: None,
            value: PhantomData,
        }
    }

    /// Adds refs: what [`wait`](crate::wait()) takes.
    ///
    /// # Errors
    ///
    /// The session of the refs, or of those added before, has ended. None is added then.
    pub fn add<W: Waitable<Value = T>>(&mut self, refs: W) -> Result<()> {
        let mut batch = Batch::default();
        refs.__gather(&mut batch);
        let session_ended = || Error::SessionEnded { call: "wait".to_owned() };
        let mut new = Vec::new();
        for reference in &batch.0 {
            let Ok((backend, id)) = reference.held() else { continue };
            let source = self
                .source
                .get_or_insert_with(|| Source { backend: backend.clone(), watch: backend.watch() });
            if !source.backend.is_same(backend) {
                return Err(session_ended());
            }
            if !self.pending.contains_key(&id) {
                new.push(id);
            }
        }
        new.sort_unstable();
        new.dedup();
        if let Some(Source { backend, watch: Some(watch) }) = &self.source {
            backend.watch_add(*watch, &new).map_err(|error| error.of_waiter("wait"))?;
        }
        self.len += batch.0.len();
        for reference in batch.0 {
            match reference.id() {
                Some(id) => self.pending.entry(id).or_default().push(reference.clone()),
                None => self.ready.push_back(reference.clone()), // it has failed before
            }
        }
        Ok(())
    }

    /// How many refs were added and not given back.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether all refs that were added were given back.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Waits until refs are ready, or the time-out expires, and takes all that are out of the set. None after a time-out,
    /// or if the set is empty.
    ///
    /// # Errors
    ///
    /// The session has ended, or the calling call was cancelled.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<ObjectRef<T>>> {
        if self.ready.is_empty() {
            self.learn(timeout)?;
        }
        self.len -= self.ready.len();
        Ok(self.ready.drain(..).map(ObjectRef::new).collect())
    }

    fn learn(&mut self, timeout: Option<Duration>) -> Result<()> {
        let Some(source) = self.source.as_ref().filter(|_| !self.pending.is_empty()) else { return Ok(()) };
        let ready = source.next(&self.pending, timeout).map_err(|error| error.of_waiter("wait"))?;
        self.ready.extend(ready.into_iter().filter_map(|id| self.pending.remove(&id)).flatten());
        Ok(())
    }

    /// The next ref that is ready, or `None` after a time-out.
    fn next(&mut self, timeout: Option<Duration>) -> Result<Option<ObjectRef<T>>> {
        if self.ready.is_empty() {
            self.learn(timeout)?;
        }
        let next = self.ready.pop_front();
        self.len -= usize::from(next.is_some());
        Ok(next.map(ObjectRef::new))
    }
}

impl<T> Default for WaitSet<T> {
    fn default() -> Self {
        WaitSet::new()
    }
}

impl<T> fmt::Debug for WaitSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSet").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The refs in the order in which their calls end, those that have ended before first. It takes what
/// [`wait`](crate::wait()) takes. The cost of each step does not depend on the number of refs.
///
/// When `timeout`, counted from this call, has passed, the iterator gives [`Error::TimedOut`] and ends.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::remote_traits::*;
/// use unidist_core::{as_completed, get};
///
/// let calls: Vec<_> = (0..100).map(|n| (|x: u64| x * x).remote(n)).collect();
/// for call in as_completed(&calls, None) {
///     println!("{}", get(call?)?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The iterator gives one error, then ends: the time-out has expired, the session has ended, or the calling call was
/// cancelled.
pub fn as_completed<W: Waitable>(refs: W, timeout: Option<Duration>) -> AsCompleted<W::Value> {
    let mut set = WaitSet::new();
    let added = set.add(refs);
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    AsCompleted { set, failed: added.err(), timeout, deadline }
}

/// The iterator of [`as_completed`].
#[derive(Debug)]
pub struct AsCompleted<T> {
    set: WaitSet<T>,
    /// The refs could not be added.
    failed: Option<Error>,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl<T> Iterator for AsCompleted<T> {
    type Item = Result<ObjectRef<T>>;

    fn next(&mut self) -> Option<Result<ObjectRef<T>>> {
        if let Some(error) = self.failed.take() {
            self.set = WaitSet::new();
            return Some(Err(error));
        }
        if self.set.is_empty() {
            return None;
        }
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let error = match self.set.next(left) {
            Ok(Some(next)) => return Some(Ok(next)),
            Ok(None) => Error::TimedOut {
                call: "as_completed".to_owned(),
                message: format!(
                    "{} refs were not ready within {:?}: wait longer, or cancel the calls",
                    self.set.len(),
                    self.timeout.unwrap_or_default()
                ),
            },
            Err(error) => error,
        };
        self.set = WaitSet::new();
        Some(Err(error))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.set.len().saturating_add(1)))
    }
}
