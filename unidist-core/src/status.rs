//! The status of calls.

use crate::object_ref::ObjectRef;
use crate::session::BackendProxy;
use unidist_backend::CallStatus;
use unidist_common::{DataId, Result};

/// The status of the calls that make the objects of these refs (one ref, a slice, an array or a `Vec`), in order.
///
/// ```no_run
/// # fn main() -> unidist_core::Result<()> {
/// use unidist_core::{CallStatus, get, remote_traits::*, status};
///
/// let call = (|x: i64| x + 1).remote(1);
/// if let CallStatus::Running(worker) = status(&call)?[0] {
///     println!("it runs on {worker}");
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
    let mut found = vec![CallStatus::Ended; refs.len()]; // also the status of calls that could not be made
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
