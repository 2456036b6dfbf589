//! How far calls are.

use crate::object_ref::ObjectRef;
use crate::session::BackendProxy;
use unidist_backend::CallStatus;
use unidist_common::{DataId, Result};

/// How far the calls are that these refs (one ref, a slice, an array or a `Vec`) are results of, in order.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{CallStatus, get, remote_traits::*, status};
///
/// let call = (|x: i64| x + 1).remote(1);
/// if let CallStatus::Running(worker) = status(&call)?[0] {
///     println!("worker {worker} is at it");
/// }
/// get(&call)?;
/// assert_eq!(status(&call)?, [CallStatus::Ended]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The session has ended.
pub fn status<T>(refs: impl AsRef<[ObjectRef<T>]>) -> Result<Vec<CallStatus>> {
    let refs = refs.as_ref();
    let mut found = vec![CallStatus::Ended; refs.len()]; // so is what could not even be made
    let mut left: Vec<(usize, &BackendProxy, DataId)> = refs
        .iter()
        .enumerate()
        .filter_map(|(place, reference)| {
            let (backend, id) = reference.core.held().ok()?;
            Some((place, backend, id))
        })
        .collect();
    // One pass for each session that the refs belong to: nearly always one in all.
    while let Some((_, backend, _)) = left.first().copied() {
        let (own, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, other, _)| other.is_same(backend));
        let ids: Vec<_> = own.iter().map(|(_, _, id)| *id).collect();
        for ((place, ..), status) in own.iter().zip(backend.status(&ids)?) {
            found[*place] = status;
        }
        left = others;
    }
    Ok(found)
}
