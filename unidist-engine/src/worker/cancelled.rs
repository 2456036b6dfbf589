//! The cancelled calls of this process.

use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use unidist_backend::current_call;
use unidist_common::{Error, Result, TaskError, TaskId};

/// The calls that the engine has cancelled, until they end. Without any, it costs next to nothing.
#[derive(Debug, Default)]
pub(super) struct CancelledCalls {
    any: AtomicBool,
    /// Whether a call was added that the task thread has not taken.
    unseen: AtomicBool,
    calls: Mutex<FxHashMap<TaskId, Arc<TaskError>>>,
}

impl CancelledCalls {
    pub(super) fn add(&self, call: TaskId, why: Arc<TaskError>) {
        self.lock().insert(call, why);
        self.any.store(true, Ordering::Release);
        self.unseen.store(true, Ordering::Release);
    }

    /// The call has ended.
    pub(super) fn forget(&self, call: TaskId) {
        if self.any() {
            let mut calls = self.lock();
            calls.remove(&call);
            self.any.store(!calls.is_empty(), Ordering::Release);
        }
    }

    /// No call runs: the calls here ended before their cancellation arrived.
    pub(super) fn clear(&self) {
        if self.any() {
            let mut calls = self.lock();
            calls.clear();
            self.any.store(false, Ordering::Release);
        }
    }

    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    pub(super) fn has_pending(&self) -> bool {
        self.any() && self.unseen.load(Ordering::Acquire)
    }

    /// Takes the calls, in a fixed order.
    pub(super) fn take_new(&self) -> Vec<TaskId> {
        self.unseen.store(false, Ordering::Release);
        let mut calls: Vec<_> = self.lock().keys().copied().collect();
        calls.sort_unstable();
        calls
    }

    /// Why this call was cancelled, if it was.
    pub(super) fn reason(&self, call: TaskId) -> Option<Arc<TaskError>> {
        if self.any() { self.lock().get(&call).cloned() } else { None }
    }

    /// Fails in the code of a cancelled call.
    pub(super) fn check(&self) -> Result<()> {
        match current_call().filter(|_| self.any()).and_then(|call| self.reason(call)) {
            Some(why) => Err(Error::from((*why).clone())),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<TaskId, Arc<TaskError>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::{DataId, ErrorKind, ProcessId};

    #[test]
    fn ended_call_is_not_pending() {
        let (calls, id) =
            (CancelledCalls::default(), TaskId::of_first_return(DataId::new(ProcessId::CONTROLLER, 1)));
        let why = Arc::new(TaskError::new(ErrorKind::Cancelled, ""));
        calls.add(id, why.clone());
        assert!(calls.has_pending() && calls.reason(id).is_some());
        calls.forget(id);
        assert!(!calls.has_pending() && calls.reason(id).is_none());
        calls.add(id, why);
        assert_eq!((calls.take_new(), calls.has_pending()), (vec![id], false));
        calls.clear();
        assert!(!calls.any());
    }
}
