//! [`wait`]: for some of many refs.

use crate::object_ref::ObjectRef;
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

/// Waits until `num_returns` of `refs` (one ref, a slice, an array or a `Vec`) are ready, or the time-out expires.
///
/// A failed call counts as ready. Exactly `num_returns` refs are returned as ready, or fewer after a time-out.
///
/// # Errors
///
/// `num_returns` is more than the number of refs, or the session has ended.
pub fn wait<T>(
    refs: impl AsRef<[ObjectRef<T>]>,
    num_returns: usize,
    timeout: Option<Duration>,
) -> Result<Waited<T>> {
    let refs = refs.as_ref();
    if num_returns > refs.len() {
        return Err(Error::InvalidArgument {
            call: "wait".to_owned(),
            message: format!("num_returns is {num_returns}, but only {} refs were given", refs.len()),
        });
    }
    let mut is_ready = vec![false; refs.len()];
    if num_returns > 0 {
        mark_ready(refs, num_returns, timeout, &mut is_ready)?;
    }
    let mut waited = Waited {
        ready: Vec::with_capacity(num_returns),
        pending: Vec::with_capacity(refs.len() - num_returns),
    };
    for (reference, is_ready) in refs.iter().zip(is_ready) {
        if is_ready && waited.ready.len() < num_returns {
            waited.ready.push(reference.clone());
        } else {
            waited.pending.push(reference.clone());
        }
    }
    Ok(waited)
}

fn mark_ready<T>(
    refs: &[ObjectRef<T>],
    num_returns: usize,
    timeout: Option<Duration>,
    is_ready: &mut [bool],
) -> Result<()> {
    let mut backend = None;
    let mut places = Vec::with_capacity(refs.len());
    let mut ids: Vec<DataId> = Vec::with_capacity(refs.len());
    for (place, reference) in refs.iter().enumerate() {
        match reference.core.held() {
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
