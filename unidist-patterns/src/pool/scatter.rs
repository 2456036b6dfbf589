//! Lists and arrays in parts, one a worker.

use super::calls::gathered;
use super::error::{FailurePlace, Result};
use super::remote_object::RemoteObject;
use super::store::{ObjectKey, Place, Store};
use super::worker_pool::WorkerPool;
use std::sync::Arc;
use unidist_core::{CallSettings, Portable, prepare};

impl WorkerPool {
    /// Gives each worker a part of the list, in order: as many items as the others, or one more.
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

    /// Gives each worker one of these, in order.
    pub(super) fn scatter<T: Portable + Sync>(
        &self,
        parts: impl Iterator<Item = T>,
    ) -> Result<RemoteObject<T>> {
        self.whole()?;
        let key = Store::of_process().new_key();
        let object = RemoteObject::scattered(key, self.workers().to_vec()); // if this fails, its drop removes the parts
        if self.is_sequential() {
            parts.take(1).for_each(|part| drop(Store::of_process().keep(key, Place::Here, Arc::new(part))));
            return Ok(object);
        }
        let calls = self.workers().iter().zip(parts).map(|(worker, part)| {
            let settings = CallSettings::new().name("WorkerPool::scatter").on_worker(*worker);
            prepare(keep_here::<T>, &settings).remote((key, part))
        });
        let ended = gathered(calls.collect());
        let place = |index| FailurePlace::Worker { index, id: self.workers().get(index).copied() };
        self.outcome("WorkerPool::scatter", ended, place)?;
        Ok(object)
    }
}

fn keep_here<T: Portable + Sync>(key: ObjectKey, part: T) {
    let _ = Store::of_process().keep(key, Place::current(), Arc::new(part));
}

/// The lengths of so many parts of a list, which differ by at most one.
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
        /// Gives each worker a part of the array along the first axis, in order: as many rows as the others, or one
        /// more. Each part is an array of its own; the original stays as it is.
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

        /// The same, and empties the array: no row is left in it. A sequential pool has the array itself, not a copy.
        ///
        /// # Errors
        ///
        /// Those of [`scatter_list`](WorkerPool::scatter_list); the array is empty all the same.
        pub fn drain_array<A, D>(&self, array: &mut Array<A, D>) -> Result<RemoteObject<Array<A, D>>>
        where
            A: Portable + Sync + Clone,
            D: RemoveAxis + Serialize + DeserializeOwned + 'static,
        {
            let mut shape = array.raw_dim();
            shape[0] = 0;
            let no_row = Array::from_shape_fn(shape, |_| unreachable!("there is no item"));
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
    fn parts_are_even() {
        assert!(lengths(10, 4).eq([3, 3, 2, 2]));
        assert!(lengths(2, 3).eq([1, 1, 0]));
        assert!(lengths(0, 2).eq([0, 0]));
    }
}
