//! Scattering of lists and arrays: one part per worker.

use super::calls::wait_all;
use super::error::{FailurePlace, Result};
use super::local_copies::{CopyOwner, LocalCopies, ObjectKey};
use super::remote_object::RemoteObject;
use super::worker_pool::WorkerPool;
use std::sync::Arc;
use unidist_core::{CallSettings, Portable, prepare};

impl WorkerPool {
    /// Splits the list into contiguous parts, one per worker; their lengths differ by at most one.
    ///
    /// ```
    /// use unidist::pool::{Local, WorkerPool};
    ///
    /// # fn main() -> unidist::Result<()> {
    /// let _session = unidist::init()?;
    /// let pool = WorkerPool::over_session()?;
    /// let list = pool.scatter_list((0..10).collect::<Vec<u64>>())?;
    /// let parts = pool.apply(|part: Local<Vec<u64>>| part.clone(), (&list,))?;
    /// assert!(parts.into_iter().flatten().eq(0..10));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A part cannot be sent, or a worker of the pool has died.
    pub fn scatter_list<T: Portable + Sync>(&self, list: Vec<T>) -> Result<RemoteObject<Vec<T>>> {
        let mut items = list.into_iter();
        let lengths = lengths(items.len(), self.len());
        self.scatter(lengths.map(|length| items.by_ref().take(length).collect()))
    }

    /// Sends each worker one of the parts, in order.
    pub(super) fn scatter<T: Portable + Sync>(
        &self,
        parts: impl Iterator<Item = T>,
    ) -> Result<RemoteObject<T>> {
        self.check_not_lost()?;
        let key = LocalCopies::of_process().new_key();
        let object = RemoteObject::scattered(key, self.workers().to_vec()); // if this fails, its drop removes the parts
        if self.is_sequential() {
            parts.take(1).for_each(|part| {
                drop(LocalCopies::of_process().insert(key, CopyOwner::SequentialPool, Arc::new(part)))
            });
            return Ok(object);
        }
        let calls = self.workers().iter().zip(parts).map(|(worker, part)| {
            let settings = CallSettings::new().name("WorkerPool::scatter").on_worker(*worker);
            prepare(insert_here::<T>, &settings).remote((key, part))
        });
        let ended = wait_all(calls.collect());
        let place = |index| FailurePlace::Worker { index, id: self.workers().get(index).copied() };
        self.collect_results("WorkerPool::scatter", ended, place)?;
        Ok(object)
    }
}

fn insert_here<T: Portable + Sync>(key: ObjectKey, part: T) {
    let _ = LocalCopies::of_process().insert(key, CopyOwner::current(), Arc::new(part));
}

/// The lengths of `parts` parts of a list; they differ by at most one.
fn lengths(items: usize, parts: usize) -> impl Iterator<Item = usize> {
    let parts = parts.max(1);
    (0..parts).map(move |part| items / parts + usize::from(part < items % parts))
}

#[cfg(feature = "ndarray")]
mod arrays {
    use super::{Portable, RemoteObject, Result, WorkerPool, lengths};
    use ndarray::{Array, ArrayBase, Axis, Data, RemoveAxis, Slice};
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    /// Scattering needs the feature `ndarray`.
    impl WorkerPool {
        /// Splits the array along its first axis, one part per worker; their numbers of rows differ by at most one.
        /// Each part is a copy; the original is unchanged.
        ///
        /// ```
        /// use ndarray::{Array2, array};
        /// use unidist::pool::{Local, WorkerPool};
        ///
        /// # fn main() -> unidist::Result<()> {
        /// let _session = unidist::init()?;
        /// let pool = WorkerPool::over_session()?;
        /// let matrix = pool.scatter_array(&array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])?;
        /// let sums = pool.apply(|part: Local<Array2<f64>>| part.sum(), (&matrix,))?;
        /// assert_eq!(sums.iter().sum::<f64>(), 21.0);
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// # Errors
        ///
        /// Those of [`scatter_list`](WorkerPool::scatter_list).
        pub fn scatter_array<A, S, D>(&self, array: &ArrayBase<S, D>) -> Result<RemoteObject<Array<A, D>>>
        where
            A: Portable + Sync + Clone,
            S: Data<Elem = A>,
            D: RemoveAxis + Serialize + DeserializeOwned + 'static,
        {
            let mut start = 0;
            self.scatter(lengths(array.len_of(Axis(0)), self.len()).map(|length| {
                let rows = Slice::from(start..start + length);
                start += length;
                array.slice_axis(Axis(0), rows).to_owned()
            }))
        }

        /// Like [`scatter_array`](WorkerPool::scatter_array), and leaves no row in the array. A sequential pool takes
        /// the array without a copy.
        ///
        /// # Errors
        ///
        /// Those of [`scatter_list`](WorkerPool::scatter_list); the array is empty in any case.
        pub fn drain_array<A, D>(&self, array: &mut Array<A, D>) -> Result<RemoteObject<Array<A, D>>>
        where
            A: Portable + Sync + Clone,
            D: RemoveAxis + Serialize + DeserializeOwned + 'static,
        {
            let mut shape = array.raw_dim();
            shape[0] = 0;
            let no_row = Array::from_shape_fn(shape, |_| unreachable!("the array has no rows"));
            let whole = std::mem::replace(array, no_row);
            if self.is_sequential() {
                return self.scatter(std::iter::once(whole));
            }
            self.scatter_array(&whole)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lengths;

    #[test]
    fn part_lengths_differ_by_at_most_one() {
        assert!(lengths(10, 4).eq([3, 3, 2, 2]));
        assert!(lengths(2, 3).eq([1, 1, 0]));
        assert!(lengths(0, 2).eq([0, 0]));
    }
}
