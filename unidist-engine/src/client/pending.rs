//! PendingRequests of this process that have not been answered.

use crate::protocol::worker::{Reply, RequestId};
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

/// Hands out request numbers and keeps who waits for the answers.
#[derive(Default)]
pub(crate) struct PendingRequests {
    next: AtomicU64,
    answered: AtomicU64,
    open: Mutex<FxHashMap<RequestId, Waiting>>,
}

enum Waiting {
    Thread(Arc<Slot>),
    Call(Box<dyn FnOnce(Reply) + Send>),
}

/// An answer on its way to whoever asked to be called with it.
pub(crate) struct Callback {
    then: Box<dyn FnOnce(Reply) + Send>,
    reply: Reply,
}

impl Callback {
    pub(crate) fn call(self) {
        (self.then)(self.reply);
    }
}

/// Where a thread finds its answer.
#[derive(Debug)]
pub(crate) struct Slot {
    done: AtomicBool,
    reply: Mutex<Option<Reply>>,
    thread: Thread,
}

impl Slot {
    /// Whether the answer is there.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// The answer, once.
    pub(crate) fn take(&self) -> Option<Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl PendingRequests {
    /// A new request of this thread, which is unparked when the answer is there.
    pub(crate) fn open(&self) -> (RequestId, Arc<Slot>) {
        let slot = Arc::new(Slot {
            done: AtomicBool::new(false),
            reply: Mutex::new(None),
            thread: std::thread::current(),
        });
        (self.insert(Waiting::Thread(slot.clone())), slot)
    }

    /// A new request whose answer goes to `then`.
    pub(crate) fn open_with(&self, then: Box<dyn FnOnce(Reply) + Send>) -> RequestId {
        self.insert(Waiting::Call(then))
    }

    /// Hands the answer to the thread that waits for it, or gives back what is to be called with it: that may be the
    /// user's code, so call it without holding a lock.
    #[must_use]
    pub(crate) fn answer(&self, request: RequestId, reply: Reply) -> Option<Callback> {
        let waiting = self.lock().remove(&request);
        self.answered.fetch_add(1, Ordering::Relaxed);
        match waiting {
            Some(Waiting::Thread(slot)) => {
                *slot.reply.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
                slot.done.store(true, Ordering::Release);
                slot.thread.unpark();
                None
            }
            Some(Waiting::Call(then)) => Some(Callback { then, reply }),
            None => None,
        }
    }

    /// The thread does not wait any more: the answer goes to `late`, unless it is in the slot, or about to be; then it is
    /// there now.
    pub(crate) fn abandon(&self, request: RequestId, slot: &Slot, late: Box<dyn FnOnce(Reply) + Send>) {
        if let Some(waiting) = self.lock().get_mut(&request) {
            *waiting = Waiting::Call(late);
            return;
        }
        while !slot.is_done() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Answers everything that is open.
    pub(crate) fn answer_all(&self, reply: &Reply) {
        let open: Vec<_> = self.lock().keys().copied().collect();
        open.into_iter().filter_map(|request| self.answer(request, reply.clone())).for_each(Callback::call);
    }

    /// How many answers have come so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether an answer is still to come.
    pub(crate) fn any_open(&self) -> bool {
        !self.lock().is_empty()
    }

    fn insert(&self, waiting: Waiting) -> RequestId {
        let request = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        self.lock().insert(request, waiting);
        request
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<RequestId, Waiting>> {
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
    fn an_answer_that_nobody_waits_for_goes_to_who_takes_it_back() {
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
