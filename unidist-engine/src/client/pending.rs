//! Requests of this process that have no reply yet.

use crate::protocol::worker::{Reply, RequestId};
use rustc_hash::FxHashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Assigns request ids and keeps what waits for the replies.
#[derive(Default)]
pub(crate) struct PendingRequests {
    next: AtomicU64,
    open: Mutex<FxHashMap<RequestId, Waiter>>,
}

enum Waiter {
    Thread(Arc<Slot>),
    Call(Box<dyn FnOnce(Reply) + Send>),
}

/// A reply together with the callback that gets it.
pub(crate) struct Callback {
    then: Box<dyn FnOnce(Reply) + Send>,
    reply: Reply,
}

impl Callback {
    pub(crate) fn call(self) {
        // The thread may be within any other call, which a panic must not unwind.
        let called = catch_unwind(AssertUnwindSafe(|| (self.then)(self.reply)));
        if called.is_err() {
            log::error!("the callback of a request panicked: see its message on standard error");
        }
    }
}

/// Where a thread finds its reply.
#[derive(Debug)]
pub(crate) struct Slot {
    done: AtomicBool,
    reply: Mutex<Option<Reply>>,
    thread: Thread,
}

impl Slot {
    /// Whether the reply has arrived.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Parks this thread, which has opened the request, until the reply has arrived or until the deadline.
    pub(crate) fn park_until(&self, deadline: Option<Instant>) {
        while !self.is_done() {
            match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(left) if left.is_zero() => return,
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }

    /// Takes the reply.
    pub(crate) fn take(&self) -> Option<Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl PendingRequests {
    /// A new request of this thread, which is unparked when the reply arrives.
    pub(crate) fn open(&self) -> (RequestId, Arc<Slot>) {
        let slot = Arc::new(Slot {
            done: AtomicBool::new(false),
            reply: Mutex::new(None),
            thread: std::thread::current(),
        });
        (self.insert(Waiter::Thread(slot.clone())), slot)
    }

    /// A new request whose reply goes to `then`.
    pub(crate) fn open_with(&self, then: Box<dyn FnOnce(Reply) + Send>) -> RequestId {
        self.insert(Waiter::Call(then))
    }

    /// Gives the reply to the thread that waits for it, or returns the callback that gets it: that may be user code, so
    /// run it without a lock.
    #[must_use]
    pub(crate) fn answer(&self, request: RequestId, reply: Reply) -> Option<Callback> {
        let waiting = self.lock().remove(&request);
        match waiting {
            Some(Waiter::Thread(slot)) => {
                *slot.reply.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
                slot.done.store(true, Ordering::Release);
                slot.thread.unpark();
                None
            }
            Some(Waiter::Call(then)) => Some(Callback { then, reply }),
            None => None,
        }
    }

    /// The thread stops waiting: a later reply goes to `late`. If the reply has arrived, or is arriving, it is in the
    /// slot when this returns.
    pub(crate) fn abandon(&self, request: RequestId, slot: &Slot, late: Box<dyn FnOnce(Reply) + Send>) {
        if let Some(waiting) = self.lock().get_mut(&request) {
            *waiting = Waiter::Call(late);
            return;
        }
        while !slot.is_done() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Replies to all pending requests.
    pub(crate) fn answer_all(&self, reply: &Reply) {
        let open: Vec<_> = self.lock().keys().copied().collect();
        open.into_iter().filter_map(|request| self.answer(request, reply.clone())).for_each(Callback::call);
    }

    /// How many requests are pending.
    #[cfg(test)]
    pub(crate) fn open_count(&self) -> usize {
        self.lock().len()
    }

    /// Whether a request is pending.
    #[cfg(test)]
    pub(crate) fn any_open(&self) -> bool {
        !self.lock().is_empty()
    }

    /// The number of a request that has no reply.
    pub(crate) fn number(&self) -> RequestId {
        RequestId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn insert(&self, waiting: Waiter) -> RequestId {
        let request = self.number();
        self.lock().insert(request, waiting);
        request
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<RequestId, Waiter>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PendingRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingRequests").field("open", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn abandoned_request_passes_its_reply_on() {
        let (requests, taken) = (PendingRequests::default(), Arc::new(AtomicUsize::new(0)));
        let late = || {
            let taken = taken.clone();
            Box::new(move |_| _ = taken.fetch_add(1, Ordering::SeqCst))
        };
        let (request, slot) = requests.open();
        requests.abandon(request, &slot, late());
        requests.answer(request, Reply::Count(1)).unwrap().call();
        assert_eq!((taken.load(Ordering::SeqCst), slot.take()), (1, None));
        let (request, slot) = requests.open();
        assert!(requests.answer(request, Reply::Count(2)).is_none());
        requests.abandon(request, &slot, late());
        assert_eq!((taken.load(Ordering::SeqCst), slot.take()), (1, Some(Reply::Count(2))));
    }
}
