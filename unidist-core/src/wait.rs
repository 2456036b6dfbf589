//! [`wait`]: for some of many refs.

use crate::object_ref::ObjectRef;
use crate::reference::RefCore;
use crate::waitable::{Batch, Waitable};
use std::time::Duration;
use unidist_common::{DataId, Error, Result};

/// The result of [`wait`]: its refs in two groups, each in their original order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited<T> {
    /// The refs whose calls have ended, with a value or a failure.
    pub ready: Vec<ObjectRef<T>>,
    /// All others.
    pub pending: Vec<ObjectRef<T>>,
}

impl<T> Waited<T> {
    /// Whether this ref is one of those that are ready.
    pub fn is_ready<U>(&self, reference: &ObjectRef<U>) -> bool {
        self.ready.iter().any(|ready| ready.core == reference.core)
    }
}

/// Waits until `num_returns` of `refs` are ready, or the time-out expires. It takes what [`get`](crate::get()) takes;
/// lists in lists count as one list.
///
/// A failed call counts as ready. Exactly `num_returns` refs are returned as ready, or fewer after a time-out. The refs
/// of a tuple, whose types may differ, are returned as refs to [`AnyValue`](crate::AnyValue);
/// [`is_ready`](Waited::is_ready) compares them with the original ones.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::remote_traits::*;
/// use unidist_core::{get, wait};
///
/// let (number, text) = ((|x: i64| x + 1).remote(1), (|x: i64| x.to_string()).remote(1));
/// if wait((&number, &text), 1, None)?.is_ready(&text) {
///     println!("the text is first: {}", get(&text)?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `num_returns` is more than the number of refs, or the session has ended.
pub fn wait<W: Waitable>(refs: W, num_returns: usize, timeout: Option<Duration>) -> Result<Waited<W::Value>> {
    wait_for(&refs, num_returns, timeout, num_returns)
}

/// The same as [`wait`], but all refs that are ready are returned as such: at least `count`, or fewer after a time-out.
///
/// To handle results as they arrive, use [`as_completed`](crate::as_completed()): a loop of waits looks at all refs
/// that are left each time.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::remote_traits::*;
/// use unidist_core::wait_at_least;
///
/// let calls: Vec<_> = (0..100).map(|n| (|x: i64| x * x).remote(n)).collect();
/// let waited = wait_at_least(&calls, 10, None)?;
/// println!("{} are ready, 10 or more", waited.ready.len());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `count` is more than the number of refs, or the session has ended.
pub fn wait_at_least<W: Waitable>(
    refs: W,
    count: usize,
    timeout: Option<Duration>,
) -> Result<Waited<W::Value>> {
    wait_for(&refs, count, timeout, usize::MAX)
}

fn wait_for<W: Waitable>(
    refs: &W,
    num_returns: usize,
    timeout: Option<Duration>,
    at_most: usize,
) -> Result<Waited<W::Value>> {
    let mut batch = Batch::default();
    refs.__gather(&mut batch);
    let refs = batch.0;
    if num_returns > refs.len() {
        return Err(Error::InvalidArgument {
            call: "wait".to_owned(),
            message: format!("num_returns is {num_returns}, but only {} refs were given", refs.len()),
        });
    }
    let mut is_ready = vec![false; refs.len()];
    if num_returns > 0 {
        let marked = mark_ready(&refs, num_returns, timeout, &mut is_ready);
        marked.map_err(|error| error.of_waiter("wait"))?;
    }
    let mut waited = Waited {
        ready: Vec::with_capacity(num_returns),
        pending: Vec::with_capacity(refs.len() - num_returns),
    };
    for (core, is_ready) in refs.into_iter().zip(is_ready) {
        let reference = ObjectRef::new(core.clone());
        if is_ready && waited.ready.len() < at_most {
            waited.ready.push(reference);
        } else {
            waited.pending.push(reference);
        }
    }
    Ok(waited)
}

fn mark_ready(
    refs: &[&RefCore],
    num_returns: usize,
    timeout: Option<Duration>,
    is_ready: &mut [bool],
) -> Result<()> {
    let mut backend = None;
    let mut places = Vec::with_capacity(refs.len());
    let mut ids: Vec<DataId> = Vec::with_capacity(refs.len());
    for (place, reference) in refs.iter().enumerate() {
        match reference.held() {
            Ok((own, _)) if backend.is_some_and(|backend| !own.is_same(backend)) => {
                return Err(Error::SessionEnded { call: "wait".to_owned() });
            }
            Ok((own, id)) => {
                backend = Some(own);
                places.push(place);
                ids.push(id);
            }
            Err(_) => is_ready[place] = true,
        }
    }
    let wanted = num_returns.saturating_sub(refs.len() - ids.len());
    if let (Some(backend), 1..) = (backend, wanted) {
        for position in backend.wait(&ids, wanted, timeout)? {
            if let Some(&place) = places.get(position) {
                is_ready[place] = true;
            }
        }
    }
    Ok(())
}
