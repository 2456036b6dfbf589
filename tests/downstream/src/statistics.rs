//! Remote functions, some of them generic, in a module of a library.

use unidist::Portable;
use unidist::prelude::*;

/// The sum and the number of some items.
#[remote]
pub fn partial(items: Vec<f64>) -> (f64, usize) {
    (items.iter().sum(), items.len())
}

/// The mean, computed by several tasks.
///
/// # Errors
///
/// There is no session, or a task was lost.
pub fn parallel_mean(items: Vec<f64>, tasks: usize) -> unidist::Result<f64> {
    let parts = items.chunks(items.len().div_ceil(tasks).max(1));
    let parts: Vec<_> = parts.map(|part| partial.remote(part.to_vec())).collect();
    let (sum, count) =
        get(parts)?.into_iter().fold((0.0, 0), |(sum, count), part| (sum + part.0, count + part.1));
    Ok(sum / count as f64)
}

/// Sorts items of any ordered type.
#[remote]
pub fn sorted<T: Portable + Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

/// Applies a remote function to each item: generic over the function too.
///
/// # Errors
///
/// There is no session, or a call failed.
pub fn largest<T: Portable + Ord + Clone>(lists: Vec<Vec<T>>) -> unidist::Result<Option<T>> {
    let lists: Vec<_> = lists.into_iter().map(|list| sorted::<T>.remote(list)).collect();
    Ok(get(lists)?.into_iter().filter_map(|list| list.last().cloned()).max())
}
