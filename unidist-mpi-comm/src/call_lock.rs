//! A lock that serialises the MPI calls of the threads of a program of ranks.

use crate::Mpi;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

static CALLS: Mutex<()> = Mutex::new(());

/// This thread may call MPI until this is dropped.
pub type CallGuard = MutexGuard<'static, ()>;

impl Mpi {
    /// Waits until no other thread calls MPI. A program of ranks has two threads that do.
    pub fn lock_calls() -> CallGuard {
        CALLS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same without waiting; `None` while another thread calls MPI.
    pub fn try_lock_calls() -> Option<CallGuard> {
        match CALLS.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Keeps other threads from calling MPI until the process ends. Gives up after a second, because a thread may be stuck in
/// MPI and the process must end.
pub(crate) fn lock_for_good() {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        if let Some(guard) = Mpi::try_lock_calls() {
            return std::mem::forget(guard);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
