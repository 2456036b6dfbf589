//! [`Local`] and [`LocalMut`]: how a function accesses its worker's copy of an object.

use super::local_copies::LocalCopy;
use serde::{Deserialize, Serialize};
use std::any::type_name;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use unidist_core::{ErrorKind, Portable, TaskError};

/// Read access to a worker's own copy of a [`RemoteObject`](super::RemoteObject): the parameter type of a function that
/// is passed a `&RemoteObject<T>`.
///
/// There may be any number of them at once, also in one call.
///
/// ```
/// use std::sync::Arc;
/// use unidist::pool::{Local, WorkerPool};
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let pool = WorkerPool::over_session()?;
/// let table = pool.push(&Arc::new(vec![1.0, 2.0, 4.0]))?;
/// let look_up = |table: Local<Vec<f64>>, place: usize| table[place];
/// assert_eq!(pool.apply_only(look_up, 0, (&table, 2_usize))?, 4.0);
/// # Ok(())
/// # }
/// ```
pub struct Local<T> {
    value: Arc<T>,
}

/// Write access to a worker's own part of a [`RemoteObject`](super::RemoteObject): later calls see the changes. The
/// access is exclusive.
///
/// Only scattered objects can be changed, since a pushed object is the same on all workers. A function that panics
/// leaves the object in its state at that moment.
///
/// ```
/// use unidist::pool::{Local, LocalMut, WorkerPool};
///
/// # fn main() -> unidist::Result<()> {
/// let _session = unidist::init()?;
/// let pool = WorkerPool::over_session()?;
/// let numbers = pool.scatter_list((1..=10).collect::<Vec<i64>>())?;
/// let double = |mut part: LocalMut<Vec<i64>>| part.iter_mut().for_each(|number| *number *= 2);
/// pool.apply(double, (&numbers,))?;
/// let sums = pool.apply(|part: Local<Vec<i64>>| part.iter().sum::<i64>(), (&numbers,))?;
/// assert_eq!(sums.iter().sum::<i64>(), 110);
/// # Ok(())
/// # }
/// ```
pub struct LocalMut<T> {
    /// `Some` until it is put back.
    value: Option<T>,
    home: Arc<LocalCopy<T>>,
}

/// Why a worker has no copy for a call. The call fails with this error: see
/// [`Error::downcast`](unidist_core::Error::downcast).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LocalError {
    /// The object is in use by another parameter of the same call, or by a waiting call on the same worker.
    InUse {
        /// The type of the object.
        type_name: String,
    },
    /// This worker has no part of the object, since it is not one of the pool's workers.
    NotHere {
        /// The type of the object.
        type_name: String,
    },
}

impl LocalError {
    pub(super) fn not_here<T>() -> TaskError {
        LocalError::NotHere { type_name: type_name::<T>().to_owned() }.into()
    }

    fn in_use<T>() -> TaskError {
        LocalError::InUse { type_name: type_name::<T>().to_owned() }.into()
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalError::InUse { type_name } => write!(
                f,
                "the worker's `{type_name}` is in use: pass an object that is changed (`LocalMut`) to one parameter \
                 only, and do not wait for other calls while it is changed"
            ),
            LocalError::NotHere { type_name } => write!(
                f,
                "this worker has no part of the scattered `{type_name}`: it joined the session after the pool was \
                 made, or the object belongs to another pool; make a new pool, and scatter again"
            ),
        }
    }
}

impl std::error::Error for LocalError {}

impl From<LocalError> for TaskError {
    fn from(error: LocalError) -> Self {
        let kind = match error {
            LocalError::InUse { .. } => ErrorKind::Failed,
            LocalError::NotHere { .. } => ErrorKind::ObjectLost,
        };
        TaskError::new(kind, error.to_string()).with_payload(&error)
    }
}

impl<T: Portable + Sync> Local<T> {
    pub(super) fn of(copy: &LocalCopy<T>) -> Result<Self, TaskError> {
        copy.share().map(|value| Local { value }).ok_or_else(LocalError::in_use::<T>)
    }
}

impl<T> Deref for Local<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Portable + Sync> LocalMut<T> {
    pub(super) fn of(home: Arc<LocalCopy<T>>) -> Result<Self, TaskError> {
        let value = home.take().ok_or_else(LocalError::in_use::<T>)?;
        Ok(LocalMut { value: Some(value), home })
    }
}

const NOT_DROPPED: &str = "only `drop` takes the value";

impl<T> Deref for LocalMut<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("{NOT_DROPPED}"),
        }
    }
}

impl<T> DerefMut for LocalMut<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.value {
            Some(value) => value,
            None => unreachable!("{NOT_DROPPED}"),
        }
    }
}

impl<T> Drop for LocalMut<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.home.put_back(value);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for LocalMut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
